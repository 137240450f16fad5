// A generator made ready for training: its program, and Adam's memory beside each parameter.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/explain/device_buffer.h"
#include "engine/explain/generator.h"

namespace actmatch {

class Trainable {
 public:
  // `forbids`: the logits get a bias [batch, 1, H, W] added, an input of the program.
  Trainable(Backend& backend, const GeneratorSpec& spec, int64_t batch, int64_t channels, int64_t height, int64_t width, bool forbids,
            Sharing sharing = Sharing::kNone);

  // Sets parameters to the first weights that the seed gives, and Adam back to its beginning.
  void start(uint64_t seed);
  // Of a grid, after start(): cells of that picture become the means of `logits` [H, W] over them.
  void set_grid(int64_t picture, const std::vector<float>& logits);

  // On the device weights lie as the backend's convolutions read them (Program::order), and Adam's memory as the weights do.
  struct Parameter {
    ValueId value = kNoValue;
    int64_t count = 0;
    DeviceBuffer first, second;
  };
  // What lies as the parameter does, from and to the row-major order of its shape on the host.
  std::vector<float> download(const Parameter& p, const float* device) const;
  void upload(const Parameter& p, float* device, const float* values) const;
  // The graph for another number of pictures, with first weights.
  Generator build(int64_t batch) const { return build(seed_, batch); }
  const std::vector<Parameter>& parameters() const { return parameters_; }
  Program& program() const { return *program_; }
  float* logits() const { return program_->data(generator_.logits); }
  float* logits_gradient() const { return program_->gradient(generator_.logits); }
  float* image() const { return generator_.image == kNoValue ? nullptr : program_->data(generator_.image); }  // null: it sees no image
  float* forbidden() const { return forbidden_ == kNoValue ? nullptr : program_->data(forbidden_); }          // null: nothing is
  bool is_grid() const { return generator_.image == kNoValue; }
  const Shape& shape_of(const Parameter& p) const { return generator_.graph.value(p.value).shape; }
  const std::string& name_of(const Parameter& p) const { return generator_.graph.value(p.value).name; }

 private:
  Generator build(uint64_t seed, int64_t batch) const;

  Backend& backend_;
  GeneratorSpec spec_;
  int64_t batch_, channels_, height_, width_;
  Sharing sharing_;
  uint64_t seed_ = 0;  // of the first weights in generator_
  Generator generator_;
  ValueId forbidden_ = kNoValue;
  std::unique_ptr<Program> program_;
  std::vector<Parameter> parameters_;
};

}  // namespace actmatch

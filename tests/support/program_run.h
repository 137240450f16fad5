// Runs a graph on a backend and brings everything back as arrays. Every run is made three times: first with NaN in all inputs and seeds,
// so that whatever a later run reads without having written it shows, then twice with the real numbers, which must agree bit for bit.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <map>

#include "tests/oracle/oracle.h"
#include "tests/support/tested_backend.h"

namespace actmatch::test {

using Arrays = std::map<ValueId, Doubles>;

struct ProgramRun {
  Arrays values, gradients;
};

class ProgramRunner {
 public:
  ProgramRunner(Backend& backend, const Graph& graph, const CompileOptions& options)
      : backend_(backend), graph_(graph), options_(options), program_(backend.compile(graph, options)) {}
  Program& program() { return *program_; }

  // What is given and returned is NCHW, whatever is taken in place and lies otherwise.
  void write(ValueId id, const Doubles& values) {
    const Tensor t = to_tensor(in_memory(id, values), graph_.value(id).dtype);
    std::vector<float> words((t.bytes() + sizeof(float) - 1) / sizeof(float));  // whatever the type: what is there is copied
    if (t.bytes() % sizeof(float) != 0) backend_.download(words.data(), program_->data(id), words.size());
    if (t.bytes() > 0) std::memcpy(words.data(), t.raw(), t.bytes());
    backend_.upload(program_->data(id), words.data(), words.size());
  }
  void write_gradient(ValueId id, const Doubles& values) {
    const Tensor t = to_tensor(in_memory(id, values));
    backend_.upload(program_->gradient(id), t.data<float>(), static_cast<size_t>(t.count()));
  }
  Doubles read(ValueId id) const {
    Tensor t(graph_.value(id).dtype, graph_.value(id).shape);
    std::vector<float> words((t.bytes() + sizeof(float) - 1) / sizeof(float));
    backend_.download(words.data(), program_->data(id), words.size());
    if (t.bytes() > 0) std::memcpy(t.raw(), words.data(), t.bytes());
    return from_memory(id, oracle::from_tensor<double>(t));
  }
  Doubles read_gradient(ValueId id) const {
    Tensor t(DType::kF32, graph_.value(id).shape);
    backend_.download(t.data<float>(), program_->gradient(id), static_cast<size_t>(t.count()));
    return from_memory(id, oracle::from_tensor<double>(t));
  }

  // All graph inputs and all seeds must be given.
  ProgramRun run(const Arrays& inputs, const Arrays& seeds) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    for (const auto& [id, values] : inputs)
      if (graph_.value(id).kind == ValueKind::kInput)
        write(id, graph_.value(id).dtype == DType::kF32 ? Doubles(values.shape, nan) : values);
    for (const auto& [id, values] : seeds) write_gradient(id, Doubles(values.shape, nan));
    program_->forward();
    program_->backward();
    const ProgramRun first = run_once(inputs, seeds), second = run_once(inputs, seeds);
    for (const auto& [id, values] : first.values) EXPECT_TRUE(same_bits(values, second.values.at(id))) << "value " << id << " changes";
    for (const auto& [id, values] : first.gradients)
      EXPECT_TRUE(same_bits(values, second.gradients.at(id))) << "gradient " << id << " changes";
    return second;
  }

 private:
  // body(place of an element in NCHW, place in memory)
  template <class Body>
  void each_place(ValueId id, const Doubles& values, const Body& body) const {
    const bool last = program_->order(id) == kernels::ChannelOrder::kLast;
    const Shape& s = graph_.value(id).shape;
    const int64_t C = last ? s[1] : 1, HW = last ? s[2] * s[3] : 1;
    for (int64_t i = 0; i < values.count(); ++i) body(i, i / (C * HW) * (C * HW) + i % HW * C + i / HW % C);
  }
  Doubles in_memory(ValueId id, const Doubles& values) const {
    Doubles out = values;
    each_place(id, values, [&](int64_t from, int64_t to) { out[to] = values[from]; });
    return out;
  }
  Doubles from_memory(ValueId id, const Doubles& values) const {
    Doubles out = values;
    each_place(id, values, [&](int64_t to, int64_t from) { out[to] = values[from]; });
    return out;
  }
  static bool same_bits(const Doubles& a, const Doubles& b) {
    return a.count() == b.count() && (a.count() == 0 || std::memcmp(a.data.data(), b.data.data(), a.data.size() * sizeof(double)) == 0);
  }
  ProgramRun run_once(const Arrays& inputs, const Arrays& seeds) {
    for (const auto& [id, values] : inputs) write(id, values);
    for (const auto& [id, values] : seeds) write_gradient(id, values);
    program_->forward();
    program_->backward();
    ProgramRun result;
    for (const std::vector<ValueId>& list : {graph_.outputs(), options_.exposed, options_.gradients.seeds})
      for (ValueId id : list) result.values[id] = read(id);
    for (ValueId id : options_.gradients.wanted) result.gradients[id] = read_gradient(id);
    return result;
  }
  Backend& backend_;
  const Graph& graph_;
  CompileOptions options_;
  std::unique_ptr<Program> program_;
};

// Runs the graph on the backend and in double, and compares every output, exposed value, seeded value and wanted gradient.
// A wanted value that no seed reaches must have a gradient of zeros.
inline void expect_like_oracle(Backend& backend, const Graph& graph, const CompileOptions& options, const Arrays& inputs,
                               const Arrays& seeds, Tolerance forward, Tolerance backward) {
  forward = in_precision(forward), backward = in_precision(backward);
  ProgramRunner runner(backend, graph, options);
  const ProgramRun got = runner.run(inputs, seeds);
  const auto want = oracle::run<double>(graph, inputs, seeds);
  const auto name = [&](ValueId id) { return "'" + graph.value(id).name + "' (" + to_string(graph.value(id).shape) + ")"; };
  for (const auto& [id, values] : got.values)
    EXPECT_TRUE(matches(values, want.values[static_cast<size_t>(id)], forward)) << "value " << name(id) << "\n" << graph.dump();
  for (const auto& [id, values] : got.gradients) {
    const Doubles& expected = want.gradients[static_cast<size_t>(id)];
    EXPECT_TRUE(matches(values, expected.present ? expected : Doubles(graph.value(id).shape), expected.present ? backward : exact()))
        << "gradient of " << name(id) << "\n"
        << graph.dump();
  }
}

}  // namespace actmatch::test

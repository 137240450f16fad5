// The C interface: models, and running them on named arrays.
#include <nlohmann/json.hpp>

#include "engine/api/handles.h"
#include "engine/image/npy.h"

namespace actmatch::api {
namespace {

NoticeCallback notices(actmatch_notice_callback callback, void* user) {
  if (!callback) return {};
  return [callback, user](const std::string& text) { callback(text.c_str(), user); };
}

}  // namespace
}  // namespace actmatch::api

extern "C" {

using namespace actmatch::api;

void actmatch_model_options_init(actmatch_model_options* options) {
  *options = {};
  options->struct_size = sizeof(*options);
  options->device = "auto";
  options->precision = "fp32";
}

actmatch_status actmatch_model_load(const char* path, const actmatch_model_options* options, actmatch_model** model) {
  if (model) *model = nullptr;
  return guarded([&] {
    require(path, "path");
    require(model, "model");
    const auto o = merged(options, actmatch_model_options_init);
    const DeviceOptions device{text_or(o.device, "auto"), o.threads, text_or(o.precision, "fp32"), notices(o.notice, o.notice_user)};
    ModelChoices choices = make_choices(text_or(o.input), text_or(o.output), text_or(o.head), text_or(o.input_shape), text_or(o.layout),
                                        text_or(o.fixed_inputs));
    *model = new actmatch_model{std::make_shared<ModelSession>(path, device, std::move(choices)), {}};
  });
}

void actmatch_model_free(actmatch_model* model) { delete model; }

actmatch_status actmatch_model_info(actmatch_model* model, const char** json) {
  return guarded([&] {
    require(model, "model");
    require(json, "json");
    if (model->info.empty()) model->info = model_info(*model->session).dump(1, ' ', false, nlohmann::json::error_handler_t::replace);
    *json = model->info.c_str();
  });
}

actmatch_status actmatch_tensors_create(actmatch_tensors** tensors) {
  return guarded([&] {
    require(tensors, "tensors");
    *tensors = new actmatch_tensors;
  });
}

void actmatch_tensors_free(actmatch_tensors* tensors) { delete tensors; }

actmatch_status actmatch_tensors_add(actmatch_tensors* tensors, const char* name, const int64_t* shape, size_t rank, const float* data) {
  return guarded([&] {
    require(tensors, "tensors");
    require(name, "name");
    require(data, "data");
    if (rank > 0) require(shape, "shape");
    actmatch::Shape extents(shape, shape + rank);
    for (int64_t extent : extents)
      if (extent < 0)
        throw actmatch::Error(actmatch::ErrorCode::kInvalidArgument, "array '" + std::string(name) + "' has a negative extent");
    const auto count = static_cast<size_t>(actmatch::element_count(extents));
    tensors->tensors.push_back({name, actmatch::Tensor::of<float>(std::move(extents), {data, count})});
  });
}

actmatch_status actmatch_tensors_add_npy(actmatch_tensors* tensors, const char* name, const char* path) {
  return guarded([&] {
    require(tensors, "tensors");
    require(name, "name");
    require(path, "path");
    tensors->tensors.push_back({name, actmatch::read_npy(path)});
  });
}

size_t actmatch_tensors_count(const actmatch_tensors* tensors) { return tensors ? tensors->tensors.size() : 0; }

actmatch_status actmatch_tensors_get(const actmatch_tensors* tensors, size_t index, const char** name, const int64_t** shape, size_t* rank,
                                     const float** data) {
  return guarded([&] {
    require(tensors, "tensors");
    if (index >= tensors->tensors.size())
      throw actmatch::Error(actmatch::ErrorCode::kNotFound, "there is no array " + std::to_string(index) + " in the list");
    const NamedTensor& t = tensors->tensors[index];
    if (name) *name = t.name.c_str();
    if (shape) *shape = t.tensor.shape().data();
    if (rank) *rank = t.tensor.shape().size();
    if (!data) return;
    if (t.tensor.dtype() == actmatch::DType::kF32) {
      *data = t.tensor.data<float>();
      return;
    }
    auto& as_floats = tensors->as_floats[index];
    if (!as_floats.raw()) as_floats = converted(t.tensor, actmatch::DType::kF32, t.name);
    *data = as_floats.data<float>();
  });
}

actmatch_status actmatch_tensors_write_npy(const actmatch_tensors* tensors, const char* folder) {
  return guarded([&] {
    require(tensors, "tensors");
    require(folder, "folder");
    write_tensors(tensors->tensors, folder);
  });
}

actmatch_status actmatch_model_run(actmatch_model* model, const actmatch_tensors* inputs, const char* gradient,
                                   actmatch_tensors** outputs) {
  if (outputs) *outputs = nullptr;
  return guarded([&] {
    require(model, "model");
    require(inputs, "inputs");
    require(outputs, "outputs");
    *outputs = new actmatch_tensors{run_model(*model->session, inputs->tensors, text_or(gradient))};
  });
}

}  // extern "C"

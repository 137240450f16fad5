// The C++20 face of actmatch.h: handles with owners, failures as exceptions. Header only; everything it does goes through the C interface,
// so no C++ type crosses the library's border.
//
//   actmatch::Model model("resnet18.onnx");
//   actmatch::ExplainOptions options;
//   options.preprocess = "imagenet";
//   actmatch::Explainer explainer(model, options);
//   actmatch::Result result = explainer.run("cat.jpg");
//   std::cout << result.explanation().area << "\n";
//   result.write("out/cat");
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "actmatch/actmatch.h"

namespace actmatch {
inline namespace v1 {

// A failed call: one line of text, and the status it failed with.
class Failure : public std::runtime_error {
 public:
  Failure(actmatch_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  actmatch_status status() const { return status_; }

 private:
  actmatch_status status_;
};

inline void check(actmatch_status status) {
  if (status != ACTMATCH_OK) throw Failure(status, actmatch_last_error());
}

namespace detail {
template <auto free_handle>
struct Free {
  template <class T>
  void operator()(T* handle) const {
    free_handle(handle);
  }
};
template <class T, auto free_handle>
using Owner = std::unique_ptr<T, Free<free_handle>>;

inline const char* or_null(const std::optional<std::string>& text) { return text ? text->c_str() : nullptr; }
}  // namespace detail

inline std::string version() { return actmatch_version(); }
inline std::string devices_json() {
  const char* json = nullptr;
  check(actmatch_devices_json(&json));
  return json;
}
inline std::string methods_json() {
  const char* json = nullptr;
  check(actmatch_methods_json(&json));
  return json;
}
// The pictures in a folder, or the path itself when it is none.
inline std::vector<std::string> list_images(const std::string& path) {
  const char* const* paths = nullptr;
  size_t count = 0;
  check(actmatch_list_images(path.c_str(), &paths, &count));
  return {paths, paths + count};
}

// A named float array inside a Tensors list; valid as long as the list lives and is not added to.
struct TensorView {
  std::string name;
  std::span<const int64_t> shape;
  std::span<const float> values;
};

class Tensors {
 public:
  Tensors() {
    actmatch_tensors* handle = nullptr;
    check(actmatch_tensors_create(&handle));
    handle_.reset(handle);
  }
  explicit Tensors(actmatch_tensors* owned) : handle_(owned) {}
  void add(const std::string& name, std::span<const int64_t> shape, std::span<const float> values) {
    size_t count = 1;
    for (int64_t extent : shape) count *= static_cast<size_t>(extent);
    if (count != values.size()) throw Failure(ACTMATCH_INVALID_ARGUMENT, "array '" + name + "': its shape does not match its values");
    check(actmatch_tensors_add(handle_.get(), name.c_str(), shape.data(), shape.size(), values.data()));
  }
  void add_npy(const std::string& name, const std::string& path) {
    check(actmatch_tensors_add_npy(handle_.get(), name.c_str(), path.c_str()));
  }
  size_t size() const { return actmatch_tensors_count(handle_.get()); }
  TensorView operator[](size_t index) const {
    const char* name = nullptr;
    const int64_t* shape = nullptr;
    const float* data = nullptr;
    size_t rank = 0, count = 1;
    check(actmatch_tensors_get(handle_.get(), index, &name, &shape, &rank, &data));
    for (size_t i = 0; i < rank; ++i) count *= static_cast<size_t>(shape[i]);
    return {name, {shape, rank}, {data, count}};
  }
  void write_npy(const std::string& folder) const { check(actmatch_tensors_write_npy(handle_.get(), folder.c_str())); }
  actmatch_tensors* get() const { return handle_.get(); }

 private:
  detail::Owner<actmatch_tensors, actmatch_tensors_free> handle_;
};

// As actmatch_model_options.
struct ModelOptions {
  std::string device = "auto";
  int threads = 0;
  std::string precision = "fp32";
  std::function<void(const std::string&)> notice;  // must not throw
  std::optional<std::string> input, output, head, input_shape, layout, fixed_inputs;
};

class Explainer;

class Model {
 public:
  explicit Model(const std::string& path, const std::string& device = "auto", int threads = 0)
      : Model(path, ModelOptions{device, threads, "fp32", {}, {}, {}, {}, {}, {}, {}}) {}
  Model(const std::string& path, const ModelOptions& options) {
    actmatch_model_options o;
    actmatch_model_options_init(&o);
    o.device = options.device.c_str();
    o.threads = options.threads;
    o.precision = options.precision.c_str();
    o.input = detail::or_null(options.input);
    o.output = detail::or_null(options.output);
    o.head = detail::or_null(options.head);
    o.input_shape = detail::or_null(options.input_shape);
    o.layout = detail::or_null(options.layout);
    o.fixed_inputs = detail::or_null(options.fixed_inputs);
    if (options.notice) {
      listener_ = std::make_shared<const std::function<void(const std::string&)>>(options.notice);
      o.notice = [](const char* text, void* user) { (*static_cast<const std::function<void(const std::string&)>*>(user))(text); };
      o.notice_user = const_cast<void*>(static_cast<const void*>(listener_.get()));
    }
    actmatch_model* handle = nullptr;
    check(actmatch_model_load(path.c_str(), &o, &handle));
    handle_.reset(handle);
  }
  std::string info() const {
    const char* json = nullptr;
    check(actmatch_model_info(handle_.get(), &json));
    return json;
  }
  // `gradient`: "OUTPUT" or "OUTPUT:CLASS".
  Tensors run(const Tensors& inputs, const std::optional<std::string>& gradient = {}) {
    actmatch_tensors* outputs = nullptr;
    check(actmatch_model_run(handle_.get(), inputs.get(), detail::or_null(gradient), &outputs));
    return Tensors(outputs);
  }
  actmatch_model* get() const { return handle_.get(); }

 private:
  friend class Explainer;                                                    // which keeps the listener, as its handle keeps the model
  std::shared_ptr<const std::function<void(const std::string&)>> listener_;  // outlives the handle
  detail::Owner<actmatch_model, actmatch_model_free> handle_;
};

// As actmatch_explain_options; what is left empty takes its default.
struct ExplainOptions {
  std::optional<std::string> method, recipe, generator, class_name, preprocess, labels, resize;
  double resize_ratio = 0;
  int64_t steps = 0;
  uint64_t seed = 0;
  bool robust = false;
  double tau = 0.5, rho = 0.9;
  int64_t backgrounds = 32, tile = 8, instances = 1;
};

namespace detail {
// Points into `options`.
inline actmatch_explain_options as_c(const ExplainOptions& options) {
  actmatch_explain_options o;
  actmatch_explain_options_init(&o);
  o.method = or_null(options.method);
  o.recipe = or_null(options.recipe);
  o.generator = or_null(options.generator);
  o.class_name = or_null(options.class_name);
  o.preprocess = or_null(options.preprocess);
  o.labels = or_null(options.labels);
  o.resize = or_null(options.resize);
  o.resize_ratio = options.resize_ratio;
  o.steps = options.steps;
  o.seed = options.seed;
  o.robust = options.robust;
  o.tau = options.tau;
  o.rho = options.rho;
  o.backgrounds = options.backgrounds;
  o.tile = options.tile;
  o.instances = options.instances;
  return o;
}
// A function that hears progress, on its way through C: an exception stops the work, and settle() throws it again.
template <class P>
class Listener {
 public:
  explicit Listener(const std::function<bool(const P&)>& function) : function_(function) {}
  using Callback = int (*)(const P*, void*);
  Callback callback() const { return function_ ? &relay : nullptr; }  // goes with `this` as the user's pointer
  int hear(const P* progress) noexcept {
    try {
      return function_(*progress) ? 0 : 1;
    } catch (...) {  // must not unwind through C
      thrown_ = std::current_exception();
      return 1;
    }
  }
  void settle(actmatch_status status) const {
    if (thrown_) std::rethrow_exception(thrown_);
    check(status);
  }

 private:
  static int relay(const P* progress, void* user) { return static_cast<Listener*>(user)->hear(progress); }
  const std::function<bool(const P&)>& function_;
  std::exception_ptr thrown_;
};
}  // namespace detail

using Progress = actmatch_progress;
// Return false to stop; the run then throws a Failure with ACTMATCH_CANCELLED. An exception stops it too, and comes out of run().
using ProgressFunction = std::function<bool(const Progress&)>;

class Result {
 public:
  explicit Result(actmatch_result* owned) : handle_(owned) {}
  actmatch_summary summary() const {
    actmatch_summary summary{};
    summary.struct_size = sizeof(summary);
    check(actmatch_result_summary(handle_.get(), &summary));
    return summary;
  }
  actmatch_explanation explanation(int64_t instance = 0) const {
    actmatch_explanation explanation{};
    explanation.struct_size = sizeof(explanation);
    check(actmatch_result_explanation(handle_.get(), instance, &explanation));
    return explanation;
  }
  // One value a step; empty for a term that was not in use.
  std::vector<float> losses(const std::string& term, int64_t instance = 0) const {
    const char* name = nullptr;
    const float* values = nullptr;
    size_t count = 0;
    for (size_t i = 0;; ++i) {
      const actmatch_status status = actmatch_result_losses(handle_.get(), instance, i, &name, &values, &count);
      if (status == ACTMATCH_NOT_FOUND) return {};
      check(status);
      if (term == name) return {values, values + count};
    }
  }
  std::string json(int64_t instance = 0) const {
    const char* text = nullptr;
    check(actmatch_result_json(handle_.get(), instance, &text));
    return text;
  }
  void write(const std::string& folder) const { check(actmatch_result_write(handle_.get(), folder.c_str())); }
  actmatch_result* get() const { return handle_.get(); }

 private:
  detail::Owner<actmatch_result, actmatch_result_free> handle_;
};

// A file, or 8-bit RGB pixels under a name, which must stay where they are during the run.
struct Picture {
  std::string path;  // empty: the pixels
  std::span<const uint8_t> rgb;
  int width = 0, height = 0;
  std::string name = "picture";
};

// What was found for one picture of many, or why nothing was.
struct BatchItem {
  size_t index = 0;
  std::optional<Result> result;
  std::optional<Failure> failure;
};
// On a thread other than the caller's; see actmatch_result_callback. Return false to stop; an exception stops too, and comes out of
// run_batch().
using ItemFunction = std::function<bool(BatchItem)>;

class Explainer {
 public:
  Explainer(const Model& model, const ExplainOptions& options) : listener_(model.listener_) {
    const actmatch_explain_options o = detail::as_c(options);
    actmatch_explainer* handle = nullptr;
    check(actmatch_explainer_create(model.get(), &o, &handle));
    handle_.reset(handle);
  }
  std::string info() const {
    const char* json = nullptr;
    check(actmatch_explainer_info(handle_.get(), &json));
    return json;
  }
  Result run(const std::string& image_path, const ProgressFunction& progress = {}) {
    return run_with(progress, [&](actmatch_progress_callback callback, void* user, actmatch_result** result) {
      return actmatch_explainer_run_file(handle_.get(), image_path.c_str(), callback, user, result);
    });
  }
  // 8-bit RGB, height rows of width pixels without gaps.
  Result run(std::span<const uint8_t> rgb, int width, int height, const std::string& name, const ProgressFunction& progress = {}) {
    check_pixels(rgb, width, height, name);
    return run_with(progress, [&](actmatch_progress_callback callback, void* user, actmatch_result** result) {
      return actmatch_explainer_run_rgb(handle_.get(), rgb.data(), width, height, name.c_str(), callback, user, result);
    });
  }
  // Many pictures, `batch` at once (0: as suits the device), see actmatch_explainer_run_batch.
  void run_batch(std::span<const Picture> pictures, const ItemFunction& receive, int64_t batch = 0, const ProgressFunction& progress = {}) {
    std::vector<actmatch_picture> list;
    for (const Picture& p : pictures) {
      if (p.path.empty()) check_pixels(p.rgb, p.width, p.height, p.name);
      const char* path = p.path.empty() ? nullptr : p.path.c_str();
      list.push_back({sizeof(actmatch_picture), path, p.rgb.data(), p.width, p.height, p.name.c_str()});
    }
    actmatch_batch_options options;
    actmatch_batch_options_init(&options);
    options.batch = batch;
    struct Both {
      detail::Listener<Progress> progress;
      const ItemFunction* receive;
      std::exception_ptr thrown;
    } both{detail::Listener<Progress>(progress), &receive, nullptr};
    const auto report = [](const actmatch_progress* p, void* user) { return static_cast<Both*>(user)->progress.hear(p); };
    const auto take = [](size_t index, actmatch_result* owned, actmatch_status status, const char* message, void* user) -> int {
      auto* b = static_cast<Both*>(user);
      try {
        BatchItem item{index, {}, {}};
        if (owned) item.result.emplace(owned);
        if (message) item.failure.emplace(status, message);
        return (*b->receive)(std::move(item)) ? 0 : 1;
      } catch (...) {  // must not unwind through C
        b->thrown = std::current_exception();
        return 1;
      }
    };
    const actmatch_status status =
        actmatch_explainer_run_batch(handle_.get(), list.data(), list.size(), &options, progress ? +report : nullptr, take, &both);
    if (both.thrown) std::rethrow_exception(both.thrown);
    both.progress.settle(status);
  }
  actmatch_explainer* get() const { return handle_.get(); }

 private:
  static void check_pixels(std::span<const uint8_t> rgb, int width, int height, const std::string& name) {
    if (width < 1 || height < 1 || rgb.size() != static_cast<size_t>(width) * static_cast<size_t>(height) * 3)
      throw Failure(ACTMATCH_INVALID_ARGUMENT, "picture '" + name + "': width * height * 3 does not match the bytes given");
  }
  template <class Run>
  static Result run_with(const ProgressFunction& progress, const Run& run) {
    detail::Listener<Progress> listener(progress);
    actmatch_result* result = nullptr;
    listener.settle(run(listener.callback(), &listener, &result));
    return Result(result);
  }
  std::shared_ptr<const std::function<void(const std::string&)>> listener_;
  detail::Owner<actmatch_explainer, actmatch_explainer_free> handle_;
};

class Report {
 public:
  explicit Report(const Explainer& explainer) {
    actmatch_report* handle = nullptr;
    check(actmatch_report_create(explainer.get(), &handle));
    handle_.reset(handle);
  }
  void add(const Result& result) { check(actmatch_report_add(handle_.get(), result.get())); }
  void write(const std::string& path) const { check(actmatch_report_write(handle_.get(), path.c_str())); }

 private:
  detail::Owner<actmatch_report, actmatch_report_free> handle_;
};

struct Claim {
  std::string name, stated, found;
  bool ok = false;
};

struct VerifyOptions {
  std::string device = "auto";
  int threads = 0;
  std::optional<std::string> model, image;  // in place of the recorded paths
  std::optional<std::string> precision;
};

// Every claim of a result.json, measured again.
inline std::vector<Claim> verify(const std::string& result_json_path, const VerifyOptions& options = {}) {
  actmatch_verify_options o;
  actmatch_verify_options_init(&o);
  o.device = options.device.c_str();
  o.threads = options.threads;
  o.model = detail::or_null(options.model);
  o.image = detail::or_null(options.image);
  o.precision = detail::or_null(options.precision);
  actmatch_verification* handle = nullptr;
  check(actmatch_verify(result_json_path.c_str(), &o, &handle));
  const detail::Owner<actmatch_verification, actmatch_verification_free> owner(handle);
  std::vector<Claim> claims;
  for (size_t i = 0; i < actmatch_verification_count(handle); ++i) {
    actmatch_claim claim{};
    claim.struct_size = sizeof(claim);
    check(actmatch_verification_claim(handle, i, &claim));
    claims.push_back({claim.name, claim.stated, claim.found, claim.ok != 0});
  }
  return claims;
}

// As actmatch_training_options.
struct TrainingOptions {
  std::string images, out, generator = "csae";
  std::optional<std::string> validation;
  double validation_share = 0.1;
  int64_t epochs = 20, batch = 8;
  double learning_rate = 0, checkpoint_seconds = 60;
  bool resume = false;
  ExplainOptions explain;
};
using TrainingProgress = actmatch_training_progress;
// Return false to stop; train() then throws a Failure with ACTMATCH_CANCELLED. An exception stops it too, and comes out of train().
using TrainingProgressFunction = std::function<bool(const TrainingProgress&)>;

// One generator for many pictures, written as an ONNX file; see actmatch_train.
inline actmatch_training_outcome train(const Model& model, const TrainingOptions& options, const TrainingProgressFunction& progress = {}) {
  const actmatch_explain_options explain = detail::as_c(options.explain);
  actmatch_training_options o;
  actmatch_training_options_init(&o);
  o.images = options.images.c_str();
  o.validation = detail::or_null(options.validation);
  o.validation_share = options.validation_share;
  o.out = options.out.c_str();
  o.generator = options.generator.c_str();
  o.epochs = options.epochs;
  o.batch = options.batch;
  o.learning_rate = options.learning_rate;
  o.checkpoint_seconds = options.checkpoint_seconds;
  o.resume = options.resume;
  o.explain = &explain;
  detail::Listener<TrainingProgress> listener(progress);
  actmatch_training_outcome outcome{};
  outcome.struct_size = sizeof(outcome);
  listener.settle(actmatch_train(model.get(), &o, listener.callback(), &listener, &outcome));
  return outcome;
}

inline std::string metrics_json() {
  const char* json = nullptr;
  check(actmatch_metrics_json(&json));
  return json;
}

// As actmatch_evaluation_options.
struct EvaluationOptions {
  std::string images, out, methods, metrics = "all", shard = "auto";
  std::optional<std::string> sweep;
  bool retry = false;
  ExplainOptions explain;
};
using EvaluationProgress = actmatch_evaluation_progress;
// Return false to stop; evaluate() then throws a Failure with ACTMATCH_CANCELLED. An exception stops it too, and comes out of evaluate().
using EvaluationProgressFunction = std::function<bool(const EvaluationProgress&)>;

// Methods and metrics over many pictures; see actmatch_evaluate.
inline actmatch_evaluation_outcome evaluate(const Model& model, const EvaluationOptions& options,
                                            const EvaluationProgressFunction& progress = {}) {
  const actmatch_explain_options explain = detail::as_c(options.explain);
  actmatch_evaluation_options o;
  actmatch_evaluation_options_init(&o);
  o.images = options.images.c_str();
  o.out = options.out.c_str();
  o.methods = options.methods.c_str();
  o.metrics = options.metrics.c_str();
  o.shard = options.shard.c_str();
  o.sweep = detail::or_null(options.sweep);
  o.retry = options.retry;
  o.explain = &explain;
  detail::Listener<EvaluationProgress> listener(progress);
  actmatch_evaluation_outcome outcome{};
  outcome.struct_size = sizeof(outcome);
  listener.settle(actmatch_evaluate(model.get(), &o, listener.callback(), &listener, &outcome));
  return outcome;
}

// As actmatch_comparison_options.
struct ComparisonOptions {
  std::optional<std::string> html, csv, parquet;
  int64_t gallery = 12;
};

// Evaluations summed up: the table as JSON.
inline std::string compare(const std::vector<std::string>& folders, const ComparisonOptions& options = {}) {
  actmatch_comparison_options o;
  actmatch_comparison_options_init(&o);
  o.html = detail::or_null(options.html);
  o.csv = detail::or_null(options.csv);
  o.parquet = detail::or_null(options.parquet);
  o.gallery = options.gallery;
  std::vector<const char*> paths;
  for (const std::string& folder : folders) paths.push_back(folder.c_str());
  const char* json = nullptr;
  check(actmatch_compare(paths.data(), paths.size(), &o, &json));
  return json;
}

}  // namespace v1
}  // namespace actmatch

// What the handles of actmatch.h are inside, and how exceptions become statuses at the border.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "actmatch/actmatch.h"
#include "engine/api/explain_session.h"
#include "engine/api/model_session.h"
#include "engine/api/report_page.h"
#include "engine/api/result.h"
#include "engine/api/run.h"
#include "engine/api/verify.h"
#include "engine/core/error.h"

struct actmatch_model {
  std::shared_ptr<actmatch::api::ModelSession> session;
  std::string info;
};
struct actmatch_tensors {
  actmatch::api::NamedTensors tensors;
  mutable std::map<size_t, actmatch::Tensor> as_floats{};  // what was handed out of those that are not
};
struct actmatch_explainer {
  std::unique_ptr<actmatch::api::ExplainSession> session;
  std::string info;
};
struct actmatch_result {
  actmatch::api::Result result;
};
struct actmatch_report {
  actmatch::api::ReportPage page;
};
struct actmatch_verification {
  std::vector<actmatch::api::Claim> claims;
};

namespace actmatch::api {

actmatch_status fail(actmatch_status status, const char* message) noexcept;
actmatch_status status_of(ErrorCode code);

// Runs the body; whatever it throws becomes a status and the thread's last-error text.
template <class Body>
actmatch_status guarded(const Body& body) noexcept {
  try {
    body();
    return ACTMATCH_OK;
  } catch (const Error& e) {
    return fail(status_of(e.code()), e.what());
  } catch (const std::bad_alloc&) {
    return fail(ACTMATCH_OUT_OF_MEMORY, "out of memory; use a smaller picture, model or number of passes");
  } catch (const std::exception& e) {
    return fail(ACTMATCH_INTERNAL, e.what());
  } catch (...) {
    return fail(ACTMATCH_INTERNAL, "unknown exception");
  }
}

inline void require(const void* pointer, const char* what) {
  if (!pointer) throw Error(ErrorCode::kInvalidArgument, std::string(what) + " must not be NULL");
}

inline std::string text_or(const char* text, const char* fallback = "") { return text ? text : fallback; }

// The caller's options over the defaults, as far as the caller's version of the structure goes.
template <class Options>
Options merged(const Options* given, void (*init)(Options*)) {
  Options options;
  init(&options);
  if (!given) return options;
  if (given->struct_size < sizeof(size_t) || given->struct_size > 1024)
    throw Error(ErrorCode::kInvalidArgument, "struct_size of the options is not set; call the matching _init function first");
  std::memcpy(&options, given, std::min(sizeof(Options), given->struct_size));
  options.struct_size = sizeof(Options);
  return options;
}

// Fills as much of the caller's structure as it has.
template <class Record>
void fill(Record* target, Record value) {
  require(target, "the structure to fill");
  if (target->struct_size < sizeof(size_t) || target->struct_size > 1024)
    throw Error(ErrorCode::kInvalidArgument, "struct_size of the structure to fill is not set; set it to sizeof the structure");
  value.struct_size = std::min(sizeof(Record), target->struct_size);
  std::memcpy(target, &value, value.struct_size);
}

}  // namespace actmatch::api

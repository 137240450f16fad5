// Files of trained explainers: written by a training, opened for the model that they were trained for.
#pragma once

#include <string>

#include "engine/amortise/explainer_net.h"
#include "engine/api/model_session.h"
#include "engine/image/preprocess.h"

namespace actmatch::api {

// Keys of metadata_props that make an ONNX file an explainer. The others are for people.
inline constexpr const char* kExplainerKind = "actmatch.kind";  // "explainer"
inline constexpr const char* kExplainerModel = "actmatch.model_sha256";
inline constexpr const char* kExplainerPreprocess = "actmatch.preprocess";
inline constexpr const char* kAmortised = "amortised";  // the method that asks such a file

// Does what was given as a generator name a file? csae, unet and grid do not, nor what looks like a misspelt one of them.
bool names_explainer(const std::string& generator);

// Checks that the file is an explainer for this very model and for pictures that become the same numbers.
// Throws kNotFound, kFormat (no explainer), kInvalidArgument (another model or preprocessing: its masks would mean nothing here).
TrainedExplainer open_explainer(ModelSession& model, const Preprocess& preprocess, const std::string& path);
// The same for whoever opens a file later.
ExplainerOpener explainer_opener(ModelSession& model, const Preprocess& preprocess);

}  // namespace actmatch::api

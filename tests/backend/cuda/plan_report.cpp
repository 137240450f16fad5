// plan_report: prints docs/measured/plans.md, what cuDNN offers for the convolutions of the supported networks on an H200. No GPU is
// needed.
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <optional>

#include "tests/backend/cuda/h200.h"
#include "tests/backend/cuda/networks.h"

namespace actmatch::cuda {
namespace {

const char* name_of(ConvPrecision precision) {
  return precision == ConvPrecision::kF32 ? "fp32" : precision == ConvPrecision::kTf32 ? "tf32" : "bf16";
}
constexpr ConvPrecision kPrecisions[] = {ConvPrecision::kF32, ConvPrecision::kTf32, ConvPrecision::kBf16};

PlanList ask(const PlanKey& key) { return list_plans(key, h200(), deviceless_limits()); }

// Of many lists: the least and the most plans, and the workspace.
struct Summary {
  size_t asked = 0, offered = 0, fewest = SIZE_MAX, most = 0;
  size_t suffices = 0;   // the most that any convolution needs at least
  size_t preferred = 0;  // the most that any first plan takes
  void add(const PlanList& list) {
    ++asked;
    fewest = std::min(fewest, list.plans.size());
    most = std::max(most, list.plans.size());
    if (list.plans.empty()) return;
    ++offered;
    size_t least = SIZE_MAX;
    for (const PlanCandidate& plan : list.plans) least = std::min(least, plan.workspace_bytes);
    suffices = std::max(suffices, least);
    preferred = std::max(preferred, list.plans.front().workspace_bytes);
  }
  std::string range() const {
    return asked == 0 ? "-" : fewest == most ? std::to_string(most) : std::to_string(fewest) + " - " + std::to_string(most);
  }
  std::string share() const { return asked == 0 ? "-" : std::to_string(offered) + " of " + std::to_string(asked); }
};

std::string mebibytes(size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f", static_cast<double>(bytes) / (1 << 20));
  return text;
}

// The clip is left to the next kernel where that is quicker, so the plain ReLU is what is asked for.
PlanKey without_ceiling(PlanKey key) {
  if (key.activation == ConvActivation::kClippedRelu) key.activation = ConvActivation::kRelu;
  key.ceiling = 0;
  return key;
}

void report_network(const Network& network, int64_t batch) {
  for (ConvPrecision precision : kPrecisions) {
    Summary forward, backward, fused, all;
    for (const Layer& layer : network.layers) {
      for (const bool is_forward : {true, false}) {
        const ConvPass pass = is_forward ? ConvPass::kForward : ConvPass::kBackwardData;
        const PlanList list = ask(without_ceiling(key_of(layer, pass, precision, batch, is_forward)));
        (is_forward ? forward : backward).add(list);
        all.add(list);
      }
      const PlanKey key = key_of(layer, ConvPass::kBackwardData, precision, batch, true);
      if (key.residual || (key.pass == ConvPass::kBackwardData && key.activation != ConvActivation::kNone)) fused.add(ask(key));
    }
    std::printf("| %s | %zu | %s | %s | %s | %s | %s | %s |\n", precision == kPrecisions[0] ? network.name.c_str() : "",
                network.layers.size(), name_of(precision), forward.range().c_str(), backward.range().c_str(), fused.share().c_str(),
                mebibytes(all.suffices).c_str(), mebibytes(all.preferred).c_str());
    std::fflush(stdout);
  }
}

void report_networks(const std::vector<Network>& networks, int64_t batch) {
  std::printf(
      "| network | kinds | precision | forward | backward data | fused backward | workspace that suffices, MiB | of the first plans, MiB "
      "|\n");
  std::printf("|---|---|---|---|---|---|---|---|\n");
  for (const Network& network : networks)
    if (!network.layers.empty()) report_network(network, batch);
}

void report_filter_gradients() {
  std::printf("| generator | precision | plans | workspace that suffices, MiB |\n|---|---|---|---|\n");
  for (const Network& network : networks_of_generators())
    for (ConvPrecision precision : kPrecisions) {
      Summary summary;
      for (const Layer& layer : network.layers) summary.add(ask(key_of(layer, ConvPass::kBackwardFilter, precision, 1, false)));
      std::printf("| %s | %s | %s | %s |\n", network.name.c_str(), name_of(precision), summary.range().c_str(),
                  mebibytes(summary.suffices).c_str());
    }
}

std::string kinds_of_plans(const PlanKey& key) {
  int with = 0, without = 0, compiled = 0;
  for (const PlanCandidate& plan : ask(key).plans) (plan.runtime_compiled ? compiled : plan.tensor_cores ? with : without) += 1;
  return std::to_string(with) + " + " + std::to_string(without) + " + " + std::to_string(compiled);
}

void report_clip() {
  std::printf("| 3x3, 64 to 64 channels at 56, batch 64 | plain ReLU | clipped ReLU |\n|---|---|---|\n");
  for (ConvPrecision precision : kPrecisions) {
    PlanKey key;
    key.precision = precision;
    key.shape = {64, 64, 56, 56, 64, 3, 3, {1, 1}, {1, 1, 1, 1}};
    key.bias = true;
    key.activation = ConvActivation::kRelu;
    const std::string plain = kinds_of_plans(key);
    key.activation = ConvActivation::kClippedRelu;
    key.ceiling = 6.0f;
    std::printf("| %s | %s | %s |\n", name_of(precision), plain.c_str(), kinds_of_plans(key).c_str());
  }
}

void report_stems() {
  std::printf(
      "| stem, batch 64, bf16 | channels | forward + bias + relu | backward data | workspace of the first, MiB |\n|---|---|---|---|---|\n");
  const std::pair<const char*, ConvShape> stems[] = {{"7x7/2, 64 at 224 (ResNet)", {64, 3, 224, 224, 64, 7, 7, {2, 2}, {3, 3, 3, 3}}},
                                                     {"3x3, 64 at 224 (VGG)", {64, 3, 224, 224, 64, 3, 3, {1, 1}, {1, 1, 1, 1}}},
                                                     {"3x3/2, 32 at 224 (MobileNet)", {64, 3, 224, 224, 32, 3, 3, {2, 2}, {1, 1, 1, 1}}}};
  for (const auto& [name, shape] : stems)
    for (int64_t channels : {3, 4, 8}) {
      PlanKey key;
      key.precision = ConvPrecision::kBf16;
      key.shape = shape;
      key.shape.C = channels;
      const PlanList backward = [key]() mutable {
        key.pass = ConvPass::kBackwardData;
        return ask(key);
      }();
      key.bias = true;
      key.activation = ConvActivation::kRelu;
      const PlanList forward = ask(key);
      std::printf("| %s | %d | %zu | %zu | %s, %s |\n", channels == 3 ? name : "", static_cast<int>(channels), forward.plans.size(),
                  backward.plans.size(), forward.plans.empty() ? "-" : mebibytes(forward.plans.front().workspace_bytes).c_str(),
                  backward.plans.empty() ? "-" : mebibytes(backward.plans.front().workspace_bytes).c_str());
    }
}

int report() {
  if (!::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)) {
    std::fprintf(stderr,
                 "plan_report: no libcuda.so.1, without which cuDNN names no engines that it compiles itself; the toolkit's stub will do:\n"
                 "LD_LIBRARY_PATH=BUILD_DIR/tests/driver_stub BUILD_DIR/plan_report\n");
    return 1;
  }
  std::printf("# cuDNN's plans for the supported networks\n\n");
  std::printf(
      "Generated by `LD_LIBRARY_PATH=build/tests/driver_stub ACTMATCH_DATA=... build/plan_report > docs/measured/plans.md` (about five\n"
      "minutes on one core), with cuDNN %d.%d.%d. No GPU took part: cuDNN was given the description of an H200 in\n"
      "`tests/data/cuda/h200.json`, which is **made by hand** (published facts; its two clocks are guesses), so another device, or the\n"
      "true description, may give other numbers. Nothing was run, so no speed is known: not measured on a GPU.\n"
      "`actmatch_device_json` prints the true description where there is a GPU.\n\n",
      static_cast<int>(cudnn_version() / 10000), static_cast<int>(cudnn_version() / 100 % 100), static_cast<int>(cudnn_version() % 100));
  std::printf(
      "Only deterministic plans within 256 MiB of workspace and in the precision asked for are counted (fp32: no tensor cores, no\n"
      "Winograd, no FFT). Kinds are different convolutions; depthwise 3x3 ones are left out (own kernels).\n\n"
      "- forward: with bias, residual and ReLU where the network has them (a clipped ReLU is asked for as a plain one), fewest and most\n"
      "  plans of a kind\n"
      "- backward data: on its own, likewise\n"
      "- fused backward: with the skip connection's gradient and the derivative of the ReLU before, where there are any: for how many\n"
      "  kinds there is a plan. All of tf32 and bf16 are compiled at run time; they are named here, not built. The backend takes them "
      "where\n"
      "  they prove quicker than a plan on its own and a kernel behind it\n\n");
  std::vector<Network> networks = networks_from_tables();
  for (Network& network : networks_from_files()) networks.push_back(std::move(network));
  for (const auto& [batch, what] : {std::pair{int64_t{2}, "one picture, two passes"}, {int64_t{128}, "64 pictures, two passes"}}) {
    std::printf("## Batch %d (%s)\n\n", static_cast<int>(batch), what);
    report_networks(networks, batch);
    std::printf("\n");
  }
  std::printf("## Generators, one picture\n\n");
  report_networks(networks_of_generators(), 1);
  std::printf("\nThe gradient of the weights. For several pictures each has weights of its own, which kernels of our own serve.\n\n");
  report_filter_gradients();
  std::printf(
      "\n## A clipped ReLU\n\nPlans with tensor cores + without + compiled at run time. A clip costs nearly all precompiled plans, so it "
      "is fused only where\n"
      "that proves quicker than a plain ReLU and a kernel for the clip.\n\n");
  report_clip();
  std::printf("\n## Three channels\n\nWhether padding the first convolution's channels gains plans.\n\n");
  report_stems();
  return 0;
}

}  // namespace
}  // namespace actmatch::cuda

int main() {
  try {
    return actmatch::cuda::report();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "plan_report: %s\n", error.what());
    return 1;
  }
}

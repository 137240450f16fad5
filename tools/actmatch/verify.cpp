#include <actmatch/actmatch.hpp>
#include <cstdio>
#include <memory>

#include "tools/actmatch/commands.h"
#include "tools/actmatch/console.h"

namespace actmatch::tool {

namespace {

struct VerifyFlags {
  std::string result;
  DeviceFlags device;
  VerifyOptions options;
  bool quiet = false;
};

int verify_result(VerifyFlags& flags) {
  flags.options.device = flags.device.device;
  flags.options.threads = flags.device.threads;
  const auto claims = verify(flags.result, flags.options);
  Table table({"claim", ">stated", ">found", "ok"});
  std::string refuted;
  for (const Claim& claim : claims) {
    table.add({claim.name, claim.stated, claim.found, claim.ok ? "yes" : "NO"});
    if (!claim.ok) refuted += (refuted.empty() ? "" : ", ") + claim.name;
  }
  if (!flags.quiet) std::printf("%s", table.text().c_str());
  if (refuted.empty()) return kOk;
  std::fflush(stdout);
  print_error("'" + flags.result + "' does not hold: " + refuted + "; explain the picture again");
  return kFailed;
}

}  // namespace

void add_verify(CLI::App& app, Action& action) {
  auto flags = std::make_shared<VerifyFlags>();
  CLI::App* c = app.add_subcommand("verify", "Measure the claims of a result again: label, stability, necessity, minimality");
  c->add_option("RESULT", flags->result, "result.json that 'explain' wrote; its mask.png lies beside it")->required();
  c->add_option("--model", flags->options.model, "the model, where it is no longer at the recorded path");
  c->add_option("--image", flags->options.image, "the picture, likewise");
  add_device_flags(*c, flags->device);
  c->add_option("--precision", flags->options.precision,
                "fp32, tf32 or bf16 (default: the recorded one where the device has it, otherwise fp32; rounding is allowed for)")
      ->check(CLI::IsMember({"fp32", "tf32", "bf16"}));
  c->add_flag("--quiet", flags->quiet, "print nothing but errors");
  c->footer(footer("actmatch verify out/cat/result.json", "a claim does not hold, or could not be measured"));
  c->callback([flags, &action] { action = [flags] { return verify_result(*flags); }; });
}

}  // namespace actmatch::tool

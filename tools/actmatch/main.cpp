// actmatch: which pixels made this classifier say that?
#include <actmatch/actmatch.hpp>
#include <cstdio>

#include "tools/actmatch/commands.h"
#include "tools/actmatch/console.h"
#include "tools/actmatch/waiting.h"

namespace actmatch::tool {

void add_device_flags(CLI::App& command, DeviceFlags& flags) {
  command.add_option("--device", flags.device, "auto (the first GPU, otherwise the CPU), cpu, cuda (the first GPU) or cuda:N")
      ->capture_default_str();
  command.add_option("--threads", flags.threads, "CPU threads; 0 takes what the environment allows")
      ->capture_default_str()
      ->check(CLI::Range(0, 4096));
}

void add_precision_flag(CLI::App& command, DeviceFlags& flags) {
  command
      .add_option("--precision", flags.precision,
                  "how the networks compute: fp32; on GPUs also tf32 (products of 10 bits) and bf16 (everything between layers of 8 bits)")
      ->capture_default_str()
      ->check(CLI::IsMember({"fp32", "tf32", "bf16"}));
}

void add_model_flags(CLI::App& command, ModelFlags& flags) {
  command.add_option("--input", flags.input, "name of the input that takes the picture, where the model has several");
  command.add_option("--output", flags.output,
                     "name of the output with the scores (default: the first that can be); any inner value will do");
  command
      .add_option(
          "--head", flags.head,
          "what the scores mean: softmax, one class wins; sigmoid, each label is decided by itself; binary, one score; auto looks at "
          "how the model ends")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "softmax", "sigmoid", "binary"}));
  command.add_option("--input-shape", flags.input_shape,
                     "HEIGHTxWIDTH, or all extents as the file orders them, where the model leaves its input's size open");
  command.add_option("--layout", flags.layout, "of the model's input: nchw or nhwc (default: as its shape looks)")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "nchw", "nhwc"}));
  command.add_option("--fix", flags.fixed, "NAME=NUMBER: what another input of the model is, in all its elements")->take_all();
}

Model load_model(const std::string& path, const DeviceFlags& flags, const std::function<void(const std::string&)>& notice,
                 const ModelFlags& choices) {
  ModelOptions options{flags.device, flags.threads, flags.precision, notice, {}, {}, choices.head, {}, choices.layout, {}};
  if (!choices.input.empty()) options.input = choices.input;
  if (!choices.output.empty()) options.output = choices.output;
  if (!choices.input_shape.empty()) options.input_shape = choices.input_shape;
  std::string fixed;
  for (const std::string& pair : choices.fixed) fixed += (fixed.empty() ? "" : ",") + pair;
  if (!fixed.empty()) options.fixed_inputs = fixed;
  return Model(path, options);
}

std::string footer(const std::string& example, const std::string& failure) {
  return "Example:\n  " + example + "\n\nExit status:\n  0  done\n  1  " + failure +
         "\n  2  the command line is not right\n  130  stopped by Ctrl-C";
}

}  // namespace actmatch::tool

int main(int argc, char** argv) {
  using namespace actmatch::tool;
  wait_briefly_if_busy(argv);
  CLI::App app("Which pixels made this classifier say that? Explains image classifiers in ONNX files by small, checked masks.", "actmatch");
  app.set_version_flag("--version", "actmatch " + actmatch::version());
  app.require_subcommand(1);
  app.footer(footer("actmatch explain resnet18.onnx cat.jpg --preprocess imagenet --out out") +
             "\n\n'actmatch COMMAND --help' tells the flags of a command.");
  Action action;
  add_explain(app, action);
  add_inspect(app, action);
  add_run(app, action);
  add_verify(app, action);
  add_evaluate(app, action);
  add_report(app, action);
  add_train(app, action);
  add_devices(app, action);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {  // help and version
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    const auto chosen = app.get_subcommands();
    print_error(std::string(e.what()) + "; see 'actmatch " + (chosen.empty() ? "" : chosen.front()->get_name() + " ") + "--help'");
    return kUsage;
  }
  try {
    return action();
  } catch (const actmatch::Failure& e) {
    print_error(e.what());
  } catch (const std::exception& e) {
    print_error(std::string(e.what()) + " (a bug in actmatch; please report it)");
  }
  return kFailed;
}

// The subcommands. Each registers its flags and returns, when chosen, what it does; the return value of that is the exit status.
#pragma once

#include <CLI/CLI.hpp>
#include <actmatch/actmatch.hpp>
#include <functional>
#include <string>
#include <vector>

namespace actmatch::tool {

enum ExitStatus { kOk = 0, kFailed = 1, kUsage = 2, kInterrupted = 130 };

// Set by the subcommand that the user chose.
using Action = std::function<int()>;

void add_explain(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_run(CLI::App& app, Action& action);
void add_verify(CLI::App& app, Action& action);
void add_devices(CLI::App& app, Action& action);
void add_evaluate(CLI::App& app, Action& action);
void add_report(CLI::App& app, Action& action);
void add_train(CLI::App& app, Action& action);

// Flags that several subcommands have.
struct DeviceFlags {
  std::string device = "auto";
  int threads = 0;
  std::string precision = "fp32";
};
void add_device_flags(CLI::App& command, DeviceFlags& flags);
void add_precision_flag(CLI::App& command, DeviceFlags& flags);
void add_preprocess_flags(CLI::App& command, ExplainOptions& options);  // and labels
CLI::Validator generator_check();                                       // csae, unet, grid, or a file
void add_criterion_flags(CLI::App& command, ExplainOptions& options);   // what makes a mask acceptable

// What the file leaves open about a classifier.
struct ModelFlags {
  std::string input, output, head = "auto", input_shape, layout = "auto";
  std::vector<std::string> fixed;
};
void add_model_flags(CLI::App& command, ModelFlags& flags);

Model load_model(const std::string& path, const DeviceFlags& flags, const std::function<void(const std::string&)>& notice = {},
                 const ModelFlags& choices = {});

// "Example:" and "Exit status:", the end of every help text.
std::string footer(const std::string& example, const std::string& failure = "something failed; one line on stderr says what");

}  // namespace actmatch::tool

#include <actmatch/actmatch.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "tools/actmatch/commands.h"
#include "tools/actmatch/console.h"
#include "tools/actmatch/interrupt.h"
#include "tools/actmatch/output_folder.h"

namespace actmatch::tool {

namespace {

struct ExplainFlags {
  std::string model, out;
  std::vector<std::string> images;
  DeviceFlags device;
  ModelFlags choices;
  ExplainOptions options;
  std::string batch = "auto";
  bool quiet = false;
};

std::string file_name(const std::string& path) { return std::filesystem::path(path).filename().string(); }

std::string progress_text(const Progress& p) {
  std::string text = p.phase;
  if (p.instance > 1) text += " (instance " + std::to_string(p.instance) + ")";
  if (p.steps > 0) text += " " + std::to_string(p.step) + "/" + std::to_string(p.steps);
  if (p.area > 0) text += "  area " + format("%.1f %%", 100 * p.area);
  if (p.steps > 0) text += "  " + clock(p.seconds_left) + " left";
  for (size_t i = 0; i < p.terms; ++i) text += std::string("  ") + p.term_names[i] + " " + format("%.3g", p.term_values[i]);
  return text;
}

void add_rows(Table& table, const Result& result, const std::string& image) {
  const actmatch_summary s = result.summary();
  for (int64_t i = 0; i < s.instances; ++i) {
    const actmatch_explanation e = result.explanation(i);
    const std::string label = std::to_string(s.class_index) + (*s.class_name ? std::string(" ") + s.class_name : "");
    table.add({shortened(file_name(image), 34) + (s.instances > 1 ? " #" + std::to_string(i + 1) : ""), shortened(label, 26),
               format("%.3f", s.p_x), format("%.3f", e.p_e), percent(e.area), format("%.0f %%", 100 * e.background_stability),
               e.necessity ? "yes" : "no", e.minimal_tile > 0 ? std::to_string(e.minimal_tile) + " px" : "-", e.feasible ? "yes" : "no",
               format("%.1f", i == 0 ? s.seconds : e.optimise_seconds + e.prune_seconds)});
  }
}

// All pictures of a run. Progress is shown by the thread that explains; results arrive on another one, which writes them.
class Run {
 public:
  Run(const ExplainFlags& flags, std::vector<std::string> images, Explainer& explainer, ProgressLine& line)
      : flags_(flags), images_(std::move(images)), explainer_(explainer), line_(line), folder_(flags.out), report_(explainer) {
    FolderNames names;
    for (const std::string& image : images_) names_.push_back(names.next(image));
  }

  int run() {
    std::vector<Picture> pictures(images_.size());
    for (size_t i = 0; i < images_.size(); ++i) pictures[i].path = images_[i];
    std::string ended;
    try {
      explainer_.run_batch(
          pictures, [this](BatchItem item) { return take(std::move(item)); }, flags_.batch == "auto" ? 0 : std::stoll(flags_.batch),
          [this](const Progress& p) {
            show(p);
            return !interrupted();
          });
    } catch (const Failure& e) {
      if (e.status() != ACTMATCH_CANCELLED) ended = e.what();
    }
    line_.clear();
    // The page comes once all pictures are there; it is written for the finished ones when the run ends early, too.
    if (done_ > 0) report_.write(folder_.file("index.html"));
    if (!flags_.quiet && done_ > 0) {
      std::printf("%s", table_.text().c_str());
      std::printf("\n%zu of %zu pictures explained; the page: %s\n", done_, images_.size(), folder_.file("index.html").c_str());
    }
    if (!ended.empty()) {
      std::fflush(stdout);
      print_error(ended);
      return kFailed;
    }
    if (interrupted()) {
      print_error("stopped; " + std::to_string(done_) + " of " + std::to_string(images_.size()) + " pictures were finished" +
                  (done_ > 0 ? " and lie complete in '" + folder_.path() + "'" : "") + "; run the command again to go on");
      return kInterrupted;
    }
    return failed_ > 0 ? kFailed : kOk;
  }

 private:
  // One that fails does not keep the others from their turn.
  bool take(BatchItem item) {
    try {
      if (item.failure) throw *item.failure;
      item.result->write(folder_.file(names_[item.index]));
      report_.add(*item.result);
      add_rows(table_, *item.result, images_[item.index]);
      ++done_;
    } catch (const Failure& e) {
      line_.print(e.what());
      ++failed_;
    }
    return true;
  }

  // Of a batch whose masks are optimised its first picture stands for the others.
  void show(const Progress& p) {
    if (p.steps > 0 && p.step == step_ && p.picture != shown_) {
      last_ = std::max(last_, p.picture);
      return;
    }
    if (p.picture != shown_ || p.step < step_) {
      line_.start();
      last_ = p.picture;
    }
    shown_ = p.picture;
    step_ = p.step;
    if ((p.area == 0 && p.steps == 0) || !line_.wants_update()) return;
    std::string prefix;
    if (images_.size() > 1) prefix = "[" + std::to_string(p.picture + 1) + "/" + std::to_string(images_.size()) + "] ";
    prefix += file_name(images_[p.picture]);
    if (p.steps > 0 && last_ > p.picture) prefix += " to " + file_name(images_[last_]);
    line_.show(prefix + "  " + progress_text(p));
  }

  const ExplainFlags& flags_;
  std::vector<std::string> images_, names_;
  Explainer& explainer_;
  ProgressLine& line_;
  OutputFolder folder_;
  Report report_;
  Table table_{{"picture", "class", ">p(x)", ">p(e)", ">area", ">stable", "needed", ">minimal", "feasible", ">seconds"}};
  size_t done_ = 0, failed_ = 0;
  size_t shown_ = SIZE_MAX, last_ = 0;
  int64_t step_ = 0;
};

std::string method_names() {
  std::string list;
  for (const auto& m : nlohmann::json::parse(methods_json())) list += (list.empty() ? "" : ", ") + m["name"].get<std::string>();
  return list;
}

int explain(const ExplainFlags& flags) {
  watch_for_interrupt();
  std::vector<std::string> images;
  for (const std::string& path : flags.images) {
    const auto found = list_images(path);
    images.insert(images.end(), found.begin(), found.end());
  }
  ProgressLine line(flags.quiet);
  std::function<void(const std::string&)> notice;
  if (!flags.quiet) notice = [&](const std::string& text) { line.print(text); };
  const Model model = load_model(flags.model, flags.device, notice, flags.choices);
  Explainer explainer(model, flags.options);
  const auto info = nlohmann::json::parse(explainer.info());
  if (info["preprocess_from"] == "default" && !flags.quiet)
    print_notice("no --preprocess given and no .preprocess.json beside the model: taking 'imagenet'; a wrong choice gives wrong answers");
  if (info["preprocess_from"] == "model" && !flags.quiet)
    print_notice("the model normalises its input itself: taking '" + info["preprocess"]["preset"].get<std::string>() +
                 "'; give --preprocess where that is wrong");
  return Run(flags, std::move(images), explainer, line).run();
}

}  // namespace

CLI::Validator generator_check() {
  return {[](const std::string& text) {
            const bool known = text == "csae" || text == "unet" || text == "grid";
            return known || text.ends_with(".onnx") || text.find('/') != std::string::npos
                       ? std::string()
                       : "'" + text + "' is neither csae, unet, grid nor the .onnx file of an explainer";
          },
          "csae|unet|grid|FILE.onnx"};
}

void add_preprocess_flags(CLI::App& command, ExplainOptions& o) {
  command.add_option(
      "--preprocess", o.preprocess,
      "imagenet, tf, caffe, unit, raw, or a JSON file (default: MODEL.preprocess.json beside the model, otherwise imagenet, or "
      "what a model takes that normalises its input itself)");
  command
      .add_option(
          "--resize", o.resize,
          "short-side: scale the short side to round(S*ratio) and cut out the centre; stretch; none: pictures must have the model's "
          "size (default: as the preprocessing says, short-side)")
      ->check(CLI::IsMember({"short-side", "stretch", "none"}));
  command.add_option("--resize-ratio", o.resize_ratio, "short side over the model's size before the crop (default 256/224)")
      ->check(CLI::Range(1.0, 4.0));
  command.add_option("--labels", o.labels, "text file with a class name a line (default: MODEL.labels.txt beside the model)");
}

void add_criterion_flags(CLI::App& command, ExplainOptions& o) {
  command.add_flag("--robust", o.robust, "the label must hold on random backgrounds too");
  command.add_option("--tau", o.tau, "p(e) must be at least TAU * p(x)")->capture_default_str()->check(CLI::Range(1e-6, 1.0));
  command.add_option("--rho", o.rho, "with --robust: share of the random backgrounds that must keep the label")
      ->capture_default_str()
      ->check(CLI::Range(1e-6, 1.0));
  command.add_option("--backgrounds", o.backgrounds, "random backgrounds to test on")->capture_default_str()->check(CLI::Range(1, 4096));
  command.add_option("--tile", o.tile, "side of the tiles of the certificate of minimality, in pixels")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
}

void add_explain(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ExplainFlags>();
  ExplainOptions& o = flags->options;
  CLI::App* c = app.add_subcommand("explain", "Find the pixels that made a classifier give its answer");
  c->add_option("MODEL", flags->model, "ONNX file of an image classifier")->required();
  c->add_option("IMAGE", flags->images, "pictures, or folders of pictures")->required();
  c->add_option("--out", flags->out,
                "folder for the results: index.html, and for each picture PICTURE/{mask.png,explanation.png,overlay.png,soft_mask.npy,"
                "result.json}, further instances in PICTURE/instance_2, ...; pictures of one name get _2, _3, ...")
      ->required();
  c->add_option("--class", o.class_name, "class to explain, by index or name (default: each picture's top class)");
  c->add_option("--method", o.method,
                "what ranks the pixels: " + method_names() + " (default: the recipe's, otherwise activation-matching)");
  c->add_option("--recipe", o.recipe,
                "the method's options: 'default', another built-in recipe such as 'ranking' or 'paper', or a JSON file");
  c->add_option("--generator", o.generator,
                "of activation matching: csae, unet or grid (default: the recipe's); or the file of an explainer ('actmatch train'), which "
                "answers in one forward pass, and with --steps is where the optimisation begins")
      ->check(generator_check());
  c->add_option("--steps", o.steps, "steps of a method that has some (default: the recipe's)")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}));
  c->add_option("--seed", o.seed, "same seed, same mask")->capture_default_str();
  add_device_flags(*c, flags->device);
  add_precision_flag(*c, flags->device);
  add_model_flags(*c, flags->choices);
  add_preprocess_flags(*c, o);
  add_criterion_flags(*c, o);
  c->add_option(
       "--instances", o.instances,
       "explain up to N objects of the class, each with a mask of its own (from 2 on by the recipe 'one-mask', unless one is named)")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  c->add_option(
       "--batch", flags->batch,
       "pictures to explain at once, each as it would be alone: N, or auto for what keeps the device busy and fits its memory (on a "
       "CPU one)")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096) | CLI::IsMember({"auto"}));
  c->add_flag("--quiet", flags->quiet, "print nothing but errors");
  c->footer(footer("actmatch explain mobilenet_v2.onnx photos/ --preprocess tf --labels imagenet.txt --out out",
                   "something failed, perhaps with one picture of several; a line on stderr for each"));
  c->callback([flags, &action] { action = [flags] { return explain(*flags); }; });
}

}  // namespace actmatch::tool

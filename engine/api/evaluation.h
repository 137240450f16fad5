// Methods and metrics over many pictures: what stands behind actmatch_evaluate.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/api/explain_session.h"
#include "engine/evaluate/evaluation.h"
#include "engine/evaluate/sweep.h"
#include "engine/metrics/metric.h"

namespace actmatch::api {

struct EvaluationOptions {
  std::string images;   // a folder or a table
  std::string out;      // the run's folder
  std::string methods;  // names with commas between, each with a recipe of its own behind a colon if need be; "all"
  std::string metrics;  // likewise
  std::string shard;    // see parse_shard
  std::string sweep;    // path of a sweep; empty: none
  bool retry = false;   // what failed or could not be read is tried again
};

// Answers for one picture after the other; see Examiner. A record holds the class, p_x, what the method cost (seconds, forward and backward
// passes), the hard mask's own claims, every metric and the curves behind them; the mask and a drawing lie beside the records.
class EvaluationSession : public Examiner {
 public:
  // Checks everything and makes each method once, so that mistakes show before any picture. Throws kNotFound and kInvalidArgument for what
  // the options name, and what ExplainSession throws.
  EvaluationSession(std::shared_ptr<ModelSession> model, const actmatch_explain_options& explain, const EvaluationOptions& options);

  // Everything from the folder to the last record. `progress` is also called while a method works; false stops (kCancelled).
  EvaluationOutcome run(const std::function<bool(const EvaluationProgress&)>& progress);

  void open(const ManifestEntry& entry) override;
  std::string fingerprint(const ManifestEntry& entry) override;
  nlohmann::ordered_json examine(const Task& task) override;

 private:
  // A method as it was asked for; its recipe's name is the variant of its records.
  struct Wanted {
    std::string method, recipe;  // empty: the defaults
    bool operator==(const Wanted&) const = default;
  };
  // `explainer`: there is a file for the methods that need a trained one; "all" names them only then.
  static std::vector<Wanted> methods_of(const std::string& text, bool explainer);
  // What a task's method is made with: name or path of its recipe, empty for its defaults; and the recipe, with a sweep's changes.
  std::string recipe_name(const std::string& method, const std::string& variant) const;
  MethodRecipe recipe_of(const std::string& method, const std::string& variant) const;
  // Where the run's folder keeps it, from the folder on; empty for a method's defaults.
  std::string recipe_file(const std::string& method, const std::string& variant) const;
  void check_recipes();  // throws for the first mistake in any of them
  void check_classes() const;
  const Variant* swept(const std::string& method, const std::string& variant) const;  // null: not a sweep's

  struct Made {
    std::string method, variant;
    std::unique_ptr<ExplainSession> session;
  };
  ExplainSession& session(const std::string& method, const std::string& variant);
  nlohmann::ordered_json settings() const;
  std::vector<Task> tasks() const;
  MetricInput metric_input(const Explanation& explanation) const;
  void measure(nlohmann::ordered_json& record, const Explanation& explanation);
  void draw(nlohmann::ordered_json& record, const Task& task, const Explanation& explanation) const;
  void gather_others();

  std::shared_ptr<ModelSession> model_;
  actmatch_explain_options explain_;
  EvaluationOptions options_;
  std::vector<Wanted> methods_;
  std::vector<const MetricInfo*> metrics_;
  Sweep sweep_;
  std::vector<ManifestEntry> manifest_;
  std::list<Made> made_;  // the latest used first
  std::function<bool()> go_on_;
  bool recipes_kept_ = false;  // in the run's folder: from then on they are what counts

  // The open picture.
  const ManifestEntry* entry_ = nullptr;
  PreparedPicture picture_;
  std::optional<Problem> problem_;
  HardMask object_;
  // Further pictures as backgrounds, the same in every part of a run: the first readable ones of the list, by name.
  std::vector<std::pair<std::string, std::vector<float>>> others_;
  bool others_gathered_ = false;
};

}  // namespace actmatch::api

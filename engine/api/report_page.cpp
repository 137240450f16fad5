#include "engine/api/report_page.h"

#include <cstdio>
#include <filesystem>

#include "engine/image/file.h"

namespace actmatch::api {

ReportPage::ReportPage(const ExplainSession& session) {
  const ExplainSettings& settings = session.settings();
  const Criterion& criterion = settings.criterion;
  const std::string model = std::filesystem::path(session.model().path()).filename().string();
  header_.title = "Why " + model + " says so";
  header_.lead = "For each picture a few pixels that are enough for the classifier to give the same answer, checked by running it on them.";
  char threshold[64];
  std::snprintf(threshold, sizeof(threshold), "p(e) at least %g p(x)", criterion.tau);
  std::string point = operating_point(settings) + ": label kept, " + threshold;
  if (criterion.robust) {
    char share[96];
    std::snprintf(share, sizeof(share), ", label kept on %g %% of %lld random backgrounds", 100 * criterion.rho,
                  static_cast<long long>(criterion.backgrounds));
    point += share;
  }
  header_.facts = {{"model", model},
                   {"method", session.how().method},
                   {"recipe", session.how().recipe},
                   {"operating point", point},
                   {"random backgrounds", std::to_string(criterion.backgrounds)},
                   {"seed", std::to_string(settings.seed)},
                   {"device", session.device() + ", " + session.precision()}};
  if (!session.how().generator.empty()) header_.facts.push_back({"generator", session.how().generator});
  if (session.how().steps > 0) header_.facts.push_back({"steps", std::to_string(session.how().steps)});
  header_.caution =
      "A masked picture is unlike anything the classifier was trained on, and a very small mask can act like an adversarial pattern. "
      "Read every area together with the share of random backgrounds on which the label holds.";
}

void ReportPage::add(const Result& result) {
  for (size_t i = 0; i < result.outcome().instances.size(); ++i) items_.push_back(result.report_item(static_cast<int64_t>(i)));
}

void ReportPage::write(const std::string& path) const { write_file_atomically(path, render_report(header_, items_)); }

}  // namespace actmatch::api

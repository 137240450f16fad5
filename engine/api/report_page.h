// The page about all pictures of a run.
#pragma once

#include <string>
#include <vector>

#include "engine/api/explain_session.h"
#include "engine/api/result.h"
#include "engine/image/report.h"

namespace actmatch::api {

class ReportPage {
 public:
  explicit ReportPage(const ExplainSession& session);
  void add(const Result& result);
  void write(const std::string& path) const;

 private:
  ReportHeader header_;
  std::vector<ReportItem> items_;
};

}  // namespace actmatch::api

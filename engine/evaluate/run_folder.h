// The folder of an evaluation:
//
//   run.json                    what all records have in common; a later run in the same folder must agree with it
//   results.jsonl               the records, a line each; results.I-of-N.jsonl where the work is shared out
//   pictures/, masks/           what the records point to
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/evaluate/result_log.h"
#include "engine/evaluate/shard.h"

namespace actmatch {

// What makes a record the one of a piece of work.
struct RecordKey {
  std::string image, class_name, method, variant;
  uint64_t seed = 0;
  auto operator<=>(const RecordKey&) const = default;
};
RecordKey key_of(const nlohmann::ordered_json& record);
void put_key(nlohmann::ordered_json& record, const RecordKey& key);

class RunFolder {
 public:
  // Makes the folder, or goes on in it: throws kInvalidArgument, naming what differs, where `settings` are not those it was made with, or
  // where another process works on the same part; kIo; kFormat for a record that cannot be read, naming its line.
  RunFolder(const std::string& path, const nlohmann::ordered_json& settings, const Shard& shard);

  // What the latest record of this key says of itself; empty where there is none.
  std::string status(const RecordKey& key) const;
  void append(const nlohmann::ordered_json& record);
  void sync() { log_->sync(); }
  std::string file(const std::string& name) const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::map<RecordKey, std::string> status_;
  std::unique_ptr<ResultLog> log_;
};

struct RunRecords {
  nlohmann::ordered_json settings;
  std::vector<nlohmann::ordered_json> records;  // one a key: the latest
};
// Everything in the folder. Throws kNotFound where there is no run in it.
RunRecords read_run(const std::string& path);

}  // namespace actmatch

// The folder of an evaluation:
//
//   run.json                    what all records have in common; a later run in the same folder must agree with it
//   results.jsonl               the records, a line each; results.I-of-N.jsonl where the work is shared out
//   recipes/                    the options of the methods, as they were when the first record was made with them; must agree likewise
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
// A name of the file system as records hold it: what is not UTF-8 in it is written as \xNN.
std::string in_records(const std::string& name);
RecordKey key_of(const nlohmann::ordered_json& record);
void put_key(nlohmann::ordered_json& record, const RecordKey& key);

// What the folder knows of a record.
struct FoundRecord {
  std::string status;            // empty: there is none
  std::string image_sha256;      // of the picture's file; empty in records of older programs
  nlohmann::ordered_json boxes;  // likewise null
};

class RunFolder {
 public:
  // Makes the folder, or goes on in it: throws kInvalidArgument, naming what differs, where `settings` are not those it was made with, or
  // where another process works on the same part, or with other parts; kIo; kFormat for a record that cannot be read, naming its line.
  RunFolder(const std::string& path, const nlohmann::ordered_json& settings, const Shard& shard);

  // The latest record of this key.
  FoundRecord found(const RecordKey& key) const;
  // Puts the settings of a part of the work, as `what` is called in messages, into the file `name`, or throws kInvalidArgument where those
  // that lie there are others.
  void agree(const std::string& name, const nlohmann::ordered_json& settings, const std::string& what) const;
  void append(const nlohmann::ordered_json& record);
  void sync() { log_->sync(); }
  std::string file(const std::string& name) const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  std::map<RecordKey, FoundRecord> found_;
  std::unique_ptr<ResultLog> log_;
};

struct RunRecords {
  std::string folder;
  nlohmann::ordered_json settings;
  std::vector<nlohmann::ordered_json> records;  // one a key: the latest
};
// Everything in the folder. Throws kNotFound where there is no run in it.
RunRecords read_run(const std::string& path);

}  // namespace actmatch

// Records of an evaluation, a JSON object a line, in a file that only ever grows. A line is there as a whole or not at all, whenever the
// program is killed: what a kill left half-written at the end is cut off when the file is opened again, and readers pass over it.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace actmatch {

class ResultLog {
 public:
  // Opens or makes the file and locks it for as long as this lives. Throws kIo, or kInvalidArgument where another process holds it.
  // Every `sync_seconds` at most the disk is waited for; 0: after every record.
  explicit ResultLog(const std::string& path, double sync_seconds = 5);
  ~ResultLog();
  ResultLog(const ResultLog&) = delete;
  ResultLog& operator=(const ResultLog&) = delete;

  // Adds `record`, one line without its end. Throws kIo (a full disk, say); the file is then as it was before.
  void append(const std::string& record);
  void sync();

 private:
  std::string path_;
  int file_ = -1;
  std::chrono::steady_clock::time_point synced_;
  double sync_seconds_;
};

// Is the file open as a ResultLog in some process?
bool is_being_written(const std::string& path);

// The complete lines of a file. Throws kNotFound or kIo.
std::vector<std::string> read_log(const std::string& path);

}  // namespace actmatch

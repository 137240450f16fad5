// What the user sees: errors, the line that shows progress, tables.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <vector>

namespace actmatch::tool {

// "actmatch: MESSAGE" on stderr, always one line.
void print_error(const std::string& message);
void print_notice(const std::string& message);  // likewise; for what is worth knowing but no failure

std::string format(const char* pattern, double value);
std::string percent(double share);
std::string clock(double seconds);              // "1:05"
std::string grouped(int64_t number);            // "1 235 496"
size_t display_width(const std::string& utf8);  // in code points
std::string shortened(const std::string& utf8, size_t width);

// Columns as wide as their widest cell; a column is right-aligned where its title begins with '>'.
class Table {
 public:
  explicit Table(std::vector<std::string> titles);
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.empty(); }
  std::string text() const;

 private:
  std::vector<std::string> titles_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

// One line on stderr that is written over on a terminal; elsewhere a new line for each piece of work and every ten seconds. One thread
// shows progress; any may print a message.
class ProgressLine {
 public:
  explicit ProgressLine(bool quiet);
  ~ProgressLine() { clear(); }
  void start() { last_ = {}; }  // a new piece of work: its first update shows at once
  bool wants_update();          // is it time for the next one?
  void show(const std::string& text);
  void clear();
  void print(const std::string& message);  // as print_error, in place of the line

 private:
  void wipe();
  std::mutex mutex_;  // of the terminal and shown_
  bool quiet_, terminal_, shown_ = false;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace actmatch::tool

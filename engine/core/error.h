// The one exception type of the engine. Messages are one line: what is wrong, where, and what to do about it.
#pragma once

#include <stdexcept>
#include <string>

namespace actmatch {

// Coarse classes of failure; the C API turns them into status codes and the command into exit codes.
enum class ErrorCode {
  kInvalidArgument,  // the caller asked for something that does not exist or does not fit
  kNotFound,         // a file or a name that is not there
  kFormat,           // a file that is not what it claims to be
  kUnsupported,      // well-formed, but this engine cannot do it
  kIo,               // reading or writing failed, or a device was lost
  kOutOfMemory,
  kCancelled,  // the caller's stop request was honoured
  kInternal,   // a bug in the engine
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

[[noreturn]] void fail_check(const char* file, int line, const char* expression, const std::string& message);

}  // namespace actmatch

// For conditions that only a bug in the engine can break; bad input gets an Error with a message of its own.
#define ACTMATCH_CHECK(condition, message)                                               \
  do {                                                                                   \
    if (!(condition)) ::actmatch::fail_check(__FILE__, __LINE__, #condition, (message)); \
  } while (false)

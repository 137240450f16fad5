// A device that answers nothing any more: whatever was in its memory is gone, and every later call fails too.
#pragma once

#include <string>

#include "engine/core/error.h"

namespace actmatch {

class LostDevice : public Error {
 public:
  explicit LostDevice(const std::string& message) : Error(ErrorCode::kIo, message) {}
};

// Where many pictures are worked on, what goes wrong with one is that one's failure; these end all of it, because the next would fail
// alike.
inline bool ends_the_run(const Error& error) {
  return error.code() == ErrorCode::kCancelled || error.code() == ErrorCode::kOutOfMemory ||
         dynamic_cast<const LostDevice*>(&error) != nullptr;
}

}  // namespace actmatch

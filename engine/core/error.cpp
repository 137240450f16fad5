#include "engine/core/error.h"

namespace actmatch {

void fail_check(const char* file, int line, const char* expression, const std::string& message) {
  throw Error(ErrorCode::kInternal, std::string("internal error: ") + message + " (" + expression + ", " + file + ":" +
                                        std::to_string(line) + "); please report it");
}

}  // namespace actmatch

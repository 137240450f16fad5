#include "tools/actmatch/interrupt.h"

#include <csignal>

namespace actmatch::tool {

namespace {
volatile std::sig_atomic_t stop_requested = 0;
}

void watch_for_interrupt() {
  struct sigaction action {};
  action.sa_handler = [](int) { stop_requested = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

bool interrupted() { return stop_requested != 0; }

}  // namespace actmatch::tool

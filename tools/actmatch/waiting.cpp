#include "tools/actmatch/waiting.h"

#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace actmatch::tool {

namespace {

// Threads that run or could run now, this one among them; 1 where the system does not say.
int running() {
  std::ifstream file("/proc/loadavg");
  std::string load;
  int count = 0;
  for (int i = 0; i < 3; ++i) file >> load;
  return file >> count ? count : 1;
}

}  // namespace

void wait_briefly_if_busy(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  if (const char* threads = std::getenv("OMP_NUM_THREADS"); threads && std::string(threads) == "1") return;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  const int processors = CPU_COUNT(&allowed), others = running() - 1;
  constexpr int kFewest = 8;  // processors for each of the others: with so many, one more program rarely meets one of our threads
  if (processors < 2 || others * kFewest < processors) return;
  ::setenv("GOMP_SPINCOUNT", "1000", 1);  // what libgomp itself takes where it has more threads than processors
  ::execv("/proc/self/exe", argv);        // returns where that cannot be; then things stay as they were
  ::unsetenv("GOMP_SPINCOUNT");
}

}  // namespace actmatch::tool

#include "tests/support/tested_backend.h"

namespace actmatch::test {

Backend& tested_backend() {
  static const std::unique_ptr<Backend> backend = make_cpu_backend(0);
  return *backend;
}
Tolerance in_precision(Tolerance t) { return t; }
double branch_margin() { return 1e-3; }
bool same_bits_in_batches() { return false; }

}  // namespace actmatch::test

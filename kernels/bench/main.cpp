// bench_kernels: every kernel launcher's time beside what this machine's ceilings allow.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <regex>

#include "kernels/bench/ceilings.h"

namespace actmatch::kernels::bench {

namespace {

constexpr const char* kUsage =
    "usage: bench_kernels [--list] [--filter REGEX] [--json FILE] [--repeats N] [--seconds N]\n"
    "  --list         print the names of the cases and end; needs no GPU\n"
    "  --filter REGEX only cases whose name has a part that matches (case matters)\n"
    "  --json FILE    write the table as JSON too\n"
    "  --repeats N    replays that the median is taken of (default 11)\n"
    "  --seconds N    start no further case after so long (default: no limit)\n"
    "Ends with 0, with 1 when a case failed, with 2 without a GPU or for wrong arguments.\n";

struct Options {
  bool list = false;
  std::string filter, json;
  int repeats = 11;
  double seconds = 0;
};

// Empty when the arguments are wrong, after a line that says what is.
std::optional<Options> parse(int argc, char** argv) {
  Options options;
  const auto wrong = [](const std::string& what) {
    std::fprintf(stderr, "bench_kernels: %s\n%s", what.c_str(), kUsage);
    return std::nullopt;
  };
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--list") {
      options.list = true;
      continue;
    }
    if (flag != "--filter" && flag != "--json" && flag != "--repeats" && flag != "--seconds")
      return wrong("unknown argument '" + flag + "'");
    if (++i == argc) return wrong(flag + " needs a value");
    const std::string value = argv[i];
    if (flag == "--filter") {
      options.filter = value;
    } else if (flag == "--json") {
      options.json = value;
    } else {
      char* end = nullptr;
      const double number = std::strtod(value.c_str(), &end);
      const bool whole = number == static_cast<double>(static_cast<int>(number));
      if (*end != '\0' || value.empty() || !(number > 0) || number > 1e6 || (flag == "--repeats" && !whole))
        return wrong(flag + " needs a number above 0, not '" + value + "'");
      if (flag == "--repeats") {
        options.repeats = static_cast<int>(number);
      } else {
        options.seconds = number;
      }
    }
  }
  return options;
}

struct Row {
  const Case* what = nullptr;
  Timing time;
  size_t traffic = 0, resident = 0;
  Floor floor;
  std::string failure;  // empty: all is well
  double rate() const { return static_cast<double>(traffic) / (1e-6 * time.median); }
  double speed() const { return what->operations / (1e-6 * time.median); }
  double share() const { return floor.seconds / (1e-6 * time.median); }
};

std::string json_text(const std::string& s) {
  std::string quoted = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return quoted + '"';
}

std::string json_of(const cudaDeviceProp& device, int runtime, int driver, const Ceilings& c, const std::vector<Row>& rows,
                    size_t not_run) {
  std::ostringstream out;
  out << "{\n \"device\": {\"name\": " << json_text(device.name) << ", \"compute_capability\": \"" << device.major << '.' << device.minor
      << "\", \"multiprocessors\": " << device.multiProcessorCount << ", \"memory_bytes\": " << device.totalGlobalMem
      << ", \"runtime\": " << runtime << ", \"driver\": " << driver << "},\n"
      << " \"ceilings\": {\"copy_gb_s\": " << c.copy / 1e9 << ", \"l2_copy_gb_s\": " << c.cache_copy / 1e9
      << ", \"fp32_tflop_s\": " << c.fp32 / 1e12 << ", \"bf16_mma_tflop_s\": " << c.tensor / 1e12 << ", \"launch_us\": " << c.launch * 1e6
      << ", \"l2_bytes\": " << c.cache_bytes << "},\n \"not_run\": " << not_run << ",\n \"kernels\": [";
  const char* separator = "\n";
  for (const Row& r : rows) {
    out << separator << "  {\"kernel\": " << json_text(r.what->kernel) << ", \"size\": " << json_text(r.what->size);
    if (r.failure.empty()) {
      out << ", \"us\": " << r.time.median << ", \"us_least\": " << r.time.least << ", \"us_most\": " << r.time.most
          << ", \"launches\": " << r.time.launches << ", \"replays\": " << r.time.replays << ", \"bytes\": " << r.traffic
          << ", \"resident_bytes\": " << r.resident << ", \"operations\": " << r.what->operations << ", \"gb_s\": " << r.rate() / 1e9
          << ", \"tflop_s\": " << r.speed() / 1e12 << ", \"bound\": " << json_text(name_of(r.floor.bound)) << ", \"share\": " << r.share()
          << '}';
    } else {
      out << ", \"failure\": " << json_text(r.failure) << '}';
    }
    separator = ",\n";
  }
  out << "\n ]\n}\n";
  return out.str();
}

Row time_case(const Case& what, Timer& timer, const Ceilings& ceilings, int repeats) {
  Row row;
  row.what = &what;
  try {
    Memory memory;
    const Launch launch = what.prepare(memory);
    row.traffic = memory.traffic();
    row.resident = memory.bytes();
    row.floor = floor_of(ceilings, row.traffic, row.resident, what.operations, what.unit);
    row.time = timer.time(launch, repeats);
  } catch (const CudaFailure& e) {
    row.failure = e.what();
    cudaGetLastError();  // forgotten, unless the device is lost
  }
  return row;
}

int run(const Options& options, const std::vector<Case>& cases) {
  int devices = 0;
  const cudaError_t found = cudaGetDeviceCount(&devices);
  if (found != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "bench_kernels: no CUDA device to measure on: %s\n",
                 found != cudaSuccess ? cudaGetErrorString(found) : "the driver knows none");
    return 2;
  }
  int device = 0, runtime = 0, driver = 0;
  cudaDeviceProp properties{};
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");

  const auto start = std::chrono::steady_clock::now();
  Timer timer;
  const Ceilings c = measure_ceilings(timer, options.repeats);
  std::printf("%s, compute capability %d.%d, CUDA %d.%d\n", properties.name, properties.major, properties.minor, runtime / 1000,
              runtime % 1000 / 10);
  std::printf("ceilings: copy %.0f GB/s, within L2 %.0f GB/s, fp32 %.1f TFLOP/s, bf16 mma.sync %.1f TFLOP/s, launch %.2f us\n\n",
              c.copy / 1e9, c.cache_copy / 1e9, c.fp32 / 1e12, c.tensor / 1e12, c.launch * 1e6);
  std::printf("%-30s %-58s %10s %9s %9s %7s %6s\n", "kernel", "size", "us", "GB/s", "TFLOP/s", "bound", "share");
  std::vector<Row> rows;
  size_t failed = 0, not_run = 0;
  for (const Case& what : cases) {
    if (options.seconds > 0 && std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() > options.seconds) {
      ++not_run;
      continue;
    }
    Row row = time_case(what, timer, c, options.repeats);
    if (row.failure.empty()) {
      std::printf("%-30s %-58s %10.2f %9.0f %9.2f %7s %5.0f%%\n", what.kernel.c_str(), what.size.c_str(), row.time.median, row.rate() / 1e9,
                  row.speed() / 1e12, name_of(row.floor.bound), 100 * row.share());
    } else {
      ++failed;
      std::printf("%-30s %-58s %s\n", what.kernel.c_str(), what.size.c_str(), row.failure.c_str());
    }
    std::fflush(stdout);
    rows.push_back(std::move(row));
    if (const cudaError_t state = cudaStreamSynchronize(timer.stream()); state != cudaSuccess) {
      std::fprintf(stderr, "bench_kernels: the device is lost after '%s': %s\n", what.name().c_str(), cudaGetErrorString(state));
      not_run = cases.size() - rows.size();
      break;
    }
  }
  std::printf("\n%zu cases timed, %zu failed, %zu not run\n", rows.size() - failed, failed, not_run);
  if (!options.json.empty()) {
    std::ofstream file(options.json);
    file << json_of(properties, runtime, driver, c, rows, not_run);
    if (!file.flush()) {
      std::fprintf(stderr, "bench_kernels: cannot write %s\n", options.json.c_str());
      return 1;
    }
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace

}  // namespace actmatch::kernels::bench

int main(int argc, char** argv) {
  using namespace actmatch::kernels::bench;
  const auto options = parse(argc, argv);
  if (!options) return 2;
  try {
    std::vector<Case> cases = all_cases({});
    if (!options->filter.empty()) {
      const std::regex wanted(options->filter);
      std::erase_if(cases, [&](const Case& c) { return !std::regex_search(c.name(), wanted); });
    }
    if (cases.empty()) {
      std::fprintf(stderr, "bench_kernels: no case is named like '%s'; --list shows them\n", options->filter.c_str());
      return 2;
    }
    if (options->list) {
      for (const Case& c : cases) std::printf("%s\n", c.name().c_str());
      return 0;
    }
    return run(*options, cases);
  } catch (const std::regex_error&) {
    std::fprintf(stderr, "bench_kernels: '%s' is not a regular expression\n", options->filter.c_str());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_kernels: %s\n", e.what());
    return 1;
  }
}

#include "tests/e2e/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace actmatch::e2e {

namespace {

// Unless a test says otherwise there is no GPU: what these tests expect of the CPU must not depend on the machine.
class WithoutGpu : public testing::Environment {
 public:
  void SetUp() override { ::setenv("ACTMATCH_MODULE_PATH", module_folder("none").c_str(), 1); }
};
const testing::Environment* const kWithoutGpu = testing::AddGlobalTestEnvironment(new WithoutGpu);

}  // namespace

Outcome run_actmatch(const std::vector<std::string>& arguments, const std::string& interrupt_after) {
  std::vector<std::string> words{std::string(ACTMATCH_BINARY_DIR) + "/actmatch"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  int out[2], err[2];
  if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) throw std::runtime_error("no pipes");
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(out[1], STDOUT_FILENO);
    ::dup2(err[1], STDERR_FILENO);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::close(out[1]);
  ::close(err[1]);
  Outcome outcome;
  bool sent = interrupt_after.empty();
  std::array<pollfd, 2> ends{{{out[0], POLLIN, 0}, {err[0], POLLIN, 0}}};
  while (ends[0].fd >= 0 || ends[1].fd >= 0) {
    ::poll(ends.data(), ends.size(), -1);
    for (size_t i = 0; i < ends.size(); ++i) {
      if (ends[i].fd < 0 || ends[i].revents == 0) continue;
      char buffer[4096];
      const ssize_t n = ::read(ends[i].fd, buffer, sizeof(buffer));
      if (n > 0) {
        (i == 0 ? outcome.out : outcome.err).append(buffer, static_cast<size_t>(n));
      } else {
        ::close(ends[i].fd);
        ends[i].fd = -1;
      }
    }
    if (!sent && (outcome.out + outcome.err).find(interrupt_after) != std::string::npos) {
      ::kill(child, SIGINT);
      sent = true;
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

std::vector<std::string> files_under(const std::string& folder) {
  std::vector<std::string> files;
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (!entry.is_directory()) files.push_back(fs::relative(entry.path(), folder).string());
  std::sort(files.begin(), files.end());
  return files;
}

void expect_one_line(const Outcome& outcome) {
  EXPECT_EQ(outcome.err.rfind("actmatch: ", 0), 0u) << outcome.err;
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_EQ(outcome.out, "");
}

}  // namespace actmatch::e2e

// Ctrl-C (SIGINT) and SIGTERM ask to stop; what is running ends at its next step, so that nothing is left half-written. A second one
// ends the program at once.
#pragma once

namespace actmatch::tool {

void watch_for_interrupt();
bool interrupted();

}  // namespace actmatch::tool

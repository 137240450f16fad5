// How threads wait for one another on a machine that has other work.
#pragma once

namespace actmatch::tool {

// The OpenMP runtime lets waiting threads spin for milliseconds. Where another program has a processor, the thread that they wait for may
// be the one that cannot run, and everything takes up to a hundred times as long. So if others are running now, this starts the program
// anew, told (GOMP_SPINCOUNT) to spin for microseconds and then to sleep; the runtime reads that before main(). On an idle machine spinning
// is quicker by a tenth, and it stays. Does nothing where OMP_WAIT_POLICY or GOMP_SPINCOUNT is set or OMP_NUM_THREADS is 1.
void wait_briefly_if_busy(char** argv);

}  // namespace actmatch::tool

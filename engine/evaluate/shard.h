// Which part of an evaluation a process takes, when several of them share it: `mpirun`, Slurm, Kubernetes, or by hand.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace actmatch {

// Part `index` of `count`, counted from 0; it takes the pictures whose place in the list is congruent to `index`. Neighbours in a list tend
// to be alike, so that dealing them out evens the work.
struct Shard {
  int64_t index = 0, count = 1;
  bool takes(int64_t place) const { return place % count == index; }
  bool operator==(const Shard&) const = default;
};

// Looks a variable of the environment up; null where it is not set.
using Environment = std::function<const char*(const char* name)>;

// "I/N": part I of N, counted from 1, as test runners do. "auto": what the environment says, everything where it says nothing:
//   SLURM_PROCID of SLURM_NTASKS (srun), where there is more than one task;
//   SLURM_ARRAY_TASK_ID between SLURM_ARRAY_TASK_MIN and _MAX in steps of _STEP (sbatch --array); of a list (--array 3,7), where _COUNT
//     is another, nobody knows which parts it stands for: refused, also with "auto/N";
//   OMPI_COMM_WORLD_RANK of OMPI_COMM_WORLD_SIZE (mpirun);
//   JOB_COMPLETION_INDEX (Kubernetes indexed jobs), which needs "auto/N" because a pod is not told how many there are.
// "auto/N": the index from any of these, of N parts. Throws kInvalidArgument.
Shard parse_shard(const std::string& text, const Environment& environment);

}  // namespace actmatch

// The work on several pictures, each written as if it were the only one: their questions meet, and are answered together.
#pragma once

#include <cstddef>
#include <functional>

#include "engine/explain/masked_pictures.h"

namespace actmatch {

// Runs work(i, answers) for all i below `count`, each on a thread of its own. A question waits until every work either waits or has ended;
// then all are answered on the calling thread, the only one that sees the device. `before_answers` is called there each time before.
// What any of them throws ends all works and is thrown here. The results do not depend on which thread is quicker.
void work_together(Classifier& classifier, size_t count, const std::function<void(size_t, MaskedAnswers&)>& work,
                   const std::function<void()>& before_answers);

}  // namespace actmatch

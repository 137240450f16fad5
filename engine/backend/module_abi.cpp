#include "engine/backend/module.h"
#include "engine/backend/module_stamp.h"

namespace actmatch {

const char* module_abi() { return "actmatch " ACTMATCH_MODULE_VERSION ", build " ACTMATCH_MODULE_STAMP; }

}  // namespace actmatch

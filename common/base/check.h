// CHECK: what must hold, in release too. Only for what a bug of ours can cause, never for the outside.
#pragma once

#include <glog/logging.h>

// Runs a piece of the job's code for which no record can be refused: what it throws becomes an error of the job.
#pragma once

#include <exception>
#include <new>

#include "common/base/error.h"
#include "stream/map_instance.h"

namespace millrace::internal {

// `where()` says in what of the job it was, for people; called where it throws only. A lack of memory is nobody's
// fault.
template <typename Where, typename Function>
Status guarded(Where&& where, Function&& function) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& problem) {
    return threw(where(), problem.what());
  } catch (...) {
    return threw(where(), "something that is no std::exception");
  }
}

}  // namespace millrace::internal

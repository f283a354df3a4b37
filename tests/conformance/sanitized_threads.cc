// GCC 12's thread sanitizer does not know C11's thrd_create, by which librdkafka starts its threads, and crashes in
// them. This definition comes before the C library's and starts them the way it knows.
#if defined(__SANITIZE_THREAD__)

#include <pthread.h>
#include <threads.h>

#include <cstdint>
#include <utility>

extern "C" const char* __tsan_default_options() {
  return "ignore_noninstrumented_modules=1";
}

extern "C" int thrd_create(thrd_t* thread, thrd_start_t start, void* argument) {
  using Call = std::pair<thrd_start_t, void*>;
  auto* const call = new Call(start, argument);
  const auto run = [](void* given) -> void* {
    const Call its = *static_cast<Call*>(given);
    delete static_cast<Call*>(given);
    return reinterpret_cast<void*>(static_cast<intptr_t>(its.first(its.second)));
  };
  return pthread_create(thread, nullptr, run, call) == 0 ? thrd_success : thrd_error;
}

extern "C" int thrd_join(thrd_t thread, int* result) {
  void* returned = nullptr;
  if (pthread_join(thread, &returned) != 0) return thrd_error;
  if (result != nullptr) *result = static_cast<int>(reinterpret_cast<intptr_t>(returned));
  return thrd_success;
}

#endif

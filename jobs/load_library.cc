#include "jobs/load_library.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace millrace {

Result<const JobLibrary*> load_job_library(const std::string& path) {
  // With a slash, or it would be looked for in the system's folders.
  const std::string file = path.find('/') == std::string::npos ? "./" + path : path;
  void* const handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const reason = dlerror();
    return fail(ErrorCode::kInvalid, "the job library cannot be loaded: " + std::string(reason ? reason : path));
  }
  const auto find = reinterpret_cast<const JobLibrary* (*)()>(dlsym(handle, "millrace_job_library"));
  if (find == nullptr) {
    return fail(ErrorCode::kInvalid, "'" + path + "' is no library of jobs; define one in it by MILLRACE_JOB");
  }
  const JobLibrary* const library = find();
  if (std::strcmp(library->interface, kJobInterface) != 0) {
    return fail(ErrorCode::kInvalid, "'" + path + "' was built for " + std::string(library->interface) +
                                         ", and this is " + kJobInterface + "; build it again with that");
  }
  return library;
}

Result<JobFactory> load_job_library_of(const std::string& bytes) {
  const auto cannot = [](const std::string& what) {
    return fail(ErrorCode::kUnavailable, "cannot " + what + " the job's library in memory: " + std::strerror(errno));
  };
  const int file = memfd_create("job.so", MFD_CLOEXEC);
  if (file < 0) return cannot("keep");
  for (size_t written = 0; written < bytes.size();) {
    const ssize_t size = write(file, bytes.data() + written, bytes.size() - written);
    if (size < 0) return cannot("write");
    written += static_cast<size_t>(size);
  }
  const auto library = load_job_library("/proc/self/fd/" + std::to_string(file));
  close(file);
  if (!library) return std::unexpected(library.error());
  return JobFactory((*library)->make);
}

}  // namespace millrace

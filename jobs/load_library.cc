#include "jobs/load_library.h"

#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace millrace {
namespace {

// A descriptor of the bytes.
Result<int> in_memory(const std::string& bytes) {
  const auto cannot = [](const std::string& what) {
    return fail(ErrorCode::kUnavailable, "cannot " + what + " the job library in memory: " + std::strerror(errno));
  };
  const int file = memfd_create("job.so", MFD_CLOEXEC);
  if (file < 0) return cannot("keep");
  for (size_t written = 0; written < bytes.size();) {
    const ssize_t size = write(file, bytes.data() + written, bytes.size() - written);
    if (size < 0) {
      auto failed = cannot("write");
      close(file);
      return failed;
    }
    written += static_cast<size_t>(size);
  }
  return file;
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
  return text;
}

}  // namespace

Result<const JobLibrary*> load_job_library(const std::string& bytes, const std::string& name) {
  const Result<int> file = in_memory(bytes);
  if (!file) return std::unexpected(file.error());
  const std::string path = "/proc/self/fd/" + std::to_string(*file);
  void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const std::string reason = dlerror();
    close(*file);
    return fail(ErrorCode::kInvalid, "the job library cannot be loaded: " + replaced(reason, path, name));
  }
  // The descriptor stays open with the library: dlopen() knows what it has loaded by its path, so that a second library
  // behind the same number would be the first one again.
  const auto find = reinterpret_cast<const JobLibrary* (*)()>(dlsym(handle, "millrace_job_library"));
  if (find == nullptr) {
    return fail(ErrorCode::kInvalid, "'" + name + "' is no library of jobs; define one in it by MILLRACE_JOB");
  }
  const JobLibrary* const library = find();
  if (std::strcmp(library->interface, kJobInterface) != 0) {
    return fail(ErrorCode::kInvalid, "'" + name + "' was built for " + std::string(library->interface) +
                                         ", and this is " + kJobInterface + "; build it again with that");
  }
  return library;
}

Result<JobFactory> load_job_factory(const std::string& bytes, const std::string& name) {
  const auto library = load_job_library(bytes, name);
  if (!library) return std::unexpected(library.error());
  return JobFactory((*library)->make);
}

}  // namespace millrace

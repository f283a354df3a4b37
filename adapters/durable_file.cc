#include "adapters/durable_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

namespace millrace::durable_file {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTemporaryFolder = ".tmp";

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : value_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return value_; }
  [[nodiscard]] bool ok() const { return value_ >= 0; }

 private:
  int value_;
};

Status sync_directory(const std::string& path) {
  const Descriptor directory(path, O_RDONLY | O_DIRECTORY);
  if (!directory.ok() || ::fsync(directory.get()) != 0) return std::unexpected(describe_errno(path, errno));
  return {};
}

// Makes the folders above ROOT/NAME, each durable in its parent.
Status make_parents(const std::string& root, const std::string& name) {
  for (size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1)) {
    const std::string folder = root + "/" + name.substr(0, slash);
    if (::mkdir(folder.c_str(), 0755) == 0) {
      if (auto synced = sync_directory(fs::path(folder).parent_path()); !synced) return synced;
    } else if (errno != EEXIST) {
      return std::unexpected(describe_errno(folder, errno));
    }
  }
  return {};
}

// Calls `put` with the final path, again if a folder above it was removed meanwhile; 0 or an errno.
template <typename Put>
Result<int> put_under_name(const std::string& root, const std::string& name, Put put) {
  const std::string path = root + "/" + name;
  int failure = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    if (auto made = make_parents(root, name); !made) return std::unexpected(made.error());
    failure = put(path) == 0 ? 0 : errno;
    if (failure != ENOENT) break;
  }
  return failure;
}

}  // namespace

Status check_file_name(const std::string& name) {
  bool good = !name.empty() && name.size() <= 1024 && name.find('\0') == std::string::npos;
  for (size_t begin = 0; good && begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    good = end > begin && name[begin] != '.';
    begin = end + 1;
  }
  if (good) return {};
  return fail(ErrorCode::kInvalid, "'" + name.substr(0, 100) +
                                       "' is no name of a file in the checkpoint store: "
                                       "expected relative parts that do not begin with a dot");
}

Error describe_errno(const std::string& path, int error_number) {
  if (error_number == ENOENT) return {ErrorCode::kNotFound, path + " does not exist"};
  const char* remedy = "; check the disk";
  if (error_number == ENOSPC || error_number == EDQUOT) remedy = "; free some space there";
  if (error_number == EACCES || error_number == EPERM || error_number == EROFS) remedy = "; check its permissions";
  return {ErrorCode::kIo, path + ": " + std::strerror(error_number) + remedy};
}

Status make_root(const std::string& root) {
  const std::string folder = root + "/" + std::string(kTemporaryFolder);
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) return std::unexpected(describe_errno(folder, failure.value()));
  return {};
}

bool is_there(const std::string& root) {
  return ::access((root + "/" + std::string(kTemporaryFolder)).c_str(), F_OK) == 0;
}

Result<std::string> temporary_path(const std::string& root) {
  static std::atomic<uint64_t> counter = 0;
  const std::string folder = root + "/" + std::string(kTemporaryFolder);
  if (::access(folder.c_str(), F_OK) != 0) return std::unexpected(describe_errno(folder, errno));
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  return folder + "/" + host + "." + std::to_string(getpid()) + "." + std::to_string(++counter);
}

void sweep_temporary(const std::string& root) {
  std::error_code ignored;
  const auto limit = fs::file_time_type::clock::now() - std::chrono::hours(1);
  for (const auto& entry : fs::directory_iterator(root + "/" + std::string(kTemporaryFolder), ignored)) {
    const auto written = entry.last_write_time(ignored);
    if (!ignored && written < limit) fs::remove(entry.path(), ignored);
  }
}

Status write_file(const std::string& path, std::string_view bytes) {
  const Descriptor file(path, O_WRONLY | O_CREAT | O_EXCL);
  if (!file.ok()) return std::unexpected(describe_errno(path, errno));
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return std::unexpected(describe_errno(path, errno));
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  if (::fsync(file.get()) != 0) return std::unexpected(describe_errno(path, errno));
  return {};
}

Result<std::string> read_file(const std::string& path) {
  const Descriptor file(path, O_RDONLY);
  struct stat about = {};
  if (!file.ok() || ::fstat(file.get(), &about) != 0) return std::unexpected(describe_errno(path, errno));
  std::string bytes(static_cast<size_t>(about.st_size), '\0');
  size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t count = ::pread(file.get(), bytes.data() + filled, bytes.size() - filled, static_cast<off_t>(filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::unexpected(describe_errno(path, errno));
    if (count == 0) break;
    filled += static_cast<size_t>(count);
  }
  bytes.resize(filled);
  return bytes;
}

Result<Digest> digest_file(const std::string& path, bool sync) {
  const Descriptor file(path, O_RDONLY);
  if (!file.ok()) return std::unexpected(describe_errno(path, errno));
  if (sync && ::fsync(file.get()) != 0) return std::unexpected(describe_errno(path, errno));
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  Digest digest;
  std::string buffer(256 << 10, '\0');
  for (;;) {
    const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::unexpected(describe_errno(path, errno));
    if (count == 0) break;
    XXH3_64bits_update(&state, buffer.data(), static_cast<size_t>(count));
    digest.size += static_cast<uint64_t>(count);
  }
  digest.hash = XXH3_64bits_digest(&state);
  return digest;
}

Status publish_replacing(const std::string& root, const std::string& temporary, const std::string& name) {
  const Result<int> failure =
      put_under_name(root, name, [&](const std::string& path) { return ::rename(temporary.c_str(), path.c_str()); });
  if (!failure) return std::unexpected(failure.error());
  const std::string path = root + "/" + name;
  if (*failure != 0) return std::unexpected(describe_errno(path, *failure));
  return sync_directory(fs::path(path).parent_path());
}

Result<bool> publish_new(const std::string& root, const std::string& temporary, const std::string& name) {
  Result<int> failure =
      put_under_name(root, name, [&](const std::string& path) { return ::link(temporary.c_str(), path.c_str()); });
  if (failure && (*failure == EPERM || *failure == EOPNOTSUPP)) {  // no hard links there
    failure = put_under_name(root, name, [&](const std::string& path) {
      return ::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE);
    });
  }
  ::unlink(temporary.c_str());
  if (!failure) return std::unexpected(failure.error());
  const std::string path = root + "/" + name;
  if (*failure == EEXIST) return false;
  if (*failure != 0) return std::unexpected(describe_errno(path, *failure));
  if (auto synced = sync_directory(fs::path(path).parent_path()); !synced) return std::unexpected(synced.error());
  return true;
}

Result<std::vector<std::string>> list_files(const std::string& root, const std::string& folder) {
  std::vector<std::string> names;
  const std::string top = folder.empty() ? root : root + "/" + folder;
  std::error_code failure;
  fs::recursive_directory_iterator entry(top, failure);
  for (; !failure && entry != fs::recursive_directory_iterator(); entry.increment(failure)) {
    const bool hidden = entry->path().filename().native().starts_with('.');
    std::error_code gone;  // by another process, between the listing and the question
    if (entry->is_directory(gone)) {
      if (hidden) entry.disable_recursion_pending();
    } else if (!hidden && entry->is_regular_file(gone)) {
      names.push_back(entry->path().lexically_relative(root).generic_string());
    }
  }
  if (failure && failure.value() != ENOENT) return std::unexpected(describe_errno(top, failure.value()));
  std::sort(names.begin(), names.end());
  return names;
}

Status remove_file(const std::string& root, const std::string& name) {
  const std::string path = root + "/" + name;
  if (::unlink(path.c_str()) != 0 && errno != ENOENT && errno != ENOTDIR) {
    return std::unexpected(describe_errno(path, errno));
  }
  std::string folder = name;
  for (size_t slash = folder.rfind('/'); slash != std::string::npos; slash = folder.rfind('/')) {
    folder.resize(slash);
    if (::rmdir((root + "/" + folder).c_str()) != 0) break;
  }
  return {};
}

}  // namespace millrace::durable_file

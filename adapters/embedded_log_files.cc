#include "adapters/embedded_log_files.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstring>
#include <ctime>
#include <fstream>

#include "common/base/byte_order.h"
#include "common/base/check.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kIdentityMagic = 0x474C524D;      // "MRLG"
constexpr uint32_t kAnnouncementMagic = 0x414C524D;  // "MRLA"
constexpr uint32_t kVersion = 1;
constexpr size_t kIdentityBytes = 40;
constexpr size_t kPartitionBytes = 128;
constexpr size_t kPartitionsBegin = 64;
constexpr size_t kBootBytes = 16;
constexpr size_t kPartitionWords = kPartitionBytes / 8;
constexpr size_t kEarlierEnd = 10;  // word of a partition

static_assert(std::atomic<uint64_t>::is_always_lock_free && sizeof(std::atomic<uint64_t>) == 8);
static_assert(std::atomic<uint32_t>::is_always_lock_free && sizeof(std::atomic<uint32_t>) == 4);

std::string digits_20(Offset base) {
  std::string digits = std::to_string(base.value());
  return std::string(20 - std::min<size_t>(20, digits.size()), '0') + digits;
}

// The first half of the kernel's id of this boot: 64 random bits.
std::array<char, kBootBytes> boot_id() {
  std::array<char, kBootBytes> id{};
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string text;
  file >> text;
  std::erase(text, '-');
  std::memcpy(id.data(), text.data(), std::min(text.size(), id.size()));
  return id;
}

Status write_all(int descriptor, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return io_error("cannot write", path, errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

size_t page_bytes(int32_t partitions) {
  return kPartitionsBegin + static_cast<size_t>(partitions) * kPartitionBytes;
}

Result<char*> map_page(const fs::path& path, size_t bytes, bool create) {
  const FileDescriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0644));
  if (!file.valid()) return io_error("cannot open", path, errno);
  struct stat facts{};
  if (fstat(file.get(), &facts) != 0) return io_error("cannot look at", path, errno);
  if (static_cast<size_t>(facts.st_size) < bytes) {
    if (!create) return fail(ErrorCode::kUnavailable, path.string() + " is not announced yet");
    if (ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) return io_error("cannot extend", path, errno);
  }
  void* const page = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (page == MAP_FAILED) return io_error("cannot map", path, errno);
  return static_cast<char*>(page);
}

}  // namespace

std::unexpected<Error> io_error(const std::string& what, const fs::path& path, int error_number) {
  const ErrorCode code = error_number == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo;
  return fail(code, what + " " + path.string() + ": " + std::strerror(error_number) +
                        (error_number == ENOSPC || error_number == EDQUOT ? "; free some space there" : ""));
}

Status sync_folder(const fs::path& folder) {
  const FileDescriptor file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!file.valid()) return io_error("cannot open", folder, errno);
  if (fsync(file.get()) != 0) return io_error("cannot sync", folder, errno);
  return {};
}

Result<EmbeddedLogIdentity> read_identity(const fs::path& log) {
  const fs::path path = log / "log";
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    if (errno != ENOENT && errno != ENOTDIR) return io_error("cannot open", path, errno);
    return fail(ErrorCode::kNotFound, "embedded log '" + log.filename().string() + "' does not exist under " +
                                          log.parent_path().string() + "; make it by 'millrace append log://" +
                                          log.filename().string() + "'");
  }
  char bytes[kIdentityBytes];
  const ssize_t size = ::read(file.get(), bytes, sizeof bytes);
  if (size < 0) return io_error("cannot read", path, errno);
  const bool intact = size == sizeof bytes && load_little<uint32_t>(bytes) == kIdentityMagic &&
                      load_little<uint32_t>(bytes + 4) == kVersion &&
                      load_little<uint64_t>(bytes + 32) == XXH3_64bits(bytes, 32);
  const auto partitions = static_cast<int32_t>(load_little<uint32_t>(bytes + 8));
  if (!intact || partitions < 1 || partitions > kMostEmbeddedLogPartitions) {
    return fail(ErrorCode::kCorrupt, path.string() + " is no description of an embedded log of version 1; restore it");
  }
  return EmbeddedLogIdentity{to_hex(load_little<uint64_t>(bytes + 16)) + to_hex(load_little<uint64_t>(bytes + 24)),
                             partitions};
}

Status write_identity(const fs::path& log, std::array<uint64_t, 2> id, int32_t partitions) {
  std::error_code error;
  for (int32_t partition = 0; partition < partitions; ++partition) {
    const fs::path folder = partition_folder(log, LogPartition(partition));
    fs::create_directories(folder, error);
    if (error) return io_error("cannot make", folder, error.value());
  }
  if (Status synced = sync_folder(log); !synced) return synced;
  if (Status synced = sync_folder(log.parent_path()); !synced) return synced;
  char bytes[kIdentityBytes] = {};
  store_little(bytes, kIdentityMagic);
  store_little(bytes + 4, kVersion);
  store_little(bytes + 8, static_cast<uint32_t>(partitions));
  store_little(bytes + 16, id[0]);
  store_little(bytes + 24, id[1]);
  store_little(bytes + 32, static_cast<uint64_t>(XXH3_64bits(bytes, 32)));
  const fs::path part = log / "log.part";
  const FileDescriptor file(::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file.valid()) return io_error("cannot make", part, errno);
  if (Status written = write_all(file.get(), {bytes, sizeof bytes}, part); !written) return written;
  if (fsync(file.get()) != 0) return io_error("cannot sync", part, errno);
  if (rename(part.c_str(), (log / "log").c_str()) != 0) return io_error("cannot rename", part, errno);
  return sync_folder(log);
}

fs::path partition_folder(const fs::path& log, LogPartition partition) {
  return log / std::to_string(partition.value());
}
fs::path segment_path(const fs::path& folder, Offset base) {
  return folder / (digits_20(base) + ".segment");
}
fs::path producers_path(const fs::path& folder, Offset base) {
  return folder / (digits_20(base) + ".producers");
}

Result<std::vector<Offset>> list_segments(const fs::path& folder) {
  std::vector<Offset> bases;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() != ".segment") continue;
    const std::string stem = entry->path().stem().string();
    int64_t base = 0;
    const auto [stop, problem] = std::from_chars(stem.data(), stem.data() + stem.size(), base);
    if (problem == std::errc() && stop == stem.data() + stem.size() && base >= 0) bases.emplace_back(base);
  }
  if (error) return io_error("cannot list", folder, error.value());
  std::ranges::sort(bases);
  return bases;
}

Result<std::shared_ptr<FileMapping>> FileMapping::map(const fs::path& path, size_t bytes) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return io_error("cannot open", path, errno);
  void* const data = mmap(nullptr, std::max<size_t>(bytes, 1), PROT_READ, MAP_SHARED, file.get(), 0);
  if (data == MAP_FAILED) return io_error("cannot map", path, errno);
  return std::make_shared<FileMapping>(static_cast<const char*>(data), std::max<size_t>(bytes, 1));
}

FileMapping::~FileMapping() {
  munmap(const_cast<char*>(data_), size_);
}

Result<std::shared_ptr<Announcement>> Announcement::create(const fs::path& log, int32_t partitions) {
  const size_t bytes = page_bytes(partitions);
  auto page = map_page(log / "announcement", bytes, true);
  if (!page) return std::unexpected(page.error());
  const auto boot = boot_id();
  std::shared_ptr<Announcement> announcement(new Announcement(*page, bytes));
  const bool written =
      load_little<uint32_t>(*page) == kAnnouncementMagic && load_little<uint32_t>(*page + 4) == kVersion;
  if (written && std::memcmp(*page + 16, boot.data(), boot.size()) == 0) return announcement;
  // Readers look at the magic last, so nothing of the old page is believed meanwhile.
  reinterpret_cast<std::atomic<uint32_t>*>(*page)->store(0);
  if (!written) std::memset(*page + kPartitionsBegin, 0, bytes - kPartitionsBegin);
  announcement->begin_boot(partitions);
  store_little(*page + 4, kVersion);
  store_little(*page + 8, static_cast<uint32_t>(partitions));
  std::memcpy(*page + 16, boot.data(), boot.size());
  reinterpret_cast<std::atomic<uint32_t>*>(*page)->store(kAnnouncementMagic);
  return announcement;
}

void Announcement::begin_boot(int32_t partitions) {
  for (LogPartition partition(0); partition.value() < partitions; partition = LogPartition(partition.value() + 1)) {
    const Offset end = least_end(partition);
    word(partition, kEarlierEnd).store(static_cast<uint64_t>(end.value()));
    for (size_t index = 0; index < kPartitionWords; ++index) {
      if (index != kEarlierEnd) word(partition, index).store(0);
    }
  }
}

Result<std::shared_ptr<Announcement>> Announcement::open(const fs::path& log, int32_t partitions) {
  const size_t bytes = page_bytes(partitions);
  auto page = map_page(log / "announcement", bytes, false);
  if (!page && page.error().code != ErrorCode::kNotFound) return std::unexpected(page.error());
  if (!page) return fail(ErrorCode::kUnavailable, page.error().message);
  std::shared_ptr<Announcement> announcement(new Announcement(*page, bytes));
  const auto boot = boot_id();
  if (reinterpret_cast<std::atomic<uint32_t>*>(*page)->load() != kAnnouncementMagic ||
      std::memcmp(*page + 16, boot.data(), boot.size()) != 0) {
    return fail(ErrorCode::kUnavailable,
                "embedded log '" + log.filename().string() + "' is not announced yet; start the master that owns it");
  }
  return announcement;
}

Announcement::~Announcement() {
  munmap(page_, bytes_);
}

std::atomic<uint64_t>& Announcement::word(LogPartition partition, size_t index) const {
  const size_t at = kPartitionsBegin + static_cast<size_t>(partition.value()) * kPartitionBytes + index * 8;
  CHECK_LE(at + 8, bytes_);
  return *reinterpret_cast<std::atomic<uint64_t>*>(page_ + at);
}

std::atomic<uint32_t>& Announcement::wake_word() const {
  return *reinterpret_cast<std::atomic<uint32_t>*>(page_ + 12);
}

void Announcement::publish(LogPartition partition, const Announced& announced) {
  std::atomic<uint64_t>& sequence = word(partition, 0);
  const uint64_t next = sequence.load(std::memory_order_relaxed) + 1;
  const size_t slot = 2 + (next % 2) * 4;
  word(partition, slot).store(static_cast<uint64_t>(announced.segment.value()), std::memory_order_release);
  word(partition, slot + 1).store(announced.segment_bytes, std::memory_order_release);
  word(partition, slot + 2).store(static_cast<uint64_t>(announced.end.value()), std::memory_order_release);
  word(partition, slot + 3).store(static_cast<uint64_t>(announced.begin.value()), std::memory_order_release);
  sequence.store(next, std::memory_order_release);
  futex_wake_all(wake_word());
}

std::optional<Announced> Announcement::read(LogPartition partition) const {
  // The slot that is read is written again only after `sequence` has moved on, which the second look sees.
  for (;;) {
    const uint64_t sequence = word(partition, 0).load(std::memory_order_acquire);
    if (sequence == 0) return std::nullopt;
    const size_t slot = 2 + (sequence % 2) * 4;
    const Announced announced{Offset(static_cast<int64_t>(word(partition, slot).load(std::memory_order_acquire))),
                              word(partition, slot + 1).load(std::memory_order_acquire),
                              Offset(static_cast<int64_t>(word(partition, slot + 2).load(std::memory_order_acquire))),
                              Offset(static_cast<int64_t>(word(partition, slot + 3).load(std::memory_order_acquire)))};
    if (word(partition, 0).load(std::memory_order_acquire) == sequence) return announced;
  }
}

Offset Announcement::least_end(LogPartition partition) const {
  const Offset earlier(static_cast<int64_t>(word(partition, kEarlierEnd).load()));
  const auto announced = read(partition);
  return announced ? std::max(earlier, announced->end) : earlier;
}

void futex_wait(std::atomic<uint32_t>& word, uint32_t value, int timeout_ms) {
  const timespec timeout{timeout_ms / 1000, (timeout_ms % 1000) * 1'000'000L};
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT, value, timeout_ms < 0 ? nullptr : &timeout,
          nullptr, 0);
}

void futex_wake_all(std::atomic<uint32_t>& word) {
  word.fetch_add(1, std::memory_order_acq_rel);
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace millrace

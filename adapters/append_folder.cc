#include "adapters/append_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glog/logging.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "adapters/durable_file.h"
#include "adapters/file_descriptor.h"
#include "common/model/output_lines.h"
#include "common/model/uri.h"

namespace millrace {
namespace {

namespace fs = std::filesystem;
using durable_file::describe_errno;

constexpr char kOwnFolder[] = ".millrace";

// The numbers that a name begins with, separated by '-', if there are so many, and what follows them.
template <size_t kCount>
struct Numbers {
  std::array<int64_t, kCount> values{};
  std::string_view rest;
};
template <size_t kCount>
std::optional<Numbers<kCount>> numbers_of(std::string_view name) {
  Numbers<kCount> numbers;
  for (size_t i = 0; i < kCount; ++i) {
    if (i > 0) {
      if (!name.starts_with('-')) return std::nullopt;
      name.remove_prefix(1);
    }
    const auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), numbers.values[i]);
    if (problem != std::errc() || numbers.values[i] < 0) return std::nullopt;
    name.remove_prefix(static_cast<size_t>(end - name.data()));
  }
  numbers.rest = name;
  return numbers;
}

// An error whose remedy is to wait, or to look again.
std::unexpected<Error> trouble(const std::string& path, int error_number) {
  Error error = describe_errno(path, error_number);
  if (error.code == ErrorCode::kNotFound) error.code = ErrorCode::kUnavailable;
  return std::unexpected(std::move(error));
}

Status sync_folder(const std::string& path) {
  const FileDescriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid() || ::fsync(folder.get()) != 0) return trouble(path, errno);
  return {};
}

Status make_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return std::unexpected(describe_errno(path, errno));
  return {};
}

Result<std::vector<std::string>> names_in(const std::string& path) {
  std::vector<std::string> names;
  std::error_code failure;
  for (fs::directory_iterator entry(path, failure); !failure && entry != fs::directory_iterator();
       entry.increment(failure)) {
    names.push_back(entry->path().filename().string());
  }
  if (failure) return trouble(path, failure.value());
  return names;
}

Status remove_tree(const std::string& path) {
  std::error_code failure;
  fs::remove_all(path, failure);
  if (failure) return trouble(path, failure.value());
  return {};
}

// PART-BATCH.ENDING
bool is_of_output(const std::string& name) {
  const auto numbers = numbers_of<2>(name);
  return numbers && (numbers->rest == ".txt" || numbers->rest == ".jsonl" || numbers->rest == ".csv");
}

constexpr char kStaged[] = "staged-";

Result<std::string> text_of(const OutputBatch& batch) {
  std::string text;
  text.reserve(batch.bytes->size());
  OutputLines lines(*batch.bytes);
  std::optional<std::string_view> key;
  for (std::string_view line; lines.next(key, line);) {
    text += line;
    text += '\n';
  }
  if (!lines.is_whole()) return fail(ErrorCode::kCorrupt, "the lines of the batch do not parse");
  return text;
}

// Nothing may stand there.
int rename_to_new(const std::string& from, const std::string& to) {
  const int renamed = ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE);
  if (renamed == 0 || errno != EINVAL) return renamed;
  return ::rename(from.c_str(), to.c_str());  // not known there
}

}  // namespace

Result<AppendFolder> AppendFolder::open(const OutputTarget& target) {
  const Result<Uri> uri = parse_uri(target.uri);
  if (!uri) return std::unexpected(uri.error());
  std::string ending = ".txt";
  if (target.plan.format == "json") ending = ".jsonl";
  if (target.plan.format == "csv") ending = ".csv";
  return AppendFolder(target, "/" + uri->path, std::move(ending));
}

AppendFolder::AppendFolder(const OutputTarget& target, std::string root, std::string ending)
    : root_(std::move(root)), ending_(std::move(ending)), parts_(target.plan.parts) {
  while (root_.size() > 1 && root_.ends_with('/')) root_.pop_back();
  job_folder_ = root_ + "/" + kOwnFolder + "/" + to_string(target.job) + "-" + target.plan.name;
}

// --- the claim ---------------------------------------------------------------------------------------------------

Status AppendFolder::claim() {
  if (Status made = make_folder(root_); !made) {
    if (made.error().code != ErrorCode::kNotFound) return made;
    return fail(ErrorCode::kInvalid, root_ + " cannot be made, because " + fs::path(root_).parent_path().string() +
                                         " is not there; make it, or mount it");
  }
  if (::access(job_folder_.c_str(), F_OK) == 0) return {};
  const std::string remedy = "; give each output a directory of its own, or empty this one (" +
                             std::string(kOwnFolder) + " included) once nobody appends there";
  const auto files = names_in(root_);
  if (!files) return std::unexpected(files.error());
  const auto file = std::ranges::find_if(*files, is_of_output);
  if (file != files->end()) return fail(ErrorCode::kExists, root_ + " holds files of another job, " + *file + remedy);
  if (Status made = make_claim(); !made) {
    if (made.error().code != ErrorCode::kExists) return made;
    return fail(ErrorCode::kExists, root_ + " is where another output appends" + remedy);
  }
  return {};
}

// Whole under another name first, and then in one step: of several claims one succeeds.
Status AppendFolder::make_claim() {
  const std::string own = root_ + "/" + kOwnFolder;
  const std::string made = own + ".new-" + fs::path(job_folder_).filename().string();
  const std::string folder = made + "/" + fs::path(job_folder_).filename().string();
  if (Status gone = remove_tree(made); !gone) return gone;
  for (const std::string& path : {made, folder}) {
    if (Status one = make_folder(path); !one) return one;
  }
  for (int32_t part = 0; part < parts_; ++part) {
    const std::string path = folder + "/" + std::to_string(part) + "-0-0";
    if (Status one = make_folder(path); !one) return one;
  }
  if (Status synced = sync_folder(folder); !synced) return synced;
  if (Status synced = sync_folder(made); !synced) return synced;
  if (::rename(made.c_str(), own.c_str()) != 0) {
    const int problem = errno;
    (void)remove_tree(made);
    if (problem == ENOTEMPTY || problem == EEXIST) return fail(ErrorCode::kExists, own);
    return std::unexpected(describe_errno(own, problem));
  }
  return sync_folder(root_);
}

// One that was never used.
Status AppendFolder::release() {
  const auto folders = names_in(job_folder_);
  if (!folders) return {};
  for (const std::string& folder : *folders) {
    if (!folder.ends_with("-0-0")) return {};
  }
  return remove_tree(root_ + "/" + kOwnFolder);
}

// --- who owns a part ---------------------------------------------------------------------------------------------

std::string AppendFolder::folder_of(int32_t part, const Owned& owned) const {
  return job_folder_ + "/" + std::to_string(part) + "-" + std::to_string(owned.generation.value()) + "-" +
         std::to_string(owned.mark.value());
}

std::string AppendFolder::staged_of(int32_t part, const Owned& owned, BatchId batch) const {
  return folder_of(part, owned) + "/" + kStaged + std::to_string(batch.value());
}

std::string AppendFolder::place_of(int32_t part, BatchId batch) const {
  std::array<char, 64> name{};
  std::snprintf(name.data(), name.size(), "%03d-%012lld", part, static_cast<long long>(batch.value()));
  return root_ + "/" + name.data() + ending_;
}

Result<AppendFolder::Owned> AppendFolder::find_folder(int32_t part) const {
  const auto names = names_in(job_folder_);
  if (!names) {
    return fail(names.error().code,
                names.error().message +
                    ", which stands in an output's directory from the submit on; mount what the master sees there, or "
                    "put it back, or kill the job");
  }
  std::optional<Owned> newest;
  for (const std::string& name : *names) {
    const auto numbers = numbers_of<3>(name);
    if (!numbers || numbers->values[0] != part) continue;
    const Owned found{Generation(numbers->values[1]), BatchId(numbers->values[2])};
    if (!newest || found.generation > newest->generation) newest = found;
  }
  if (newest) return *newest;
  // It may be renamed at this moment.
  return fail(ErrorCode::kUnavailable, job_folder_ + " has no folder of part " + std::to_string(part));
}

Status AppendFolder::rename_folder(int32_t part, Owned& owned, const Owned& to) const {
  const std::string from = folder_of(part, owned);
  if (::rename(from.c_str(), folder_of(part, to).c_str()) != 0) return trouble(from, errno);
  if (Status synced = sync_folder(job_folder_); !synced) return synced;
  owned = to;
  return {};
}

// Looks at what is there, makes it this owner's, and durable.
Status AppendFolder::enter(int32_t part, Generation generation) {
  const auto known = owned_.find(part);
  if (known != owned_.end() && known->second.generation == generation) return {};
  Result<Owned> found = find_folder(part);
  if (!found) return std::unexpected(found.error());
  if (found->generation > generation) {
    return fail(ErrorCode::kFenced, root_ + ": a younger owner of part " + std::to_string(part) + " is there");
  }
  if (Status renamed = rename_folder(part, *found, {generation, found->mark}); !renamed) return renamed;
  if (Status finished = finish_staged(part, *found); !finished) return finished;
  // Of the owner before, the last steps may not be durable.
  if (Status synced = sync_folder(root_); !synced) return synced;
  owned_[part] = *found;
  return {};
}

Status AppendFolder::finish_staged(int32_t part, const Owned& owned) const {
  const std::string folder = folder_of(part, owned);
  const auto names = names_in(folder);
  if (!names) return std::unexpected(names.error());
  const std::string staged = kStaged + std::to_string(owned.mark.value());
  for (const std::string& name : *names) {
    if (name == staged) {
      if (Status put = put_in_place(part, owned); !put) return put;
    } else if (::unlink((folder + "/" + name).c_str()) != 0 && errno != ENOENT) {
      return trouble(folder + "/" + name, errno);
    }
  }
  return sync_folder(folder);
}

// --- a batch -----------------------------------------------------------------------------------------------------

Status AppendFolder::append(const OutputBatch& batch) {
  if (Status entered = enter(batch.part, batch.generation); !entered) return entered;
  Owned& owned = owned_.at(batch.part);
  if (batch.batch <= owned.mark) return {};
  if (owned.mark < batch.previous) {
    return fail(ErrorCode::kInvalid, job_folder_ + " says that part " + std::to_string(batch.part) +
                                         " has come to batch " + std::to_string(owned.mark.value()) +
                                         ", and it had come to " + std::to_string(batch.previous.value()) +
                                         "; what stands there was put back, or is a copy: submit the job under another "
                                         "name, with a directory of its own");
  }
  const auto steps = [&]() -> Status {
    if (Status staged = stage(batch.part, owned, batch); !staged) return staged;
    if (Status renamed = rename_folder(batch.part, owned, {owned.generation, batch.batch}); !renamed) return renamed;
    return put_in_place(batch.part, owned);
  };
  Status done = steps();
  // Whatever went wrong, what is there is looked at again; another one may own the part now.
  if (!done) owned_.erase(batch.part);
  return done;
}

// A new file, whatever stood there.
Status AppendFolder::stage(int32_t part, const Owned& owned, const OutputBatch& batch) const {
  const auto text = text_of(batch);
  if (!text) return std::unexpected(text.error());
  const std::string path = staged_of(part, owned, batch.batch);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return trouble(path, errno);
  if (Status written = durable_file::write_file(path, *text); !written) {
    ::unlink(path.c_str());  // a disk that is full needs it
    if (written.error().code == ErrorCode::kNotFound) written.error().code = ErrorCode::kUnavailable;
    return written;
  }
  return sync_folder(folder_of(part, owned));
}

Status AppendFolder::put_in_place(int32_t part, const Owned& owned) const {
  const std::string staged = staged_of(part, owned, owned.mark);
  const std::string place = place_of(part, owned.mark);
  if (rename_to_new(staged, place) != 0) {
    if (errno != EEXIST) return trouble(place, errno);
    return fail(ErrorCode::kUnavailable, place + " is there, and none of this job's; move it away");
  }
  return sync_folder(root_);
}

}  // namespace millrace

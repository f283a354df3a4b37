#include "adapters/state_pages.h"

#include <rocksdb/sst_file_reader.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "adapters/durable_file.h"
#include "adapters/state_file.h"

namespace millrace {
namespace {

// Each of a few hundred streams may read so much ahead.
constexpr size_t kReadahead = 32 << 10;

std::string_view view_of(const rocksdb::Slice& slice) {
  return {slice.data(), slice.size()};
}

}  // namespace

// One stream for each partition of each file, the one with the smallest key first, of equal keys the youngest file's.
class StatePages::Cursor {
  struct Stream {
    size_t file = 0;
    StatePartition partition;
    std::string begins;  // the partition and the prefix
    std::unique_ptr<rocksdb::Iterator> entries;

    [[nodiscard]] std::string_view key() const { return view_of(entries->key()).substr(state_file::kPrefixSize); }
    [[nodiscard]] bool valid() const { return entries->Valid() && entries->key().starts_with(begins); }
  };

  // Streams of younger files have the smaller numbers.
  [[nodiscard]] auto later() const {
    return [this](size_t a, size_t b) {
      const int order = streams_[a].key().compare(streams_[b].key());
      return order != 0 ? order > 0 : a > b;
    };
  }

 public:
  Cursor(const std::string& root, const StateSlice& slice) : root_(root), prefix_(slice.prefix), last_(slice.after) {
    for (const StateSlice::Source& source : slice.sources) names_.push_back(source.file.name);
  }

  [[nodiscard]] bool goes_on_with(const StateSlice& slice) const {
    return slice.after.has_value() && slice.after == last_ && slice.prefix == prefix_ &&
           std::ranges::equal(slice.sources, names_, {},
                              [](const StateSlice::Source& source) -> const std::string& { return source.file.name; });
  }

  Status open(const StateSlice& slice) {
    for (size_t age = slice.sources.size(); age-- > 0;) {
      if (Status opened = open(slice.sources[age]); !opened) return opened;
    }
    std::ranges::make_heap(heap_, later());
    return {};
  }

  Result<StatePage> next(size_t most_entries, size_t most_bytes) {
    StatePage page;
    while (!heap_.empty()) {
      Stream& stream = streams_[heap_.front()];
      const std::string_view key = stream.key();
      const bool is_older = last_ && key == *last_;
      const std::string_view value = view_of(stream.entries->value());
      if (value.empty() || (value[0] != state_file::kValueTag && value[0] != state_file::kRemovedTag)) {
        return fail(ErrorCode::kCorrupt,
                    path_of(stream) + " holds a value without a tag: it was not written as a state file");
      }
      if (!is_older && value[0] == state_file::kValueTag) {
        const size_t bytes = page.run.bytes() + key.size() + value.size();
        page.more = page.run.size() >= most_entries || (page.run.size() > 0 && bytes > most_bytes);
        if (page.more) return page;
        page.run.add(stream.partition, key, value.substr(1));
      }
      if (!is_older) last_.emplace(key);
      if (Status moved = advance(); !moved) return std::unexpected(moved.error());
    }
    return page;
  }

 private:
  [[nodiscard]] std::string path_of(const Stream& stream) const { return files_[stream.file].path; }

  Status open(const StateSlice::Source& source) {
    if (auto good = durable_file::check_file_name(source.file.name); !good) return good;
    if (source.file.size == 0) return {};
    File file{root_ + "/" + source.file.name, nullptr};
    std::error_code missing;
    const auto size = std::filesystem::file_size(file.path, missing);
    if (missing) return fail(ErrorCode::kNotFound, file.path + " does not exist");
    if (size != source.file.size) {
      return fail(ErrorCode::kCorrupt, file.path +
                                           " is not the file that the checkpoint names: " + std::to_string(size) +
                                           " bytes instead of " + std::to_string(source.file.size));
    }
    file.reader = std::make_unique<rocksdb::SstFileReader>(state_file::table_options(kReadahead));
    if (const rocksdb::Status status = file.reader->Open(file.path); !status.ok()) {
      return std::unexpected(state_file::describe(file.path, status));
    }
    rocksdb::ReadOptions options;
    options.verify_checksums = true;
    for (const StatePartition partition : source.partitions) {
      Stream stream{files_.size(), partition, state_file::prefix_of(partition) + prefix_, nullptr};
      stream.entries.reset(file.reader->NewIterator(options));
      stream.entries->Seek(last_ && *last_ > prefix_ ? state_file::prefix_of(partition) + *last_ : stream.begins);
      if (!stream.entries->status().ok()) {
        return std::unexpected(state_file::describe(file.path, stream.entries->status()));
      }
      if (!stream.valid()) continue;
      heap_.push_back(streams_.size());
      streams_.push_back(std::move(stream));
    }
    files_.push_back(std::move(file));
    return {};
  }

  // The first stream.
  Status advance() {
    std::ranges::pop_heap(heap_, later());
    Stream& stream = streams_[heap_.back()];
    stream.entries->Next();
    if (!stream.entries->status().ok()) {
      return std::unexpected(state_file::describe(path_of(stream), stream.entries->status()));
    }
    if (stream.valid()) {
      std::ranges::push_heap(heap_, later());
    } else {
      heap_.pop_back();
    }
    return {};
  }

  struct File {
    std::string path;
    std::unique_ptr<rocksdb::SstFileReader> reader;
  };
  const std::string root_;
  const std::string prefix_;
  std::vector<std::string> names_;
  std::optional<std::string> last_;  // key that is through
  std::vector<File> files_;
  std::vector<Stream> streams_;
  std::vector<size_t> heap_;  // of streams_
};

StatePages::StatePages(std::string root) : root_(std::move(root)) {}
StatePages::~StatePages() = default;

Result<StatePage> StatePages::read(const StateSlice& slice) {
  const auto found = std::ranges::find_if(cursors_, [&](const auto& cursor) { return cursor->goes_on_with(slice); });
  std::unique_ptr<Cursor> cursor;
  if (found != cursors_.end()) {
    cursor = std::move(*found);
    cursors_.erase(found);
  } else {
    cursor = std::make_unique<Cursor>(root_, slice);
    if (Status opened = cursor->open(slice); !opened) return std::unexpected(opened.error());
  }
  Result<StatePage> page = cursor->next(slice.most_entries, slice.most_bytes);
  if (!page || !page->more) return page;
  cursors_.push_front(std::move(cursor));
  if (cursors_.size() > kMostCursors) cursors_.pop_back();
  return page;
}

void StatePages::forget() {
  cursors_.clear();
}

}  // namespace millrace

#include "adapters/ingest_writer.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <random>
#include <utility>

#include "common/model/hash.h"

namespace millrace {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr size_t kMostCallRecords = 50'000;
constexpr size_t kMostCallBytes = 4 << 20;
constexpr auto kRepeatAfter = std::chrono::milliseconds(100);
constexpr auto kLookAgainAfter = std::chrono::seconds(1);

}  // namespace

IngestWriter::IngestWriter(IngestWriterOptions options)
    : options_(std::move(options)),
      writes_(options_.most_bytes),
      away_("the master at " + options_.master.text() + " has not answered yet") {
  threads_.emplace_back([this](const std::stop_token& stop) { watch(stop); });
  for (int i = 0; i < options_.connections; ++i) {
    threads_.emplace_back([this](const std::stop_token& stop) { serve(stop); });
  }
}

IngestWriter::~IngestWriter() {
  for (std::jthread& thread : threads_) thread.request_stop();
  threads_.clear();
  const Error ended{ErrorCode::kUnavailable, place() + "this gateway ends; nothing of this is stored, send it again"};
  for (const Task& task : tasks_) {
    if (task.producer != 0) writes_.failed(task.part.write, ended);
  }
  for (const Lane& lane : lanes_) {
    for (const Part& part : lane.waiting) writes_.failed(part.write, ended);
  }
}

std::string IngestWriter::place() const {
  return "log://" + options_.log + ": ";
}

// A request that comes again is split as the first time: what depends on anything but itself and the number of
// partitions, as `keyless` does, is for those that are numbered by this writer.
std::vector<IngestWriter::Task> IngestWriter::split(WriteRequest& request, size_t partitions, size_t keyless) const {
  const std::string& name = request.idempotency_key;
  if (!name.empty()) keyless = hash_of(name) % partitions;
  std::map<size_t, Part> parts;  // by lane
  for (KeyedRecord& record : request.records) {
    const bool keyed = record.key.has_value();
    Part& part = parts[2 * (keyed ? hash_of(*record.key) % partitions : keyless) + (keyed ? 1 : 0)];
    part.bytes += record.value.size() + (keyed ? record.key->size() : 0);
    part.values.push_back(std::move(record.value));
    if (keyed) part.keys.push_back(std::move(*record.key));
  }
  std::vector<Task> tasks;
  for (auto& [lane, part] : parts) {
    Task task{.lane = lane, .part = std::move(part)};
    if (!name.empty()) {
      task.producer = producer_id_of(hash_of(options_.log + '\0' + name + '\0' + (lane % 2 == 1 ? 'k' : 'v')));
    }
    tasks.push_back(std::move(task));
  }
  return tasks;
}

void IngestWriter::write(WriteRequest request, Done done) {
  std::unique_lock lock(mutex_);
  if (lanes_.empty()) {
    Error away{ErrorCode::kUnavailable, place() + away_ + "; nothing of this is stored, send it again later"};
    lock.unlock();
    return done(std::unexpected(std::move(away)));
  }
  const size_t partitions = lanes_.size() / 2;
  const size_t keyless = next_ = (next_ + 1) % partitions;
  lock.unlock();

  const size_t bytes = WritesUnderWay::bytes_of(request);
  std::vector<Task> tasks = split(request, partitions, keyless);
  WritesUnderWay::Write* const write = writes_.begin(bytes, tasks.size(), std::move(done));
  if (write == nullptr) return;
  lock.lock();
  for (Task& task : tasks) {
    task.part.write = write;
    if (task.producer == 0) {
      Lane& lane = lanes_[task.lane];
      lane.waiting.push_back(std::move(task.part));
      if (std::exchange(lane.busy, true)) continue;
    }
    tasks_.push_back(std::move(task));
    changed_.notify_one();
  }
}

void IngestWriter::take_part(Part part, Call& call) const {
  if (SteadyClock::now() - part.write->begin() > options_.queue_timeout) {
    call.too_late.push_back(part.write);
    return;
  }
  call.shares.push_back({part.write, std::ssize(part.values)});
  std::ranges::move(part.values, std::back_inserter(call.values));
  std::ranges::move(part.keys, std::back_inserter(call.keys));
}

// As much as fits into one call.
void IngestWriter::take_waiting(Lane& lane, Call& call) const {
  size_t bytes = 0;
  while (!lane.waiting.empty()) {
    Part& part = lane.waiting.front();
    bytes += part.bytes;
    const bool fits = bytes <= kMostCallBytes && call.values.size() + part.values.size() <= kMostCallRecords;
    if (!call.shares.empty() && !fits) break;
    take_part(std::move(part), call);
    lane.waiting.pop_front();
  }
  if (!call.shares.empty()) call.identity = {lane.producer, ++lane.sequence};
}

IngestWriter::Call IngestWriter::take() {
  Task task = std::move(tasks_.front());
  tasks_.pop_front();
  Lane& lane = lanes_[task.lane];
  Call call{.lane = task.lane, .of_lane = task.producer == 0, .partition = lane.partition};
  if (call.of_lane) {
    take_waiting(lane, call);
  } else {
    call.identity = {task.producer, 1};
    take_part(std::move(task.part), call);
  }
  return call;
}

void IngestWriter::serve(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "ingest-writer");
  IngestConnection connection(options_.master);
  while (true) {
    Call call;
    {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [this] { return !tasks_.empty(); }) || stop.stop_requested()) return;
      call = take();
    }
    Result<OffsetRange> stored;
    if (!call.shares.empty()) stored = perform(connection, call, stop);
    go_on(call, stored);
    answer(call, stored);
  }
}

// Repeats it as long as it may help. The records of one that failed are stored nowhere, unless it says kTimeout.
Result<OffsetRange> IngestWriter::perform(IngestConnection& connection, const Call& call, const std::stop_token& stop) {
  const auto end = SteadyClock::now() + options_.call_timeout;
  bool may_be_stored = false;
  while (true) {
    Result<OffsetRange> stored = connection.append(options_.log, call.partition, call.values, call.keys, call.identity);
    if (stored) return stored;
    const Error& error = stored.error();
    const bool passes = error.code == ErrorCode::kUnavailable;
    may_be_stored = may_be_stored || (passes && connection.sent());
    if (passes && SteadyClock::now() < end && pause(stop, kRepeatAfter)) continue;
    if (may_be_stored) {
      return fail(ErrorCode::kTimeout, place() + error.message +
                                           "; the records may be stored or not: only with an Idempotency-Key is it "
                                           "safe to send them again");
    }
    return fail(error.code, place() + error.message + "; nothing of this is stored, send it again later");
  }
}

// Whatever has come into the lane meanwhile is next.
void IngestWriter::go_on(const Call& call, const Result<OffsetRange>& stored) {
  const std::scoped_lock lock(mutex_);
  if (!call.shares.empty()) append_failed_ = stored ? "" : stored.error().message;
  if (!call.of_lane) return;
  Lane& lane = lanes_[call.lane];
  lane.busy = !lane.waiting.empty();
  if (!lane.busy) return;
  tasks_.push_back({.lane = call.lane});
  changed_.notify_one();
}

void IngestWriter::answer(const Call& call, const Result<OffsetRange>& stored) {
  for (WritesUnderWay::Write* const write : call.too_late) {
    writes_.failed(write, {ErrorCode::kUnavailable,
                           place() + "it has waited too long for its turn; nothing of this is stored, send it again "
                                     "later"});
  }
  int64_t before = 0;
  for (const Call::Share& share : call.shares) {
    if (stored) {
      writes_.stored(share.write, {call.partition, Offset(stored->from.value() + before), share.records});
    } else {
      writes_.failed(share.write, stored.error());
    }
    before += share.records;
  }
}

// Asks for the log again and again, so that it is there, and known whether the master is.
void IngestWriter::watch(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "ingest-watch");
  IngestConnection connection(options_.master);
  do {
    const Result<int32_t> opened = connection.open_log(options_.log, options_.partitions);
    const std::scoped_lock lock(mutex_);
    away_ = opened ? "" : opened.error().message;
    if (opened && lanes_.empty()) make_lanes(*opened);
  } while (pause(stop, health().problem.empty() ? kLookAgainAfter : kRepeatAfter));
}

void IngestWriter::make_lanes(int32_t partitions) {
  std::random_device random;
  for (int32_t partition = 0; partition < partitions; ++partition) {
    for (int lane = 0; lane < 2; ++lane) {
      lanes_.push_back(
          {.partition = LogPartition(partition), .producer = producer_id_of(uint64_t{random()} << 32 | random())});
    }
  }
}

bool IngestWriter::pause(const std::stop_token& stop, Duration time) {
  std::mutex none;
  std::unique_lock lock(none);
  std::condition_variable_any never;
  never.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

RecordWriter::Health IngestWriter::health() const {
  Health health{.oldest_wait = writes_.oldest_wait()};
  const std::scoped_lock lock(mutex_);
  if (!away_.empty()) {
    health.problem = place() + away_;
  } else {
    health.problem = append_failed_;
  }
  return health;
}

}  // namespace millrace

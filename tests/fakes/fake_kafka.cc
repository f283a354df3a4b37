#include "tests/fakes/fake_kafka.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "adapters/kafka_connection.h"
#include "common/base/check.h"
#include "tests/unit/packed_batch.h"

namespace millrace {
namespace {

constexpr int16_t kUnknownTopicOrPartition = 3;  // of Kafka's protocol
constexpr int16_t kLeaderNotAvailable = 5;
constexpr int16_t kUnsupportedVersion = 35;

constexpr size_t kMostRequestBytes = 1 << 20;

SocketAddress address_at(int port) {
  return *numeric_address({"127.0.0.1", static_cast<uint16_t>(port)});
}

FileDescriptor bound_socket(int port) {
  FileDescriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  CHECK_EQ(::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), 0);
  const SocketAddress own = address_at(port);
  CHECK_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&own.address), own.size), 0);
  return socket;
}

int port_of(const FileDescriptor& socket) {
  sockaddr_in own{};
  socklen_t size = sizeof own;
  CHECK_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&own), &size), 0);
  return ntohs(own.sin_port);
}

FileDescriptor listener_at(const FileDescriptor& name) {
  FileDescriptor listener = bound_socket(port_of(name));
  CHECK_EQ(::listen(listener.get(), 1024), 0);
  return listener;
}

// The last byte of one of the batches, or of the last whole one.
void flip(std::string& records, int which) {
  size_t end = 0;
  RecordBatchCursor batches(records);
  for (RecordBatchView batch; which >= 0 && batches.next(batch); --which) end = batches.position();
  if (end > 0) records[end - 1] ^= 1;
}

void spoil(FetchFrame& frame, const FakeKafka::Fault& fault) {
  if (fault.error != 0 || fault.throttle_ms > 0) {
    frame = {.throttle_ms = fault.throttle_ms, .error = fault.error, .has_partition = false};
    return;
  }
  if (fault.partition_error != 0 || fault.preferred_replica >= 0) frame.records.clear();
  if (fault.partition_error != 0) frame.partition_error = fault.partition_error;
  frame.preferred_replica = fault.preferred_replica;
  flip(frame.records, fault.flipped_batch);
}

}  // namespace

FakeKafka::FakeKafka(int brokers, int partitions)
    : waker_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)), topic_(partitions), brokers_(static_cast<size_t>(brokers)) {
  for (Broker& broker : brokers_) {
    broker.name = bound_socket(0);
    broker.listener = listener_at(broker.name);
    addresses_.push_back("127.0.0.1:" + std::to_string(port_of(broker.name)));
  }
  thread_ = std::thread([this] { serve(); });
}

FakeKafka::~FakeKafka() {
  run([this] { stopping_ = true; });
  thread_.join();
}

std::string FakeKafka::address(int broker) const {
  return addresses_.at(static_cast<size_t>(broker));
}

std::string FakeKafka::addresses() const {
  std::string all;
  for (const std::string& address : addresses_) all += (all.empty() ? "" : ",") + address;
  return all;
}

void FakeKafka::lag(int broker, bool lags) {
  run([&] { at(broker).lagging = lags ? std::optional(View{topic_.id(), topic_.leaders()}) : std::nullopt; });
}

void FakeKafka::stop(int broker) {
  run([&] {
    at(broker).listener.reset();
    std::erase_if(connections_, [&](const Connection& each) { return each.broker == static_cast<size_t>(broker); });
  });
}

void FakeKafka::start(int broker) {
  run([&] {
    if (at(broker).listener.valid() && at(broker).crowd.empty()) return;
    at(broker).crowd.clear();
    at(broker).listener = listener_at(at(broker).name);
  });
}

void FakeKafka::deafen(int broker) {
  run([&] {
    CHECK_EQ(::listen(at(broker).listener.get(), 0), 0);
    const SocketAddress own = address_at(port_of(at(broker).name));
    for (int guest = 0; guest < 4; ++guest) {
      at(broker).crowd.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      (void)::connect(at(broker).crowd.back().get(), reinterpret_cast<const sockaddr*>(&own.address), own.size);
    }
  });
}

int FakeKafka::count(std::optional<Api> api) {
  int all = 0;
  run([&] { all = counted(api); });
  return all;
}

bool FakeKafka::wait_for_count(std::optional<Api> api, int count) {
  return wait([=, this] { return counted(api) >= count; });
}

int FakeKafka::counted(std::optional<Api> api) const {
  int all = 0;
  for (const auto& [each, count] : counts_) all += api.value_or(each) == each ? count : 0;
  return all;
}

bool FakeKafka::wait_for_connections(int most) {
  return wait([=, this] { return std::ranges::count_if(connections_, &Connection::introduced) <= most; });
}

FetchQuestion FakeKafka::last_fetch() {
  FetchQuestion last;
  run([&] { last = last_fetch_; });
  return last;
}

std::string FakeKafka::problem() {
  std::string problem;
  run([&] { problem = problem_; });
  return problem;
}

void FakeKafka::run(const std::function<void()>& task) {
  CHECK(wait([&] {
    task();
    return true;
  }));
}

bool FakeKafka::wait(std::function<bool()> holds) {
  const auto waiter = std::make_shared<Waiter>(std::move(holds));
  std::unique_lock lock(mutex_);
  waiters_.push_back(waiter);
  CHECK_EQ(::eventfd_write(waker_.get(), 1), 0);
  const bool done = answered_.wait_for(lock, std::chrono::seconds(30), [&] { return waiter->done; });
  if (!done) waiters_.remove(waiter);
  return done;
}

void FakeKafka::serve() {
  for (bool asked = false; !stopping_;) {
    sleep(asked);
    for (size_t broker = 0; broker < brokers_.size(); ++broker) accept_all(broker);
    for (Connection& connection : connections_) {
      receive(connection);
      try_fetch(connection);
      flush(connection);
    }
    std::erase_if(connections_, [](const Connection& connection) { return !connection.socket.valid(); });
    asked = ask_waiters();
  }
}

// Until something comes, or a request has waited for long enough.
void FakeKafka::sleep(bool at_once) {
  std::vector<pollfd> wanted = {{waker_.get(), POLLIN, 0}};
  for (const Broker& broker : brokers_) {
    if (broker.crowd.empty()) wanted.push_back({broker.listener.get(), POLLIN, 0});  // negative ones are passed over
  }
  auto until = Clock::time_point::max();
  for (const Connection& connection : connections_) {
    const auto what = static_cast<short>(connection.to_send.empty() ? POLLIN : POLLIN | POLLOUT);
    wanted.push_back({connection.socket.get(), what, 0});
    if (connection.pending) until = std::min(until, connection.pending->until);
  }
  int timeout_ms = at_once ? 0 : -1;
  if (!at_once && until != Clock::time_point::max()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    timeout_ms = static_cast<int>(std::max<int64_t>(left.count(), 0));
  }
  ::poll(wanted.data(), wanted.size(), timeout_ms);
  eventfd_t woken = 0;
  (void)::eventfd_read(waker_.get(), &woken);
}

// Whether one is done, and so may have changed something.
bool FakeKafka::ask_waiters() {
  const std::scoped_lock lock(mutex_);
  const size_t before = waiters_.size();
  std::erase_if(waiters_, [](const auto& waiter) { return waiter->done = waiter->holds(); });
  answered_.notify_all();
  return waiters_.size() < before;
}

void FakeKafka::accept_all(size_t broker) {
  const Broker& own = brokers_[broker];
  if (!own.listener.valid() || !own.crowd.empty()) return;
  for (;;) {
    FileDescriptor socket(::accept4(own.listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket.valid()) return;
    ++counts_[Api::kAccept];
    if (!take_fault(Api::kAccept, broker)) {
      connections_.emplace_back().socket = std::move(socket);
      connections_.back().broker = broker;
    }
  }
}

void FakeKafka::receive(Connection& connection) {
  char room[4096];
  for (;;) {
    const ssize_t got = ::recv(connection.socket.get(), room, sizeof room, 0);
    if (got < 0 && errno == EAGAIN) break;
    if (got <= 0) {
      connection.socket.reset();
      return;
    }
    connection.received.append(room, static_cast<size_t>(got));
  }
  while (connection.received.size() > sizeof(int32_t)) {
    const auto size = frame_size(connection.received, kMostRequestBytes);
    if (size && connection.received.size() < sizeof(int32_t) + *size) return;
    if (!size || !handle(connection, std::string_view(connection.received).substr(sizeof(int32_t), *size))) {
      connection.socket.reset();
      return;
    }
    connection.received.erase(0, sizeof(int32_t) + *size);
  }
}

bool FakeKafka::handle(Connection& connection, std::string_view frame) {
  WireReader request(frame);
  const auto api = static_cast<Api>(request.integer<int16_t>());
  const auto version = request.integer<int16_t>();
  const auto correlation = request.integer<int32_t>();
  (void)request.bytes(static_cast<size_t>(request.integer<int16_t>()));  // client id
  request.skip_tags();
  if (api == Api::kVersions) {
    connection.introduced = request.compact_string() == "millrace";
    (void)request.compact_string();  // version of the software
    request.skip_tags();
  }
  if (!connection.introduced) return false;
  ++counts_[api];
  if (connection.pending || !connection.to_send.empty()) problem_ = "a second request before the first was answered";
  if (Clock::now() < connection.throttled_until) problem_ = "a request in the time of a throttle";
  if (connection.silent) return true;
  if (api == Api::kVersions && version == 3) {
    tell_versions(connection, correlation);
  } else if (api == Api::kMetadata && version == 12) {
    tell_metadata(connection, correlation, request);
  } else if (api == Api::kFetch && version == 13) {
    begin_fetch(connection, correlation, request);
  } else {
    problem_ = "a request that nobody knows";
  }
  if (!request.at_end()) problem_ = "a malformed request";
  return true;
}

void FakeKafka::tell_versions(Connection& connection, int32_t correlation) {
  const auto fault = take_fault(Api::kVersions, connection.broker);
  WireWriter answer;
  answer.integer(correlation);
  answer.integer(fault ? fault->error : int16_t{0});
  if (fault && fault->error == kUnsupportedVersion) {  // as v0
    answer.integer(int32_t{1});
    for (const int16_t number : {18, 0, 2}) answer.integer(number);
  } else {
    answer.compact_size(3);
    for (const auto& [api, most] :
         {std::pair(Api::kFetch, fetch_version_), {Api::kMetadata, 12}, {Api::kVersions, 4}}) {
      answer.integer(static_cast<int16_t>(api));
      answer.integer(int16_t{0});
      answer.integer(most);
      answer.no_tags();
    }
    answer.integer(int32_t{0});
    answer.no_tags();
  }
  send(connection, answer.finish(), fault);
}

void FakeKafka::write_brokers(WireWriter& answer) const {
  const auto up = [](const Broker& broker) { return broker.listener.valid(); };
  answer.compact_size(static_cast<size_t>(std::ranges::count_if(brokers_, up)));
  for (size_t broker = 0; broker < brokers_.size(); ++broker) {
    if (!up(brokers_[broker])) continue;
    answer.integer(static_cast<int32_t>(broker));
    answer.compact_string(host_);
    answer.integer(port_of(brokers_[broker].name));
    answer.uvarint(0);  // no rack
    answer.no_tags();
  }
}

void FakeKafka::tell_metadata(Connection& connection, int32_t correlation, WireReader& request) {
  std::string name;
  request.compact_array([&] {
    (void)request.bytes(sizeof(KafkaTopicId));
    name = request.compact_string();
    request.skip_tags();
  });
  (void)request.bytes(2);  // do not create it, nor tell permissions
  request.skip_tags();
  const auto fault = take_fault(Api::kMetadata, connection.broker);
  const View view = brokers_[connection.broker].lagging.value_or(View{topic_.id(), topic_.leaders()});
  const bool found = name == FakeKafkaTopic::kName && view.id && (!fault || fault->error == 0);

  WireWriter answer;
  answer.integer(correlation);
  answer.no_tags();
  answer.integer(fault ? fault->throttle_ms : 0);
  write_brokers(answer);
  answer.compact_string("cluster");
  answer.integer(int32_t{0});  // controller
  answer.compact_size(1);
  answer.integer(found ? int16_t{0} : fault && fault->error != 0 ? fault->error : kUnknownTopicOrPartition);
  answer.compact_string(name);
  const KafkaTopicId id = found ? *view.id : KafkaTopicId{};
  answer.bytes({id.bytes.data(), id.bytes.size()});
  answer.integer(int8_t{0});  // not internal
  answer.compact_size(found ? view.leaders.size() : 0);
  for (size_t partition = 0; found && partition < view.leaders.size(); ++partition) {
    const auto& [leader, epoch] = view.leaders[partition];
    answer.integer(leader < 0 ? kLeaderNotAvailable : int16_t{0});
    answer.integer(static_cast<int32_t>(partition));
    answer.integer(leader);
    answer.integer(epoch);
    for (int list = 0; list < 3; ++list) answer.compact_size(0);  // replicas
    answer.no_tags();
  }
  answer.integer(INT32_MIN);  // permissions
  answer.no_tags();
  answer.no_tags();
  send(connection, answer.finish(), fault);
}

void FakeKafka::begin_fetch(Connection& connection, int32_t correlation, WireReader& request) {
  FetchQuestion question;
  (void)request.bytes(sizeof(int32_t));  // replica
  question.max_wait_ms = request.integer<int32_t>();
  question.min_bytes = request.integer<int32_t>();
  question.max_bytes = request.integer<int32_t>();
  question.committed = request.integer<int8_t>() == 1;
  (void)request.bytes(2 * sizeof(int32_t));  // session
  request.compact_array([&] {
    std::ranges::copy(request.bytes(sizeof(KafkaTopicId)), question.topic.bytes.begin());
    request.compact_array([&] {
      question.partition = LogPartition(request.integer<int32_t>());
      question.leader_epoch = request.integer<int32_t>();
      question.from = Offset(request.integer<int64_t>());
      question.last_epoch = request.integer<int32_t>();
      (void)request.bytes(sizeof(int64_t));  // log start
      question.max_bytes = std::min(question.max_bytes, request.integer<int32_t>());
      request.skip_tags();
    });
    request.skip_tags();
  });
  (void)request.compact_size();    // nothing to forget
  (void)request.compact_string();  // rack
  request.skip_tags();
  last_fetch_ = question;
  connection.pending = {question, correlation, Clock::now() + std::chrono::milliseconds(question.max_wait_ms)};
}

void FakeKafka::try_fetch(Connection& connection) {
  if (!connection.pending || !connection.socket.valid()) return;
  const auto& [question, correlation, until] = *connection.pending;
  FetchFrame frame = topic_.answer(static_cast<int>(connection.broker), question);
  const auto fault = take_fault(Api::kFetch, connection.broker, question, !frame.records.empty());
  const bool has_news =
      frame.partition_error != 0 || frame.diverging || frame.records.size() >= static_cast<size_t>(question.min_bytes);
  if (!fault && !has_news && Clock::now() < until) return;
  if (fault) spoil(frame, *fault);
  send(connection, to_bytes(frame, correlation), fault);
  connection.pending.reset();
}

std::optional<FakeKafka::Fault> FakeKafka::take_fault(Api api, size_t broker, const FetchQuestion& question,
                                                      bool has_records) {
  const auto fits = [&](const Fault& fault) {
    const bool of_records = fault.flipped_batch >= 0 || fault.bytes.value_or(0) > 0;
    return fault.api == api && (!fault.broker || *fault.broker == static_cast<int>(broker)) &&
           (!fault.partition || *fault.partition == question.partition) && question.from >= fault.from &&
           (!of_records || has_records);
  };
  const auto fault = std::ranges::find_if(faults_, fits);
  if (fault == faults_.end()) return std::nullopt;
  std::optional<Fault> taken = *fault;
  if (--fault->times == 0) faults_.erase(fault);
  return taken;
}

void FakeKafka::send(Connection& connection, std::string frame, const std::optional<Fault>& fault) {
  if (fault && fault->other_correlation) ++frame[7];
  if (fault && fault->frame) frame = *fault->frame;
  if (fault && fault->bytes) {
    frame.resize(std::min(frame.size(), *fault->bytes));
    connection.silent = true;
  }
  if (fault) connection.throttled_until = Clock::now() + std::chrono::milliseconds(fault->throttle_ms);
  connection.ends = fault && fault->close;
  connection.to_send = std::move(frame);
}

void FakeKafka::flush(Connection& connection) {
  if (!connection.socket.valid()) return;
  std::string& left = connection.to_send;
  if (!left.empty()) {
    const ssize_t sent = ::send(connection.socket.get(), left.data(), left.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) connection.socket.reset();
    if (sent > 0) left.erase(0, static_cast<size_t>(sent));
  }
  if (left.empty() && connection.ends) connection.socket.reset();
}

}  // namespace millrace

#include "adapters/kafka_dialogue.h"

#include <poll.h>

#include <algorithm>
#include <ranges>
#include <utility>

#include "common/base/check.h"

namespace millrace {
namespace {

constexpr size_t kMostSmallAnswer = 64 << 20;  // of Metadata: 100,000 partitions are 4 MB
constexpr size_t kMostAtOnce = 8 << 20;        // then others have their turn

}  // namespace

KafkaDialogue::KafkaDialogue(const KafkaReaderSettings& settings, const HostPort& peer, HostLookups& lookups,
                             MonotonicTime now)
    : settings_(settings), peer_(peer), deadline_(now + settings.timing.connecting), lookup_(lookups.begin(peer)) {
  (void)look_up(now);  // An address in figures is there at once, and nobody is woken for it.
}

short KafkaDialogue::wanted_events() const {
  return stage_ == Stage::kConnecting ? POLLOUT : POLLIN;
}

KafkaDialogue::Event KafkaDialogue::serve(MonotonicTime now, short events) {
  const Event event = go_on(now, events);
  // One of a host's addresses may lead nowhere.
  return event == Event::kFailed && !greeted_ && !addresses_.empty() ? connect_to_next(now) : event;
}

KafkaDialogue::Event KafkaDialogue::go_on(MonotonicTime now, short events) {
  if (stage_ == Stage::kLookup) return look_up(now);
  if (stage_ == Stage::kFailed) return Event::kFailed;
  Event event = Event::kNone;
  if (events != 0) event = stage_ == Stage::kConnecting ? greet(now) : receive(now);
  if (event != Event::kNone || now < deadline_) return event;
  const Duration limit = greeted_ ? settings_.timing.silence : settings_.timing.connecting;
  return failed("it says nothing for " + std::to_string(to_ms(limit)) + " ms");
}

KafkaDialogue::Event KafkaDialogue::look_up(MonotonicTime now) {
  auto found = lookup_->found();
  if (!found) return now < deadline_ ? Event::kNone : failed("its address is not found in time");
  if (!*found) return failed(found->error());
  addresses_ = std::move(**found);
  std::ranges::reverse(addresses_);
  return connect_to_next(now);
}

KafkaDialogue::Event KafkaDialogue::connect_to_next(MonotonicTime now) {
  auto connection = KafkaConnection::begin(addresses_.back(), settings_.connection);
  addresses_.pop_back();
  if (!connection) return addresses_.empty() ? failed(connection.error()) : connect_to_next(now);
  connection_ = std::move(*connection);
  stage_ = Stage::kConnecting;
  deadline_ = now + settings_.timing.connecting;
  return Event::kNone;
}

KafkaDialogue::Event KafkaDialogue::greet(MonotonicTime now) {
  if (Status connected = connection_->finish_connecting(); !connected) return failed(connected.error());
  frame_.emplace(kMostSmallAnswer);
  send(versions_request(++correlation_, settings_.client_id), Stage::kGreeting, now);
  return stage_ == Stage::kFailed ? Event::kFailed : Event::kNone;
}

KafkaDialogue::Event KafkaDialogue::hear_greeting() {
  const auto versions = parse_versions(frame_->frame(), correlation_);
  if (!versions) return failed("what it says is not Kafka's protocol");
  versions_ = *versions;
  greeted_ = true;
  rest();
  return Event::kReady;
}

std::optional<std::string> KafkaDialogue::unspoken() const {
  if (versions_.metadata && versions_.fetch) return std::nullopt;
  return "the broker at " + peer_.text() + " does not speak Fetch v13, as Kafka does from 3.1 on";
}

void KafkaDialogue::ask_who_leads(MonotonicTime now) {
  CHECK(may_be_asked());
  send(metadata_request(settings_.topic, ++correlation_, settings_.client_id), Stage::kAsked, now);
  fetch_ = nullptr;
  frame_.emplace(kMostSmallAnswer);
}

void KafkaDialogue::fetch(const FetchQuestion& question, std::shared_ptr<FetchBlocks> blocks,
                          std::shared_ptr<ReadCredit> credit, MonotonicTime now) {
  CHECK(may_be_asked());
  send(fetch_request(question, ++correlation_, settings_.client_id), Stage::kAsked, now);
  deadline_ += settings_.timing.fetch_wait;
  fetch_ = std::make_unique<FetchAnswer>(question, correlation_, settings_.most_answer_bytes, std::move(blocks),
                                         std::move(credit));
}

void KafkaDialogue::send(const std::string& frame, Stage next, MonotonicTime now) {
  stage_ = next;
  deadline_ = now + (greeted_ ? settings_.timing.silence : settings_.timing.connecting);
  if (Status sent = connection_->send(frame); !sent) failed(sent.error());
}

std::optional<KafkaMetadata> KafkaDialogue::who_leads() const {
  return parse_metadata(frame_->frame(), correlation_, settings_.topic);
}

std::span<char> KafkaDialogue::room() {
  return fetch_ != nullptr ? fetch_->room() : frame_->room();
}

KafkaDialogue::Event KafkaDialogue::receive(MonotonicTime now) {
  if (stage_ == Stage::kIdle) {
    char unexpected = 0;
    const auto got = connection_->receive({&unexpected, 1});
    if (got && *got == 0) return Event::kNone;
    return got ? failed("it speaks without being asked") : failed(got.error());
  }
  for (size_t sum = 0; sum < kMostAtOnce;) {
    const auto got = connection_->receive(room());
    if (!got) return failed(got.error());
    if (*got == 0) return Event::kNone;
    sum += *got;
    deadline_ = now + settings_.timing.silence;
    if (!arrived(*got)) continue;
    if (stage_ == Stage::kFailed) return Event::kFailed;
    if (stage_ == Stage::kGreeting) return hear_greeting();
    rest();
    return Event::kAnswered;
  }
  return Event::kNone;
}

void KafkaDialogue::rest() {
  stage_ = Stage::kIdle;
  deadline_ = MonotonicTime::max();
}

bool KafkaDialogue::arrived(size_t bytes) {
  bool whole = false;
  bool broken = false;
  if (fetch_ != nullptr) {
    const auto state = fetch_->arrived(bytes);
    whole = state == FetchAnswer::State::kWhole;
    broken = state == FetchAnswer::State::kBroken;
  } else {
    const auto state = frame_->arrived(bytes);
    whole = state == FrameReceiver::State::kWhole;
    broken = state == FrameReceiver::State::kBroken;
  }
  if (broken) {
    failed("what it says is no answer to the question, or more than receive.message.max.bytes (" +
           std::to_string(settings_.most_answer_bytes) + ")");
  }
  return whole || broken;
}

KafkaDialogue::Event KafkaDialogue::failed(Error error) {
  error_ = std::move(error);
  failed_idle_ = stage_ == Stage::kIdle;
  stage_ = Stage::kFailed;
  deadline_ = MonotonicTime::min();
  connection_.reset();
  return Event::kFailed;
}

KafkaDialogue::Event KafkaDialogue::failed(const std::string& why) {
  return failed(Error{ErrorCode::kUnavailable, peer_.text() + ": " + why});
}

}  // namespace millrace

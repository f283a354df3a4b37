#include "adapters/kafka_fetcher.h"

#include <algorithm>
#include <utility>

#include "adapters/kafka_batches.h"
#include "common/base/check.h"

namespace millrace {
namespace {

constexpr size_t kFetchBytes =
    FetchBlocks::kLargest - (4 << 10);   // with what stands behind the records it fits a block
constexpr size_t kChunkBytes = 1 << 20;  // the engine cuts batches at chunks' ends
constexpr int16_t kDamagedCode = 2;      // a broker's, for what is damaged
constexpr int kWrongLeadersToTell = 5;   // with pauses; brokers need a while to agree on a new one
constexpr int kFailedCallsToTell = 2;    // one may be a broker that closed an idle connection, or hands its work over

// What was unpacked is not in the buffer that was received.
struct UnpackedChunk {
  UnpackedChunk(std::string its_bytes, std::shared_ptr<ReadCredit> its_credit)
      : bytes(std::move(its_bytes)), credit(std::move(its_credit)) {
    credit->take(bytes.capacity());
  }
  ~UnpackedChunk() { credit->give_back(bytes.capacity()); }
  UnpackedChunk(const UnpackedChunk&) = delete;
  UnpackedChunk& operator=(const UnpackedChunk&) = delete;

  const std::string bytes;
  const std::shared_ptr<ReadCredit> credit;
};

std::string text(Offset offset) {
  return std::to_string(offset.value());
}

}  // namespace

KafkaFetcher::KafkaFetcher(const Shared& shared, const LogReaderOptions& options, std::unique_ptr<Listener> listener)
    : shared_(shared),
      options_(options),
      listener_(std::move(listener)),
      credit_(std::make_shared<ReadCredit>(options.read_ahead_bytes, shared.wake)),
      position_(options.from) {
  ended_ = finished();
}

MonotonicTime KafkaFetcher::serve_at() const {
  if (ended_) return MonotonicTime::max();
  return std::min(paused_until_, dialogue_ ? dialogue_->serve_at() : MonotonicTime::max());
}

void KafkaFetcher::serve(MonotonicTime now, short events) {
  if (ended_) return;
  if (dialogue_) {
    switch (dialogue_->serve(now, events)) {
      case KafkaDialogue::Event::kNone: break;
      case KafkaDialogue::Event::kReady:
        if (const auto unspoken = dialogue_->unspoken()) return fall_back(*unspoken);
        break;
      case KafkaDialogue::Event::kAnswered: take_answer(now); break;
      case KafkaDialogue::Event::kFailed: call_failed(now); break;
    }
  }
  go_on(now);
}

void KafkaFetcher::go_on(MonotonicTime now) {
  if (ended_) return;
  if (paused_until_ != MonotonicTime::max()) {
    if (now < paused_until_) return;
    paused_until_ = MonotonicTime::max();
  }
  if (!leader_) find_leader(now);
  if (ended_ || !leader_) return;
  if (!dialogue_) {
    dialogue_.emplace(shared_.settings, *leader_, shared_.lookups, now);
    return;
  }
  if (dialogue_->may_be_asked()) fetch(now);
}

void KafkaFetcher::find_leader(MonotonicTime now) {
  if (shared_.watch.unspoken()) return fall_back(*shared_.watch.unspoken());
  if (!awaited_) awaited_ = shared_.watch.ask();
  if (shared_.watch.answered() < *awaited_) {
    if (const auto& trouble = shared_.watch.trouble()) {
      doubt_.reset();  // What was said before says nothing about the time in between.
      tell_unavailable("no broker of " + shared_.settings.brokers + " answers: " + trouble->message);
    }
    return;
  }
  awaited_.reset();
  LeaderFacts facts{.partition = options_.partition,
                    .expected = shared_.watch.topic_id(),
                    .known_epoch = leader_epoch_,
                    .same_for = Duration::max(),
                    .topic_may_be_away = shared_.settings.timing.topic_may_be_away};
  const LeaderVerdict in_the_end = judge_leader(shared_.watch.newest(), facts);
  if (doubt_ != in_the_end) {
    doubt_ = in_the_end;
    doubt_since_ = now;
  }
  facts.same_for = now - doubt_since_;
  obey(judge_leader(shared_.watch.newest(), facts), now);
}

void KafkaFetcher::obey(LeaderVerdict verdict, MonotonicTime now) {
  switch (verdict) {
    case LeaderVerdict::kUse: return take_leader();
    case LeaderVerdict::kAskAnother: shared_.watch.doubt(); return pause(now);
    case LeaderVerdict::kNobody:
      tell_unavailable("nobody leads it now, or the topic is away (error " +
                       std::to_string(shared_.watch.newest().error) + ")");
      shared_.watch.doubt();
      return pause(now, (now - doubt_since_) / 4);
    case LeaderVerdict::kFallBack: return fall_back("the topic has no id");
    case LeaderVerdict::kRefused:
      return end(ErrorCode::kInvalid, "the broker refuses to tell who leads it (error " +
                                          std::to_string(shared_.watch.newest().error) +
                                          "); give the user of this job the right to read the topic");
    case LeaderVerdict::kMadeAnew:
      return end(ErrorCode::kDataLost,
                 "the topic was deleted and made anew, so the records that were read are gone; submit the job anew");
    case LeaderVerdict::kGone: return end(ErrorCode::kDataLost, "there is no such topic or partition any more");
  }
}

void KafkaFetcher::take_leader() {
  doubt_.reset();
  const KafkaMetadata& answer = shared_.watch.newest();
  const auto partition = std::ranges::find(answer.partitions, options_.partition, &KafkaMetadata::Partition::id);
  const auto broker = std::ranges::find(answer.brokers, partition->leader, &KafkaMetadata::Broker::id);
  leader_ = HostPort{broker->host, static_cast<uint16_t>(broker->port)};
  if (leader_epoch_ != partition->leader_epoch) leader_knows_epochs_ = true;
  leader_epoch_ = partition->leader_epoch;
  if (dialogue_ && dialogue_->peer() != *leader_) dialogue_.reset();
}

void KafkaFetcher::call_failed(MonotonicTime now) {
  const std::string why = dialogue_->error().message;
  if (!dialogue_->failed_idle()) ++failed_calls_;  // Brokers hang up on those who ask nothing.
  dialogue_.reset();
  leader_.reset();
  doubt_.reset();
  if (failed_calls_ >= kFailedCallsToTell) tell_unavailable(why);
  rest_until(now + shared_.settings.timing.pause_after(failed_calls_ - 1));
}

void KafkaFetcher::fetch(MonotonicTime now) {
  const size_t most = std::min(kFetchBytes, shared_.settings.most_answer_bytes / 2);
  if (!credit_->has(std::clamp<size_t>(options_.read_ahead_bytes / 2, 1, most))) return;
  FetchQuestion question;
  question.topic = *shared_.watch.topic_id();
  question.partition = options_.partition;
  question.leader_epoch = leader_epoch_;
  question.from = position_;
  question.last_epoch = last_epoch_;
  question.send_last_epoch = leader_knows_epochs_;
  question.max_wait_ms = static_cast<int32_t>(to_ms(shared_.settings.timing.fetch_wait));
  question.max_bytes = static_cast<int32_t>(std::clamp<size_t>(credit_->left() / growth_, 1, most));
  question.committed = shared_.settings.committed;
  dialogue_->fetch(question, shared_.blocks, credit_, now);
}

void KafkaFetcher::take_answer(MonotonicTime now) {
  const auto answer = dialogue_->take_fetched();
  const FetchHead& head = answer->head();
  failed_calls_ = 0;
  if (head.throttle_ms > 0) rest_until(now + std::chrono::milliseconds(head.throttle_ms));
  const int16_t error = head.error != 0 ? head.error : head.partition_error;
  if (error == 0 && !head.has_partition) return pause(now);  // All that it says is that it is asked too much.
  same_errors_ = error == last_error_ ? same_errors_ + 1 : 1;
  last_error_ = error;
  const FetchStep step = next_step(error, {.sent_last_epoch = leader_knows_epochs_ && last_epoch_ >= 0,
                                           .sent_leader_epoch = leader_epoch_ >= 0,
                                           .same_errors = same_errors_,
                                           .preferred_replica = head.preferred_replica});
  if (step == FetchStep::kUse) return take_records(*answer, now);
  obey(step, error, now);
}

void KafkaFetcher::obey(FetchStep step, int16_t error, MonotonicTime now) {
  const std::string said =
      "the broker answers with error " + std::to_string(error) + " to a fetch from offset " + text(position_);
  switch (step) {
    case FetchStep::kUse: return;
    case FetchStep::kAgainWithoutEpoch: leader_knows_epochs_ = false; return;
    case FetchStep::kAskWhoLeads:
      leader_.reset();
      if (same_errors_ > 1) shared_.watch.doubt();  // Whoever named this leader may lag behind.
      if (same_errors_ >= kWrongLeadersToTell) tell_unavailable(said);
      return pause(now);
    case FetchStep::kPause:
      if (same_errors_ >= kFailedCallsToTell) tell_unavailable(said);
      return pause(now);
    case FetchStep::kReconnect:
      dialogue_.reset();
      if (same_errors_ >= kFailedCallsToTell) tell_unavailable(said);
      return pause(now);
    case FetchStep::kFallBack: return fall_back(error == 0 ? "the broker wants another replica to be read" : said);
    case FetchStep::kRefused:
      return end(ErrorCode::kInvalid, said + ": no permission; give the user of this job the right to read the topic");
    case FetchStep::kGone:
      return end(
          ErrorCode::kDataLost,
          "offset " + text(position_) + " is not there: the broker has records from a later one on, or none so late");
    case FetchStep::kCorrupt: return end(ErrorCode::kCorrupt, said + ": it finds its own log damaged");
  }
}

void KafkaFetcher::take_records(const FetchAnswer& answer, MonotonicTime now) {
  if (std::exchange(told_unavailable_, false)) listener_->on_back();
  if (answer.tail().diverging) {
    return end(ErrorCode::kDataLost, "it was cut back to offset " + text(answer.tail().diverging->end) +
                                         ", before offset " + text(position_) + ", which was read already");
  }
  const BatchWalk& walk = answer.walk();
  const OffsetRange range{position_, options_.until ? std::min(walk.next(), *options_.until) : walk.next()};
  const bool good = walk.state() == BatchWalk::State::kGood;
  if (!range.empty()) {
    position_ = range.to;
    last_epoch_ = walk.last_epoch();
    busy_at_ = now;
    if (good && !finished()) go_on(now);  // The next answer comes while this one is handed on.
    if (Status handed_on = hand_on(answer, range); !handed_on) return suspect(handed_on.error().message, now);
  }
  if (finished()) {
    ended_ = true;
    dialogue_.reset();
    return;
  }
  switch (walk.state()) {
    case BatchWalk::State::kGood:
      if (range.empty() && answer.head().records_bytes > 0) fall_back("its first batch is cut off");
      return;
    case BatchWalk::State::kCorrupt: return suspect(walk.problem(), now);
    case BatchWalk::State::kForeign: return fall_back(walk.problem());
    case BatchWalk::State::kCutBack:
      return end(ErrorCode::kDataLost,
                 "it was cut back and written anew, so records that were read are gone: " + walk.problem());
  }
}

// What does not unpack is the next to be asked for again.
Status KafkaFetcher::hand_on(const FetchAnswer& answer, OffsetRange range) {
  size_t unpacked = 0;
  BatchPieces pieces(answer.walk().batches(), range, shared_.unpacker);
  Offset handed_on = range.from;
  while (!pieces.finished()) {
    auto piece = pieces.next(kChunkBytes);
    if (!piece) {
      position_ = handed_on;
      last_epoch_ = -1;
      return std::unexpected(piece.error());
    }
    handed_on = piece->range.to;
    LogChunk chunk{options_.partition, piece->range, piece->records, {}};
    if (!piece->in_place.empty()) chunk.bytes = SharedBuffer(answer.buffer(), piece->in_place);
    if (!piece->unpacked.empty()) {
      auto owner = std::make_shared<const UnpackedChunk>(std::move(piece->unpacked), credit_);
      const std::string_view bytes = owner->bytes;
      unpacked += bytes.size();
      chunk.bytes = SharedBuffer(std::move(owner), bytes);
    }
    listener_->on_chunk(std::move(chunk));
  }
  growth_ = unpacked / answer.buffer()->bytes().size() + 1;
  return {};
}

// Damaged on the way here, perhaps: it is asked for again, on another connection.
void KafkaFetcher::suspect(const std::string& problem, MonotonicTime now) {
  damaged_times_ = damaged_at_ == position_ ? damaged_times_ + 1 : 1;
  damaged_at_ = position_;
  if (next_step(kDamagedCode, {.same_errors = damaged_times_}) == FetchStep::kCorrupt) {
    return end(ErrorCode::kCorrupt, problem + "; restore the topic, or submit the job anew with --start behind it");
  }
  dialogue_.reset();
  pause(now);
}

void KafkaFetcher::pause(MonotonicTime now, Duration wanted) {
  const auto& timing = shared_.settings.timing;
  rest_until(now + std::clamp(wanted, timing.error_pause, std::max(timing.error_pause, timing.most_pause)));
}

// Not less than a broker has asked for.
void KafkaFetcher::rest_until(MonotonicTime until) {
  paused_until_ = paused_until_ == MonotonicTime::max() ? until : std::max(paused_until_, until);
}

void KafkaFetcher::tell_unavailable(const std::string& why) {
  if (std::exchange(told_unavailable_, true)) return;
  listener_->on_error({ErrorCode::kUnavailable, place() + ": " + why + "; going on when that is over"});
}

void KafkaFetcher::end(ErrorCode code, const std::string& why) {
  ended_ = true;
  dialogue_.reset();
  listener_->on_error({code, "cannot read " + place() + ": " + why});
}

void KafkaFetcher::fall_back(const std::string& why) {
  ended_ = true;
  dialogue_.reset();
  if (std::exchange(told_unavailable_, false)) listener_->on_back();
  listener_->on_fall_back(position_, place() + ": " + why);
}

std::string KafkaFetcher::place() const {
  return "partition " + std::to_string(options_.partition.value()) + " of topic '" + shared_.settings.topic + "' on " +
         shared_.settings.brokers;
}

}  // namespace millrace

#include "adapters/kafka_topic_watch.h"

#include <algorithm>
#include <utility>

namespace millrace {

KafkaTopicWatch::AnswerNumber KafkaTopicWatch::ask() {
  const AnswerNumber next = answered_ + (asking_ ? 2 : 1);
  wanted_ = std::max(wanted_, next);
  return next;
}

void KafkaTopicWatch::serve(MonotonicTime now, short events) {
  if (dialogue_) {
    switch (dialogue_->serve(now, events)) {
      case KafkaDialogue::Event::kNone: break;
      case KafkaDialogue::Event::kReady: unspoken_ = dialogue_->unspoken(); break;
      case KafkaDialogue::Event::kAnswered: take_answer(now); break;
      case KafkaDialogue::Event::kFailed: call_failed(dialogue_->error(), now); break;
    }
  }
  if (now >= refresh_at_) (void)ask();
  go_on(now);
}

void KafkaTopicWatch::go_on(MonotonicTime now) {
  if (wanted_ <= answered_ || asking_ || unspoken_ || now < not_before_) return;
  if (doubted_) {
    dialogue_.reset();
    ++turn_;
    doubted_ = false;
  }
  if (!dialogue_) {
    const std::vector<HostPort> all = brokers();
    dialogue_.emplace(settings_, all[turn_ % all.size()], lookups_, now);
    proven_ = false;
  }
  if (!dialogue_->may_be_asked()) return;
  dialogue_->ask_who_leads(now);
  asking_ = true;
}

void KafkaTopicWatch::take_answer(MonotonicTime now) {
  asking_ = false;
  auto answer = dialogue_->who_leads();
  if (!answer) {
    return call_failed({ErrorCode::kUnavailable, dialogue_->peer().text() + ": its answer is malformed"}, now);
  }
  newest_ = std::move(*answer);
  ++answered_;
  proven_ = true;
  failed_calls_ = 0;
  trouble_.reset();
  refresh_at_ = now + settings_.timing.refresh;
  if (!topic_id_ && newest_.topic != KafkaTopicId{}) topic_id_ = newest_.topic;
  not_before_ = now + std::max<Duration>(settings_.timing.error_pause, std::chrono::milliseconds(newest_.throttle_ms));
}

void KafkaTopicWatch::call_failed(Error error, MonotonicTime now) {
  asking_ = false;
  dialogue_.reset();
  if (std::exchange(proven_, false)) return;  // The connection had become old; the same broker is called again.
  ++turn_;
  const auto others = static_cast<int>(brokers().size());
  ++failed_calls_;
  if (failed_calls_ >= others) {  // Everybody was called.
    trouble_ = std::move(error);
    not_before_ = now + settings_.timing.pause_after(failed_calls_ / others);
  }
}

std::vector<HostPort> KafkaTopicWatch::brokers() const {
  std::vector<HostPort> all = settings_.bootstrap;
  for (const KafkaMetadata::Broker& broker : newest_.brokers) {
    const HostPort endpoint{broker.host, static_cast<uint16_t>(broker.port)};
    if (std::ranges::find(all, endpoint) == all.end()) all.push_back(endpoint);
  }
  return all;
}

MonotonicTime KafkaTopicWatch::serve_at() const {
  const bool may_call = !dialogue_ || dialogue_->may_be_asked() || doubted_;
  const bool may_go_on = wanted_ > answered_ && !asking_ && !unspoken_ && may_call;
  const MonotonicTime by_dialogue = dialogue_ ? dialogue_->serve_at() : MonotonicTime::max();
  return std::min({may_go_on ? not_before_ : MonotonicTime::max(), by_dialogue,
                   wanted_ > answered_ ? MonotonicTime::max() : refresh_at_});
}

}  // namespace millrace

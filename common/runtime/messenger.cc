#include "common/runtime/messenger.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/runtime/messenger_state.h"
#include "common/wire/codec.h"
#include "wire_constants.h"

namespace millrace {
namespace {

// Arrivals after which an acknowledgement goes alone.
constexpr int kAckEvery = 64;
// Missing ranges named in one request.
constexpr size_t kMissingRanges = 256;
// Pause before a full queue of the network is tried again.
constexpr Duration kFlushPause = std::chrono::milliseconds(2);
constexpr int kSlowestFactor = 8;
constexpr size_t kForgotten = 100'000;

}  // namespace

Messenger::Messenger(MessengerOptions options, Network& network, TaskLoop& loop, MessengerHandler& handler)
    : options_(std::move(options)), network_(network), loop_(loop), handler_(handler) {
  CHECK(options_.self != ProcessId());
  network_.set_handler(this);
}

Messenger::~Messenger() {
  network_.set_handler(nullptr);
  for (const auto& [process, session] : sessions_) session->cancel_timers(loop_);
  for (const auto& [address, dial] : dials_) {
    loop_.cancel(dial->retry_timer);
    loop_.cancel(dial->hello_timer);
    if (dial->link != LinkId()) network_.disconnect(dial->link);
  }
  for (const auto& [link, refusal] : refusals_) {
    loop_.cancel(refusal.timer);
    network_.disconnect(link);
  }
}

bool Messenger::send(ProcessId to, wire::Envelope envelope, SharedBuffer bulk) {
  Session* session = find(to);
  if (session == nullptr) return false;
  wire::Header& header = envelope.header;
  header.protocol = wire::g_wire_constants.kProtocol;
  header.sender = signed_of(options_.self);
  header.receiver = signed_of(to);
  header.sequence = session->out.next();
  header.ack = session->in.received();
  session->out.push({encode(envelope), std::move(bulk)});
  if (session->out.bytes() > options_.max_unacknowledged_bytes) {
    const std::string reason = "it has not acknowledged the last " + std::to_string(session->out.bytes()) +
                               " bytes; it is frozen, cut off, or too slow";
    loop_.post([this, alive = std::weak_ptr(alive_), info = session->info, reason] {
      if (!alive.expired()) handler_.on_peer_unreachable(*info, reason);
    });
    end_session(to);
    return false;
  }
  const bool was_all_sent = session->out.unsent() == header.sequence;
  flush(*session);
  if (was_all_sent && session->out.unsent() > header.sequence) session->unacknowledged_arrivals = 0;
  return true;
}

void Messenger::forget(ProcessId process) {
  end_session(process);
}

void Messenger::on_frame(Frame frame, const std::string& from) {
  auto decoded = decode(frame.control);
  if (!decoded) return drop_frame(decoded.error().message.c_str(), from);
  wire::Envelope& envelope = *decoded;
  const wire::Header& header = envelope.header;
  if (header.sender == 0) return drop_frame("no sender", from);
  if (envelope.body.__isset.hello) return on_hello(envelope);
  if (process_of(header.receiver) != options_.self) return drop_frame("not for this process", from);
  if (envelope.body.__isset.refused) return on_refused(envelope);
  if (header.protocol != wire::g_wire_constants.kProtocol) return drop_frame("another protocol version", from);

  const ProcessId sender(static_cast<uint64_t>(header.sender));
  Session* session = find(sender);
  if (session == nullptr) {
    const auto forgotten = forgotten_.find(sender);
    if (forgotten != forgotten_.end()) {
      refuse(forgotten->second, sender, 0, "this process was given up by its peer; start it anew");
    }
    return drop_frame("no session with its sender", from);
  }
  if (!take_ack(*session, header.ack)) return drop_frame("it acknowledges what was never sent", from);
  if (envelope.body.__isset.ack) return on_ack(*session, envelope.body.ack);
  if (header.sequence <= 0) return drop_frame("no sequence", from);
  on_sequenced(std::move(envelope), std::move(frame));
}

void Messenger::on_sequenced(wire::Envelope envelope, Frame frame) {
  const ProcessId sender(static_cast<uint64_t>(envelope.header.sender));
  Session& session = *find(sender);
  const Arrival arrival = session.in.arrive(envelope.header.sequence, frame);
  note_arrival(session);
  if (session.in.has_gap()) watch_gap(session);
  if (arrival != Arrival::kNext) return;
  const auto info = session.info;
  handler_.on_message(*info, std::move(envelope), std::move(frame.bulk));
  deliver_early(sender);
}

// The handler may end the session at any of them.
void Messenger::deliver_early(ProcessId process) {
  for (Session* session = find(process); session != nullptr; session = find(process)) {
    Frame frame = session->in.take_next();
    if (frame.control.empty()) return;
    auto envelope = decode(frame.control);
    CHECK(envelope.has_value()) << envelope.error();  // it was decoded when it came
    const auto info = session->info;
    handler_.on_message(*info, std::move(*envelope), std::move(frame.bulk));
  }
}

void Messenger::on_ack(Session& session, const wire::Ack& ack) {
  if (ack.resend && ready(session)) {
    std::vector<int64_t> ranges = ack.missing;
    if (ranges.empty()) ranges = {session.out.acknowledged() + 1, session.out.next() - 1};
    for (size_t i = 0; i + 1 < ranges.size(); i += 2) {
      const Sequence first = std::max(ranges[i], session.out.acknowledged() + 1);
      const Sequence last = std::min(ranges[i + 1], session.out.unsent() - 1);
      for (Sequence sequence = first; sequence <= last; ++sequence) {
        if (!network_.send(session.dial->link, session.out.at(sequence))) return;  // it will be asked for again
      }
    }
  }
  if (ack.newest == 0) return;
  session.in.expect(ack.newest);
  if (session.in.has_gap()) {
    watch_gap(session);
  }
  send_ack(session);
}

bool Messenger::take_ack(Session& session, int64_t acknowledged) {
  return session.out.acknowledge(acknowledged);
}

void Messenger::note_arrival(Session& session) {
  if (++session.unacknowledged_arrivals >= kAckEvery) return send_ack(session);
  if (session.ack_timer != 0) return;
  const ProcessId process = session.info->process;
  session.ack_timer = loop_.schedule(options_.ack_delay, [this, process] {
    Session& due = *find(process);
    due.ack_timer = 0;
    if (due.unacknowledged_arrivals > 0) send_ack(due);
  });
}

// A gap that a reordered message makes closes by itself; what is still missing after a pause is asked for.
void Messenger::watch_gap(Session& session) {
  if (session.gap_timer != 0) return;
  if (session.gap_pause == Duration::zero()) session.gap_pause = options_.ack_delay;
  session.gap_mark = session.in.received();
  const ProcessId process = session.info->process;
  session.gap_timer = loop_.schedule(session.gap_pause, [this, process] {
    Session& gapped = *find(process);
    gapped.gap_timer = 0;
    if (!gapped.in.has_gap()) {
      gapped.gap_pause = options_.ack_delay;
      return;
    }
    wire::Ack ack;
    ack.resend = true;
    for (const auto& [first, last] : gapped.in.missing(kMissingRanges)) {
      ack.missing.push_back(first);
      ack.missing.push_back(last);
    }
    send_ack(gapped, ack);
    const bool moved = gapped.in.received() > gapped.gap_mark;
    gapped.gap_pause = moved ? options_.ack_delay : std::min(gapped.gap_pause * 2, options_.resend_after);
    watch_gap(gapped);
  });
}

// Says how far was sent when acknowledgements stay away: the last messages may be lost without making a gap.
void Messenger::watch_progress(Session& session) {
  if (session.progress_timer != 0 || session.out.empty()) return;
  if (session.progress_pause == Duration::zero()) session.progress_pause = options_.resend_after;
  session.progress_mark = session.out.acknowledged();
  const ProcessId process = session.info->process;
  session.progress_timer = loop_.schedule(session.progress_pause, [this, process] {
    Session& waiting = *find(process);
    waiting.progress_timer = 0;
    if (waiting.out.acknowledged() > waiting.progress_mark) {
      waiting.progress_pause = options_.resend_after;
    } else if (ready(waiting) && waiting.out.unsent() > waiting.out.acknowledged() + 1) {
      wire::Ack ack;
      ack.newest = waiting.out.unsent() - 1;
      send_ack(waiting, ack);
      waiting.progress_pause = std::min(waiting.progress_pause * 2, options_.resend_after * kSlowestFactor);
    }
    watch_progress(waiting);
  });
}

void Messenger::send_ack(Session& session, const wire::Ack& ack) {
  if (!ready(session)) return;  // the Hello of the next link tells it
  wire::Envelope envelope = envelope_to(session.info->process);
  envelope.header.ack = session.in.received();
  envelope.body.__set_ack(ack);
  if (network_.send(session.dial->link, {encode(envelope), {}})) session.unacknowledged_arrivals = 0;
}

// On a link that is new to the session: all that did not arrive goes again.
void Messenger::resume(Session& session) {
  session.reachable = true;
  session.out.mark_all_unsent();
  session.progress_pause = Duration::zero();
  flush(session);
}

void Messenger::flush(Session& session) {
  watch_progress(session);
  if (!ready(session)) return;
  while (session.out.unsent() < session.out.next()) {
    if (!network_.send(session.dial->link, session.out.at(session.out.unsent()))) break;
    session.out.mark_sent();
  }
  if (session.out.unsent() == session.out.next() || session.flush_timer != 0) return;
  const ProcessId process = session.info->process;
  session.flush_timer = loop_.schedule(kFlushPause, [this, process] {
    Session& held = *find(process);
    held.flush_timer = 0;
    flush(held);
  });
}

Messenger::Session* Messenger::find(ProcessId process) {
  const auto found = sessions_.find(process);
  return found == sessions_.end() ? nullptr : found->second.get();
}

bool Messenger::is_reachable(ProcessId process) const {
  const auto found = sessions_.find(process);
  return found != sessions_.end() && ready(*found->second);
}

size_t Messenger::unacknowledged_bytes() const {
  size_t bytes = 0;
  for (const auto& [process, session] : sessions_) bytes += session->out.bytes();
  return bytes;
}

bool Messenger::ready(const Session& session) const {
  return session.dial->up && session.dial->process == session.info->process;
}

void Messenger::end_session(ProcessId process) {
  const auto found = sessions_.find(process);
  if (found == sessions_.end()) return;
  const auto session = std::move(found->second);
  sessions_.erase(found);
  session->cancel_timers(loop_);
  forgotten_.emplace(process, session->info->endpoint);
  forgotten_in_order_.push_back(process);
  if (forgotten_in_order_.size() > kForgotten) {
    forgotten_.erase(forgotten_in_order_.front());
    forgotten_in_order_.pop_front();
  }
  release(*session->dial);
}

wire::Envelope Messenger::envelope_to(ProcessId receiver) const {
  wire::Envelope envelope;
  envelope.header.protocol = wire::g_wire_constants.kProtocol;
  envelope.header.sender = signed_of(options_.self);
  envelope.header.receiver = signed_of(receiver);
  return envelope;
}

void Messenger::drop_frame(const char* why, const std::string& from) {
  ++dropped_frames_;
  LOG_EVERY_N(WARNING, 1000) << "dropped a frame from " << from << ": " << why << " (1 of " << google::COUNTER << ")";
}

}  // namespace millrace

// How a Messenger reaches endpoints: links, Hello and Refused.
#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/runtime/messenger.h"
#include "common/runtime/messenger_state.h"
#include "common/wire/codec.h"
#include "wire_constants.h"

namespace millrace {
namespace {

constexpr size_t kMaxDials = 10'000;
// Links at the same time that only say Refused, and how long each is kept for the frame to go out.
constexpr size_t kMaxRefusals = 16;
constexpr Duration kFirstRetry = std::chrono::milliseconds(1);  // after the break of a link that led to a process
constexpr Duration kRefusalTime = std::chrono::seconds(1);

}  // namespace

void Messenger::connect(const Endpoint& endpoint) {
  Dial& dial = dial_of(endpoint);
  dial.wanted = true;
  dial.refused = false;
  if (dial.link == LinkId() && dial.retry_timer == 0) open_link(dial);
}

void Messenger::abandon(const Endpoint& endpoint) {
  const auto found = dials_.find(endpoint.address);
  if (found == dials_.end()) return;
  found->second->wanted = false;
  release(*found->second);
}

Messenger::Dial& Messenger::dial_of(const Endpoint& endpoint) {
  auto& dial = dials_[endpoint.address];
  if (dial == nullptr) {
    dial = std::make_unique<Dial>();
    dial->to = endpoint;
    dial->pause = options_.reconnect_first;
  }
  return *dial;
}

void Messenger::open_link(Dial& dial) {
  dial.link = network_.connect(dial.to);
  dial.hello_pause = options_.resend_after / 4;
  links_.emplace(dial.link, &dial);
}

void Messenger::close_link(Dial& dial) {
  loop_.cancel(dial.hello_timer);
  dial.hello_timer = 0;
  links_.erase(dial.link);
  dial.link = LinkId();
  dial.up = false;
  dial.process = ProcessId();
}

bool Messenger::needed(const Dial& dial) const {
  return dial.wanted ||
         std::ranges::any_of(sessions_, [&dial](const auto& entry) { return entry.second->dial == &dial; });
}

void Messenger::release(Dial& dial) {
  if (needed(dial)) return;
  loop_.cancel(dial.retry_timer);
  if (dial.link != LinkId()) network_.disconnect(dial.link);
  close_link(dial);
  dials_.erase(dial.to.address);
}

void Messenger::on_link_up(LinkId link) {
  const auto found = links_.find(link);
  if (found == links_.end()) return;
  found->second->up = true;
  greet(*found->second);
}

void Messenger::on_link_down(LinkId link, const std::string& reason) {
  if (const auto refusal = refusals_.find(link); refusal != refusals_.end()) {
    loop_.cancel(refusal->second.timer);
    refusals_.erase(refusal);
    return;
  }
  const auto found = links_.find(link);
  if (found == links_.end()) return;
  Dial& dial = *found->second;
  // A link that led to a process breaks when that dies, but also when only the connection does. Making it again tells
  // which: a dead process' host refuses at once. Only then the handler is told.
  const bool first_break = dial.process != ProcessId();
  close_link(dial);
  if (!needed(dial)) return release(dial);
  dial.retry_timer = loop_.schedule(first_break ? kFirstRetry : dial.pause, [this, &dial] {
    dial.retry_timer = 0;
    open_link(dial);
  });
  if (first_break) return;
  dial.pause = std::min(dial.pause * 2, options_.reconnect_most);

  std::vector<std::shared_ptr<const PeerInfo>> lost;
  for (const auto& [process, session] : sessions_) {
    if (session->dial != &dial || !session->reachable) continue;
    session->reachable = false;
    lost.push_back(session->info);
  }
  for (const auto& info : lost) handler_.on_peer_unreachable(*info, reason);
}

// Until it is answered, Hello goes again: the network may lose it.
void Messenger::greet(Dial& dial) {
  send_hello(dial, std::exchange(dial.answer_to, ProcessId()), std::exchange(dial.answer_due, 0));
  dial.hello_timer = loop_.schedule(dial.hello_pause, [this, &dial] {
    dial.hello_timer = 0;
    greet(dial);
  });
  dial.hello_pause = std::min(dial.hello_pause * 2, options_.resend_after * 4);
}

void Messenger::send_hello(Dial& dial, ProcessId receiver, int64_t answers) {
  wire::Envelope envelope = envelope_to(receiver);
  if (const Session* session = find(receiver)) envelope.header.ack = session->in.received();
  wire::Hello hello;
  hello.role = options_.role;
  hello.endpoint = network_.local_endpoint().address;
  hello.version = options_.version;
  hello.link = dial.process == ProcessId() ? signed_of(dial.link) : 0;
  hello.answers = answers;
  envelope.body.__set_hello(hello);
  network_.send(dial.link, {encode(envelope), {}});
}

void Messenger::answer(Dial& dial) {
  if (!dial.up) return;  // greet() will
  const ProcessId to = std::exchange(dial.answer_to, ProcessId());
  const int64_t due = std::exchange(dial.answer_due, 0);
  if (dial.process == ProcessId() || dial.process == to) return send_hello(dial, to, due);
  // The link leads to an earlier process of this endpoint, or the Hello is of an earlier one and comes late. If that
  // link is dead without our knowing, sending over it breaks it.
  send_hello(dial, dial.process, 0);
}

// The link of `dial` is known to lead to the session's process.
void Messenger::resolve(Dial& dial, Session& session) {
  if (dial.process != ProcessId()) return;
  loop_.cancel(dial.hello_timer);
  dial.hello_timer = 0;
  dial.process = session.info->process;
  dial.pause = options_.reconnect_first;
  if (session.dial != &dial) release(*std::exchange(session.dial, &dial));
  resume(session);
}

void Messenger::on_hello(const wire::Envelope& envelope) {
  const wire::Header& header = envelope.header;
  const wire::Hello& hello = envelope.body.hello;
  const ProcessId sender(static_cast<uint64_t>(header.sender));
  if (!may_talk(envelope)) {
    ++dropped_frames_;
    return;
  }
  Session* session = find(sender);
  bool created = false;
  const bool for_us = process_of(header.receiver) == options_.self;
  const auto link = links_.find(LinkId(static_cast<uint64_t>(hello.answers)));
  if (for_us && link != links_.end() && (session == nullptr || take_ack(*session, header.ack))) {
    created = session == nullptr;
    if (created) session = &make_session(envelope, *link->second);
    resolve(*link->second, *session);
  }
  if (hello.link != 0) {
    Dial& dial = session != nullptr ? *session->dial : dial_of({hello.endpoint});
    dial.answer_to = sender;
    dial.answer_due = hello.link;
    if (dial.link == LinkId() && dial.retry_timer == 0) open_link(dial);
    answer(dial);
  }
  if (created) {
    const auto info = session->info;
    handler_.on_peer_up(*info);
  }
}

Messenger::Session& Messenger::make_session(const wire::Envelope& envelope, Dial& dial) {
  const ProcessId process(static_cast<uint64_t>(envelope.header.sender));
  const wire::Hello& hello = envelope.body.hello;
  auto info = std::make_shared<PeerInfo>(PeerInfo{process, hello.role, {hello.endpoint}, hello.version});
  auto session = std::make_unique<Session>(std::move(info), options_);
  session->dial = &dial;
  return *sessions_.emplace(process, std::move(session)).first->second;
}

// Whether there is or can be a session with the sender of a Hello. If not, it is told why.
bool Messenger::may_talk(const wire::Envelope& envelope) {
  const wire::Hello& hello = envelope.body.hello;
  const ProcessId sender(static_cast<uint64_t>(envelope.header.sender));
  const Endpoint endpoint{hello.endpoint};
  if (sender == options_.self) {
    const auto link = links_.find(LinkId(static_cast<uint64_t>(hello.link)));
    if (link == links_.end()) return false;
    Dial& dial = *link->second;
    network_.disconnect(dial.link);
    close_link(dial);
    dial.refused = true;
    handler_.on_refused(Endpoint(dial.to), "it is the endpoint of this process itself; name another one");
    return false;
  }
  if (envelope.header.protocol != wire::g_wire_constants.kProtocol) {
    refuse(endpoint, sender, hello.link,
           "protocol version " + std::to_string(envelope.header.protocol) + " (program " + hello.version + ") is not " +
               std::to_string(wire::g_wire_constants.kProtocol) + " (program " + options_.version +
               "); use the same version of Millrace everywhere");
    return false;
  }
  if (forgotten_.contains(sender)) {
    refuse(endpoint, sender, hello.link, "this process was given up by its peer; start it anew");
    return false;
  }
  return find(sender) != nullptr || (dials_.size() < kMaxDials && !endpoint.address.empty());
}

// By a link of its own, since there is no session and shall be none. At most one at a time to an endpoint.
void Messenger::refuse(const Endpoint& to, ProcessId receiver, int64_t answers, const std::string& reason) {
  if (to.address.empty() || refusals_.size() >= kMaxRefusals) return;
  for (const auto& [link, refusal] : refusals_) {
    if (refusal.address == to.address) return;
  }
  LOG(WARNING) << "process " << to_string(receiver) << " at " << to.address << " is refused: " << reason;
  wire::Envelope envelope = envelope_to(receiver);
  wire::Refused refused;
  refused.reason = reason;
  refused.answers = answers;
  envelope.body.__set_refused(refused);
  const LinkId link = network_.connect(to);
  network_.send(link, {encode(envelope), {}});
  const auto timer = loop_.schedule(kRefusalTime, [this, link] {
    refusals_.erase(link);
    network_.disconnect(link);
  });
  refusals_.emplace(link, Refusal{to.address, timer});
}

void Messenger::on_refused(const wire::Envelope& envelope) {
  const ProcessId sender(static_cast<uint64_t>(envelope.header.sender));
  const wire::Refused& refused = envelope.body.refused;
  const auto link = links_.find(LinkId(static_cast<uint64_t>(refused.answers)));
  Session* session = find(sender);
  Dial* dial = link != links_.end() ? link->second : session != nullptr ? session->dial : nullptr;
  if (dial == nullptr) {
    ++dropped_frames_;
    return;
  }
  const Endpoint endpoint = dial->to;
  if (dial->process == ProcessId() || dial->process == sender) {
    dial->refused = true;
    loop_.cancel(dial->retry_timer);
    dial->retry_timer = 0;
    if (dial->link != LinkId()) network_.disconnect(dial->link);
    close_link(*dial);
  }
  end_session(sender);
  if (const auto left = dials_.find(endpoint.address); left != dials_.end()) release(*left->second);
  handler_.on_refused(endpoint, refused.reason);
}

}  // namespace millrace

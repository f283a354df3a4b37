// Messenger: sessions over a Network that may lose, delay, repeat and reorder. Between two processes (named by
// their process ids, that is, by their incarnations) every message arrives once and in order, or the session ends.
//
// A session begins with Hello in both directions. A Hello names the link that it goes over and the answer repeats
// that name, so it is known which process a link leads to, however late or often a Hello arrives; a link never leads
// to another process later. A process is up here when one of our links is known to lead to it, so the late Hello of a
// dead one brings nobody up. Messages carry a sequence; the receiver delivers the next one, keeps later ones (bounded)
// and asks for exactly what is missing, drops repeats. The sender keeps what is not acknowledged (bounded in bytes)
// and sends it again on request and on a new link: a broken connection between two living processes loses nothing.
// Where acknowledgements stay away it says how far it has sent, and is asked for the rest. Acknowledgements ride on
// messages, or go alone after a short delay or a number of messages.
//
// A session ends by forget(), by a peer that lets max_unacknowledged_bytes pile up (on_peer_unreachable, then send()
// is false), or by the peer's ending it (on_refused). It never comes back: frames of that process id are dropped, and
// if it goes on talking it is told so by Refused, so that a process that was declared dead while it was frozen learns
// it.
//
// A frame of another protocol version, to another process id, or one that does not parse, is counted and dropped;
// a Hello of another protocol version is answered by Refused.
//
// Lives on one loop. The handler is called on it, never from within a call of send() or connect(). The handler may
// call anything here from within its own methods, forget() of the sender too.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "common/base/buffer.h"
#include "common/base/ids.h"
#include "common/seams/clock.h"
#include "common/seams/network.h"
#include "common/seams/task_loop.h"
#include "wire_types.h"

namespace millrace {

struct PeerInfo {
  ProcessId process;
  wire::Role::type role;
  Endpoint endpoint;
  std::string version;
};

class MessengerHandler {
 public:
  virtual ~MessengerHandler() = default;
  // A session with this process exists. Once per process id.
  virtual void on_peer_up(const PeerInfo& peer) = 0;
  // The connection broke and could not be made again at once (the process is dead, or cut off), or the peer is too slow
  // to be kept (unacknowledged bytes above the bound). In the first case the session lives on and is resumed by itself
  // until forget(), and a later break is told again; in the second it has ended.
  virtual void on_peer_unreachable(const PeerInfo& peer, const std::string& reason) = 0;
  // The endpoint answered that it will not talk to us (another version, or it has forgotten this process), or it is
  // our own. Final for this endpoint until connect() is called again; a session with the process there has ended.
  virtual void on_refused(const Endpoint& endpoint, const std::string& reason) = 0;
  virtual void on_message(const PeerInfo& from, wire::Envelope envelope, SharedBuffer bulk) = 0;
};

struct MessengerOptions {
  ProcessId self;
  wire::Role::type role = wire::Role::EXECUTOR;
  std::string version;
  Duration ack_delay = std::chrono::milliseconds(20);
  Duration resend_after = std::chrono::milliseconds(1000);
  Duration reconnect_first = std::chrono::milliseconds(10);  // doubles up to reconnect_most
  Duration reconnect_most = std::chrono::milliseconds(500);
  size_t max_unacknowledged_bytes = 256u << 20;  // per peer
  size_t max_early_messages = 10'000;            // received ahead of a gap, per peer
};

class Messenger : public NetworkHandler {
 public:
  Messenger(MessengerOptions options, Network& network, TaskLoop& loop, MessengerHandler& handler);
  ~Messenger() override;
  Messenger(const Messenger&) = delete;
  Messenger& operator=(const Messenger&) = delete;

  // Keeps a session with whatever process listens at `endpoint`, trying again for ever until abandon(). When the
  // process behind it changes, on_peer_up is called for the new one.
  void connect(const Endpoint& endpoint);
  void abandon(const Endpoint& endpoint);

  // Queues a message: the header's protocol, sender, receiver, sequence and ack are set here. False: no session
  // with this process (it never came up, was forgotten, or ends now because of the bound).
  bool send(ProcessId to, wire::Envelope envelope, SharedBuffer bulk = {});

  // Ends the session, if there is one, and drops what is queued; frames of this process id are dropped from then on.
  // One with which there was no session yet may still come up.
  void forget(ProcessId process);

  // What is sent to this process goes out now: a link is known to lead to it.
  [[nodiscard]] bool is_reachable(ProcessId process) const;

  // Of messages to all, kept until they are acknowledged.
  [[nodiscard]] size_t unacknowledged_bytes() const;

  [[nodiscard]] ProcessId self() const { return options_.self; }
  [[nodiscard]] Endpoint local_endpoint() const { return network_.local_endpoint(); }
  [[nodiscard]] uint64_t dropped_frames() const { return dropped_frames_; }  // malformed or misdirected

  // NetworkHandler
  void on_link_up(LinkId link) override;
  void on_link_down(LinkId link, const std::string& reason) override;
  void on_frame(Frame frame, const std::string& from) override;

 private:
  struct Dial;
  struct Session;
  struct Refusal;

  // Dials: the way to an endpoint (messenger_dial.cc).
  Dial& dial_of(const Endpoint& endpoint);
  void open_link(Dial& dial);
  void close_link(Dial& dial);
  void release(Dial& dial);  // removes it if nobody needs it
  void greet(Dial& dial);    // Hello on a link of which it is not known where it leads
  void send_hello(Dial& dial, ProcessId receiver, int64_t answers);
  void answer(Dial& dial);
  void resolve(Dial& dial, Session& session);
  void on_hello(const wire::Envelope& envelope);
  bool may_talk(const wire::Envelope& envelope);
  Session& make_session(const wire::Envelope& envelope, Dial& dial);
  [[nodiscard]] bool needed(const Dial& dial) const;
  void refuse(const Endpoint& to, ProcessId receiver, int64_t answers, const std::string& reason);
  void on_refused(const wire::Envelope& envelope);

  // Sessions (messenger.cc).
  Session* find(ProcessId process);
  [[nodiscard]] bool ready(const Session& session) const;
  void end_session(ProcessId process);
  void on_sequenced(wire::Envelope envelope, Frame frame);
  void deliver_early(ProcessId process);
  void on_ack(Session& session, const wire::Ack& ack);
  bool take_ack(Session& session, int64_t acknowledged);
  void note_arrival(Session& session);
  void resume(Session& session);
  void flush(Session& session);
  void send_ack(Session& session, const wire::Ack& ack = {});
  void watch_progress(Session& session);
  void watch_gap(Session& session);
  void drop_frame(const char* why, const std::string& from);
  wire::Envelope envelope_to(ProcessId receiver) const;

  // Constant after construction.
  const MessengerOptions options_;
  Network& network_;           // outlives this
  TaskLoop& loop_;             // outlives this
  MessengerHandler& handler_;  // outlives this

  // Owned by the loop. Ordered containers: what happens must not depend on addresses.
  std::map<std::string, std::unique_ptr<Dial>> dials_;  // by address
  std::map<LinkId, Dial*> links_;                       // each dial's link
  std::map<ProcessId, std::unique_ptr<Session>> sessions_;
  std::map<LinkId, Refusal> refusals_;       // links made only to say Refused
  std::map<ProcessId, Endpoint> forgotten_;  // bounded
  std::deque<ProcessId> forgotten_in_order_;
  uint64_t dropped_frames_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // weakly held by posted tasks
};

}  // namespace millrace

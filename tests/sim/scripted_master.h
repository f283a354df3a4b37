// ScriptedMaster: plays the master of one job for tests of executors: says what the test tells it to, in the name of an
// epoch and an assignment, and remembers what it hears.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/runtime/messenger.h"
#include "tests/sim/world.h"

namespace millrace {

class ScriptedMaster final : public MessengerHandler {
 public:
  ScriptedMaster(World& world, JobId job, ProcessId self, int64_t epoch)
      : process(world.add_process("master")),
        loop_(process.make_loop("control")),
        job_(job),
        epoch_(epoch),
        messenger_({.self = self, .role = wire::Role::MASTER, .version = "test"}, process.network(), loop_, *this) {
    beat();
  }

  void on_peer_up(const PeerInfo& peer) override { peers[peer.process] = peer.endpoint; }
  void on_peer_unreachable(const PeerInfo&, const std::string&) override {}
  void on_refused(const Endpoint&, const std::string&) override {}
  void on_message(const PeerInfo& from, wire::Envelope envelope, SharedBuffer) override {
    const wire::Body& body = envelope.body;
    if (body.__isset.applied) {
      changed[from.process] = body.applied.changed;
      for (const wire::OwnedPartition& owned : body.applied.partitions) {
        applied[{owned.partition, owned.generation}] = owned.applied;
        begun[{owned.partition, owned.generation}] = owned.begun;
      }
    }
    if (body.__isset.fetched) {
      for (const wire::FetchedPartition& fetched : body.fetched.partitions) boundaries[fetched.partition] = fetched;
    }
    if (body.__isset.map_done) {
      for (const wire::MapResult& result : body.map_done.results) {
        results[{envelope.header.batch, result.partition}] = result;
      }
    }
    if (body.__isset.published) {
      for (const wire::OwnedPartition& owned : body.published.partitions) {
        published[owned.partition] = envelope.header.batch;
      }
      for (const wire::OwnedPartition& owned : body.published.lost) lost.insert(owned.partition);
    }
    if (body.__isset.round_ended) ended_round = envelope.header.batch;
    if (body.__isset.query_reply) replies.push_back(body.query_reply);
    if (body.__isset.checkpointed) checkpointed[from.process] = body.checkpointed;
    if (body.__isset.register_executor) registrations[from.process] = body.register_executor;
    if (body.__isset.executor_ready) ready[from.process] = body.executor_ready;
    if (body.__isset.trouble) trouble = body.trouble;
    if (body.heartbeat.__isset.figures) figures[from.process] = body.heartbeat.figures;
  }

  void send(ProcessId to, const wire::Body& body, int64_t batch = 0) {
    wire::Envelope envelope;
    envelope.header.job = static_cast<int64_t>(job_.value());
    envelope.header.incarnation = 1;
    envelope.header.epoch = epoch_;
    envelope.header.generation = assignment;
    envelope.header.batch = batch;
    envelope.body = body;
    messenger_.send(to, std::move(envelope));
  }
  void send_all(const wire::Body& body, int64_t batch = 0) {
    for (const auto& [peer, endpoint] : peers) send(peer, body, batch);
  }

  SimProcess& process;
  int64_t assignment = 0;
  std::map<ProcessId, Endpoint> peers;
  std::map<ProcessId, wire::RegisterExecutor> registrations;
  std::map<ProcessId, wire::ExecutorReady> ready;
  std::map<std::pair<int32_t, int64_t>, int64_t> applied;
  std::map<std::pair<int32_t, int64_t>, int64_t> begun;  // 0: no more than is applied
  std::map<ProcessId, int64_t> changed;
  std::map<int32_t, wire::FetchedPartition> boundaries;
  std::map<std::pair<int64_t, int32_t>, wire::MapResult> results;
  std::map<int32_t, int64_t> published;
  std::set<int32_t> lost;
  int64_t ended_round = 0;
  std::vector<wire::QueryReply> replies;
  std::map<ProcessId, wire::Checkpointed> checkpointed;
  std::map<ProcessId, wire::ExecutorFigures> figures;
  wire::Trouble trouble;

 private:
  void beat() {
    wire::Body body;
    body.__set_heartbeat(wire::Heartbeat());
    send_all(body);
    loop_.schedule(std::chrono::milliseconds(100), [this] { beat(); });
  }

  SimLoop& loop_;
  const JobId job_;
  const int64_t epoch_;
  Messenger messenger_;
};

}  // namespace millrace

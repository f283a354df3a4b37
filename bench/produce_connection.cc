#include "bench/produce_connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "adapters/host_lookup.h"
#include "adapters/kafka_connection.h"
#include "adapters/kafka_wire.h"

namespace millrace {
namespace {

// Produce v9 (key 0): batches for one partition of one topic.
//   request    header as in adapters/kafka_messages.h; compact string transactional id (null), i16 acks (-1: all),
//              i32 timeout ms, array of topics {compact string name, array of partitions {i32 partition,
//              uvarint bytes of records + 1, records, tags}, tags}, tags
//   answer     header; array of topics {compact string name, array of partitions {i32 partition, i16 error, and more
//              that is of no interest here
constexpr int16_t kProduceKey = 0;
constexpr int16_t kProduceVersion = 9;
constexpr int16_t kAcksAll = -1;
constexpr int32_t kTimeoutMs = 30'000;
constexpr std::string_view kClientId = "millrace-bench";
constexpr std::string_view kTail("\0\0\0", 3);  // tags of the partition, of the topic, of the request
constexpr size_t kMostAnswerBytes = 1 << 20;

std::string request_head(std::string_view topic, LogPartition partition, int32_t correlation, size_t records_bytes) {
  WireWriter writer;
  writer.integer(kProduceKey);
  writer.integer(kProduceVersion);
  writer.integer(correlation);
  writer.integer(static_cast<int16_t>(kClientId.size()));
  writer.bytes(kClientId);
  writer.no_tags();
  writer.uvarint(0);  // no transaction
  writer.integer(kAcksAll);
  writer.integer(kTimeoutMs);
  writer.compact_size(1);
  writer.compact_string(topic);
  writer.compact_size(1);
  writer.integer(partition.value());
  writer.compact_size(records_bytes);
  std::string head = writer.finish();
  store_big(head.data(), static_cast<int32_t>(head.size() - sizeof(int32_t) + records_bytes + kTail.size()));
  return head;
}

// nullopt: malformed.
std::optional<int16_t> parse_error(std::string_view answer, int32_t correlation, LogPartition partition) {
  WireReader reader(answer);
  if (reader.integer<int32_t>() != correlation) return std::nullopt;
  reader.skip_tags();
  if (reader.compact_size() != 1) return std::nullopt;
  (void)reader.compact_string();
  if (reader.compact_size() != 1 || reader.integer<int32_t>() != partition.value()) return std::nullopt;
  const auto error = reader.integer<int16_t>();
  return reader.good() ? std::optional(error) : std::nullopt;
}

std::unexpected<Error> failed(const char* doing) {
  return fail(ErrorCode::kUnavailable, std::string("the broker's connection: ") + doing + ": " + std::strerror(errno));
}

}  // namespace

Result<ProduceConnection> ProduceConnection::open(const HostPort& broker, std::string topic, LogPartition partition) {
  const auto addresses = look_up(broker);
  if (!addresses) return std::unexpected(addresses.error());
  const SocketAddress& address = addresses->front();
  FileDescriptor socket(::socket(address.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  const timeval patience{.tv_sec = kTimeoutMs / 1000, .tv_usec = 0};
  if (!socket.valid() || ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
      ::connect(socket.get(), address.get(), address.size) != 0) {
    return failed("connect");
  }
  return ProduceConnection(std::move(socket), std::move(topic), partition);
}

Status ProduceConnection::send(std::string_view batch) {
  const std::string head = request_head(topic_, partition_, sent_++, batch.size());
  if (Status sent = send_all(head, MSG_MORE); !sent) return sent;
  if (Status sent = send_all(batch, MSG_MORE); !sent) return sent;
  return send_all(kTail, 0);
}

Status ProduceConnection::send_all(std::string_view bytes, int flags) {
  while (!bytes.empty()) {
    const ssize_t taken = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | flags);
    if (taken < 0) return failed("send");
    bytes.remove_prefix(static_cast<size_t>(taken));
  }
  return {};
}

Status ProduceConnection::hear() {
  FrameReceiver answer(kMostAnswerBytes);
  for (auto state = FrameReceiver::State::kMore; state != FrameReceiver::State::kWhole;) {
    const std::span<char> room = answer.room();
    const ssize_t got = ::recv(socket_.get(), room.data(), room.size(), 0);
    if (got < 0) return failed("receive");
    if (got == 0) return fail(ErrorCode::kUnavailable, "the broker has closed the connection");
    state = answer.arrived(static_cast<size_t>(got));
    if (state == FrameReceiver::State::kBroken) return fail(ErrorCode::kCorrupt, "what the broker says is no answer");
  }
  const auto error = parse_error(answer.frame(), heard_++, partition_);
  if (!error) return fail(ErrorCode::kCorrupt, "the broker's answer is to another question");
  if (*error == 0) return {};
  return fail(ErrorCode::kUnavailable, "the broker did not append to " + topic_ + "/" +
                                           std::to_string(partition_.value()) + ": Kafka's error " +
                                           std::to_string(*error));
}

}  // namespace millrace

#include "adapters/ingest_connection.h"

namespace millrace {
namespace {

constexpr Duration kAnswerTime = std::chrono::seconds(10);  // of a disk that is slow

}  // namespace

// A master that did not get an answer in time from itself may have stored the records, as one that is gone.
template <typename Answer, typename Use>
Result<Answer> IngestConnection::call(Use use) {
  Result<Answer> answer = connection_.call<Answer>(kAnswerTime, std::move(use));
  if (!answer && answer.error().code == ErrorCode::kTimeout) {
    return fail(ErrorCode::kUnavailable, std::move(answer.error().message));
  }
  return answer;
}

Result<int32_t> IngestConnection::open_log(const std::string& log, int32_t partitions) {
  return call<int32_t>([&](auto& services, auto& answer) { answer = services.ingest.open_log(log, partitions); });
}

Result<OffsetRange> IngestConnection::append(const std::string& log, LogPartition partition,
                                             const std::vector<std::string>& values,
                                             const std::vector<std::string>& keys, AppendIdentity identity) {
  return call<OffsetRange>([&](auto& services, auto& answer) {
    api::AppendResult stored;
    services.ingest.append(stored, log, partition.value(), values, identity.producer_id, identity.sequence, keys);
    answer = {Offset(stored.first_offset), Offset(stored.next_offset)};
  });
}

int64_t producer_id_of(uint64_t number) {
  return static_cast<int64_t>(number >> 1 | 1);
}

}  // namespace millrace

#include "adapters/api_server.h"

#include <glog/logging.h>
#include <thrift/processor/TMultiplexedProcessor.h>
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/transport/TBufferTransports.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>

#include "Control.h"
#include "Ingest.h"
#include "Query.h"
#include "adapters/api_checks.h"
#include "adapters/frame_server.h"
#include "common/base/text.h"
#include "common/model/uri.h"

namespace millrace {
namespace {

using apache::thrift::TConfiguration;
using apache::thrift::TMultiplexedProcessor;
using apache::thrift::protocol::TBinaryProtocol;
using apache::thrift::transport::TMemoryBuffer;

constexpr int kMaxContainerElements = 100'000;
constexpr int kMaxRecursion = 16;

enum Pool : size_t { kControlPool, kQueryPool, kIngestPool, kChangesPool };

api::ErrorKind::type kind_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid: return api::ErrorKind::INVALID;
    case ErrorCode::kNotFound: return api::ErrorKind::NOT_FOUND;
    case ErrorCode::kExists: return api::ErrorKind::EXISTS;
    case ErrorCode::kUnavailable: return api::ErrorKind::UNAVAILABLE;
    case ErrorCode::kTimeout: return api::ErrorKind::TIMED_OUT;
    case ErrorCode::kDataLost: return api::ErrorKind::GONE;
    default: return api::ErrorKind::INTERNAL;
  }
}

[[noreturn]] void throw_failure(const Error& error) {
  api::Failure failure;
  failure.kind = kind_of(error.code);
  failure.message = error.message;
  throw failure;
}

void require(const Status& status) {
  if (!status) throw_failure(status.error());
}

// The answer of the master's loop, on its way to the thread that waits for it.
template <typename T>
struct Answer {
  std::mutex mutex;
  std::condition_variable_any arrived;
  std::optional<Result<T>> value;  // guarded by mutex

  void set(Result<T> result) {
    const std::lock_guard lock(mutex);
    if (value) return;
    value.emplace(std::move(result));
    arrived.notify_all();
  }
};

// Travels with the call; where the loop drops it (it is stopping), the waiting thread is told.
template <typename T>
class Promise {
 public:
  explicit Promise(std::shared_ptr<Answer<T>> answer) : answer_(std::move(answer)) {}
  Promise(Promise&&) noexcept = default;
  Promise& operator=(Promise&&) = delete;
  ~Promise() {
    if (answer_) answer_->set(fail(ErrorCode::kUnavailable, "the master is shutting down; try again when it is back"));
  }
  void operator()(Result<T> result) { answer_->set(std::move(result)); }

 private:
  std::shared_ptr<Answer<T>> answer_;
};

}  // namespace

// The handler of all three services; its methods run on the threads of the pools.
class ApiServer::Services : public api::ControlIf, public api::QueryIf, public api::IngestIf {
 public:
  Services(const ApiServerOptions& options, TaskLoop& loop, ApiService& service, IngestStore* ingest)
      : options_(options), loop_(loop), service_(service), ingest_(ingest) {}

  // Control
  void submit(api::JobSummary& answer, const api::SubmitRequest& request) override {
    answer = ask<api::JobSummary>(options_.change_timeout,
                                  [request](auto& service, auto done) { service.submit(request, std::move(done)); });
  }
  void jobs(std::vector<api::JobSummary>& answer) override {
    answer = ask<std::vector<api::JobSummary>>(options_.answer_timeout,
                                               [](auto& service, auto done) { service.jobs(std::move(done)); });
  }
  void job_types(std::vector<api::JobType>& answer) override {
    answer = ask<std::vector<api::JobType>>(options_.answer_timeout,
                                            [](auto& service, auto done) { service.job_types(std::move(done)); });
  }
  void describe(api::JobDescription& answer, const std::string& name) override {
    require(check_name("the job name", name));
    answer = ask<api::JobDescription>(options_.answer_timeout,
                                      [name](auto& service, auto done) { service.describe(name, std::move(done)); });
  }
  void stop(api::JobSummary& answer, const std::string& name) override {
    require(check_name("the job name", name));
    answer = ask<api::JobSummary>(options_.change_timeout,
                                  [name](auto& service, auto done) { service.stop(name, std::move(done)); });
  }
  void resume(api::JobSummary& answer, const std::string& name) override {
    require(check_name("the job name", name));
    answer = ask<api::JobSummary>(options_.change_timeout,
                                  [name](auto& service, auto done) { service.resume(name, std::move(done)); });
  }
  void resume_from(api::JobSummary& answer, const std::string& name, const int64_t batch) override {
    require(check_resume_from(name, batch));
    answer = ask<api::JobSummary>(options_.change_timeout, [name, batch](auto& service, auto done) {
      service.resume_from(name, batch, std::move(done));
    });
  }
  void plan_upgrade(api::UpgradePlan& answer, const api::UpgradeRequest& request) override {
    require(check_name("the job name", request.name));
    answer = ask<api::UpgradePlan>(options_.answer_timeout, [request](auto& service, auto done) {
      service.plan_upgrade(request, std::move(done));
    });
  }
  void upgrade(api::JobSummary& answer, const api::UpgradeRequest& request) override {
    require(check_name("the job name", request.name));
    answer = ask<api::JobSummary>(options_.change_timeout,
                                  [request](auto& service, auto done) { service.upgrade(request, std::move(done)); });
  }
  void kill(const std::string& name, const bool purge) override {
    require(check_name("the job name", name));
    ask<bool>(options_.change_timeout,
              [name, purge](auto& service, auto done) { service.kill(name, purge, std::move(done)); });
  }
  void checkpoints(std::vector<api::Checkpoint>& answer, const std::string& name) override {
    require(check_name("the job name", name));
    answer = ask<std::vector<api::Checkpoint>>(
        options_.answer_timeout, [name](auto& service, auto done) { service.checkpoints(name, std::move(done)); });
  }
  void batches(api::BatchProfiles& answer, const std::string& name, const int32_t n, const int64_t before) override {
    require(check_batches(name, n, before));
    answer = ask<api::BatchProfiles>(options_.answer_timeout, [name, n, before](auto& service, auto done) {
      service.batches(name, n, before, std::move(done));
    });
  }
  void workers(std::vector<api::WorkerSummary>& answer) override {
    answer = ask<std::vector<api::WorkerSummary>>(options_.answer_timeout,
                                                  [](auto& service, auto done) { service.workers(std::move(done)); });
  }
  void lag(api::Lag& answer, const std::string& name) override {
    require(check_name("the job name", name));
    answer = ask<api::Lag>(options_.answer_timeout,
                           [name](auto& service, auto done) { service.lag(name, std::move(done)); });
  }

  // Query
  void get(api::Values& answer, const std::string& name, const std::vector<std::string>& keys, const int64_t at_least,
           const std::string& table) override {
    require(check_get(name, keys, at_least, table));
    answer = ask<api::Values>(options_.answer_timeout, [=](auto& service, auto done) {
      service.get(name, keys, at_least, table, std::move(done));
    });
  }
  void top(api::Values& answer, const std::string& name, const int32_t n, const int64_t at_least,
           const std::string& table) override {
    require(check_top(name, n, at_least, table));
    answer = ask<api::Values>(options_.answer_timeout, [=](auto& service, auto done) {
      service.top(name, n, at_least, table, std::move(done));
    });
  }
  void docs(api::Docs& answer, const api::DocsRequest& request) override {
    require(check_docs(request));
    answer = ask<api::Docs>(options_.answer_timeout,
                            [=](auto& service, auto done) { service.docs(request, std::move(done)); });
  }
  void changes(api::Changes& answer, const api::ChangesRequest& request) override {
    require(check_changes(request));
    answer = ask<api::Changes>(std::chrono::milliseconds(request.wait_ms) + options_.answer_timeout,
                               [=](auto& service, auto done) { service.changes(request, std::move(done)); });
  }
  void search(api::Page& answer, const api::SearchRequest& request) override {
    require(check_search(request));
    answer = ask<api::Page>(options_.answer_timeout,
                            [=](auto& service, auto done) { service.search(request, std::move(done)); });
  }
  void totals(api::Totals& answer, const std::string& name, const std::string& table) override {
    require(check_totals(name, table));
    answer = ask<api::Totals>(options_.answer_timeout,
                              [=](auto& service, auto done) { service.totals(name, table, std::move(done)); });
  }
  void dead_letters(api::DeadLetters& answer, const std::string& name, const int32_t limit,
                    const int32_t from_partition, const int64_t from_offset, const std::string& from_topic) override {
    require(check_dead_letters(name, limit, from_partition, from_offset));
    answer = ask<api::DeadLetters>(options_.answer_timeout, [=](auto& service, auto done) {
      service.dead_letters(name, limit, from_partition, from_offset, from_topic, std::move(done));
    });
  }

  // Ingest
  int32_t open_log(const std::string& log, const int32_t partitions) override {
    require(check_open_log(log, partitions));
    const Result<int32_t> opened = store().open_log(log, partitions);
    if (!opened) throw_failure(opened.error());
    return *opened;
  }
  void append(api::AppendResult& answer, const std::string& log, const int32_t partition,
              const std::vector<std::string>& records, const int64_t producer_id, const int64_t sequence,
              const std::vector<std::string>& keys) override {
    require(check_append(log, partition, records, producer_id, sequence));
    const Result<OffsetRange> stored = store().append(log, LogPartition(partition), {records, keys},
                                                      {.producer_id = producer_id, .sequence = sequence});
    if (!stored) throw_failure(stored.error());
    answer.partition = partition;
    answer.first_offset = stored->from.value();
    answer.next_offset = stored->to.value();
  }

  void stop_waiting() { stopping_.request_stop(); }

 private:
  // Calls `call(service, done)` on the loop and waits for the answer; throws api::Failure.
  template <typename T, typename Call>
  T ask(Duration limit, Call call) {
    auto answer = std::make_shared<Answer<T>>();
    loop_.post([&service = service_, call = std::move(call), promise = Promise<T>(answer)]() mutable {
      call(service, ApiService::Done<T>(std::move(promise)));
    });
    std::unique_lock lock(answer->mutex);
    const bool arrived =
        answer->arrived.wait_for(lock, stopping_.get_token(), limit, [&] { return answer->value.has_value(); });
    if (!arrived && stopping_.stop_requested()) {
      throw_failure({ErrorCode::kUnavailable, "the master is shutting down; try again when it is back"});
    }
    if (!arrived) {
      throw_failure({ErrorCode::kTimeout,
                     "the master did not answer within " + std::to_string(to_ms(limit) / 1000) +
                         " s, and may still do what was asked; look at `millrace jobs` before trying again"});
    }
    Result<T> result = std::move(*answer->value);
    lock.unlock();
    if (!result) throw_failure(result.error());
    return std::move(*result);
  }

  IngestStore& store() {
    if (ingest_ == nullptr) throw_failure({ErrorCode::kUnavailable, "this master keeps no embedded log"});
    return *ingest_;
  }

  const ApiServerOptions options_;
  TaskLoop& loop_;       // outlives this
  ApiService& service_;  // outlives this
  IngestStore* ingest_;  // may be null; outlives this
  std::stop_source stopping_;
};

namespace {

// The answer to a message whose own one is larger than an answer may be. All methods have the failure as their field 1.
std::string too_large_failure(std::string_view message, size_t size, size_t most) {
  auto* bytes = reinterpret_cast<uint8_t*>(const_cast<char*>(message.data()));  // read only, as in process()
  TBinaryProtocol in(std::make_shared<TMemoryBuffer>(bytes, static_cast<uint32_t>(message.size())));
  std::string name;
  apache::thrift::protocol::TMessageType type{};
  int32_t sequence = 0;
  in.readMessageBegin(name, type, sequence);
  api::Failure failure;
  failure.kind = api::ErrorKind::INVALID;
  failure.message = "the answer has " + std::to_string(size) + " bytes, and may have " + std::to_string(most) +
                    "; ask for less at once";
  auto output = std::make_shared<TMemoryBuffer>();
  TBinaryProtocol out(output);
  out.writeMessageBegin(name.substr(name.find(':') + 1), apache::thrift::protocol::T_REPLY, sequence);
  out.writeFieldBegin("failure", apache::thrift::protocol::T_STRUCT, 1);
  failure.write(&out);
  out.writeFieldStop();
  out.writeMessageEnd();
  return output->getBufferAsString();
}

// One message in, one answer out. None where the bytes are no call that could be answered.
std::optional<std::string> process(TMultiplexedProcessor& processor, const std::shared_ptr<TConfiguration>& limits,
                                   std::string_view message) {
  // The buffer is only observed, and read only; Thrift's signature has no const.
  auto* bytes = reinterpret_cast<uint8_t*>(const_cast<char*>(message.data()));
  const auto size = static_cast<uint32_t>(message.size());
  auto input = std::make_shared<TMemoryBuffer>(bytes, size, TMemoryBuffer::OBSERVE, limits);
  auto output = std::make_shared<TMemoryBuffer>(1024, limits);
  const int string_limit = limits->getMaxMessageSize();
  auto in = std::make_shared<TBinaryProtocol>(input, string_limit, kMaxContainerElements, true, true);
  auto out = std::make_shared<TBinaryProtocol>(output, string_limit, kMaxContainerElements, true, true);
  try {
    if (!processor.process(in, out, nullptr)) return std::nullopt;
  } catch (const std::exception& exception) {
    LOG_EVERY_N(WARNING, 100) << "--api: a message was refused: " << printable(exception.what());
    if (output->available_read() == 0) return std::nullopt;  // otherwise it says why
  }
  const size_t answer_size = output->available_read();
  const auto most = static_cast<size_t>(string_limit);
  return answer_size > most ? too_large_failure(message, answer_size, most) : output->getBufferAsString();
}

// By the service's name, which a strict binary message has after its version (4 bytes) and its length (4 bytes).
size_t pool_of(std::string_view message) {
  const std::string_view name = message.substr(std::min<size_t>(8, message.size()));
  if (name.starts_with("Query:changes")) return kChangesPool;  // these wait
  if (name.starts_with("Query:")) return kQueryPool;
  if (name.starts_with("Ingest:")) return kIngestPool;
  return kControlPool;
}

}  // namespace

ApiServer::ApiServer(std::shared_ptr<Services> services, std::unique_ptr<FrameServer> server)
    : services_(std::move(services)), server_(std::move(server)) {}

ApiServer::~ApiServer() {
  services_->stop_waiting();
  server_.reset();
}

Result<std::unique_ptr<ApiServer>> ApiServer::start(const ApiServerOptions& options, TaskLoop& loop,
                                                    ApiService& service, IngestStore* ingest) {
  auto services = std::make_shared<Services>(options, loop, service, ingest);
  auto processor = std::make_shared<TMultiplexedProcessor>();
  processor->registerProcessor("Control", std::make_shared<api::ControlProcessor>(services));
  processor->registerProcessor("Query", std::make_shared<api::QueryProcessor>(services));
  processor->registerProcessor("Ingest", std::make_shared<api::IngestProcessor>(services));
  const int most = static_cast<int>(options.max_message_bytes);
  auto limits = std::make_shared<TConfiguration>(most, most, kMaxRecursion);
  FrameServerOptions transport;
  transport.address = options.address;
  transport.max_frame_bytes = options.max_message_bytes;
  transport.max_connections = options.max_connections;
  transport.idle_timeout = options.idle_timeout;
  transport.frame_timeout = options.frame_timeout;
  transport.pool_threads = {8, 64, 16, 64};  // in the order of Pool
  auto server = FrameServer::start(transport, pool_of, [processor, limits](std::string_view message) {
    return process(*processor, limits, message);
  });
  if (!server) return std::unexpected(server.error());
  return std::unique_ptr<ApiServer>(new ApiServer(std::move(services), std::move(*server)));
}

uint16_t ApiServer::port() const {
  return server_->port();
}
size_t ApiServer::connections() const {
  return server_->connections();
}

}  // namespace millrace

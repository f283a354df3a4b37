// millrace: the command line.
#include <glog/logging.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iostream>

#include "adapters/asio_http_caller.h"
#include "adapters/kafka_producer.h"
#include "adapters/settings.h"
#include "client/session.h"
#include "common/model/job_plan.h"
#include "common/model/uri.h"
#include "jobs/load_library.h"
#include "jobs/registry.h"
#include "local/local_run.h"

namespace {

using millrace::Result;
using millrace::Status;

// Connecting takes a moment, and so does the last acknowledgement.
constexpr std::chrono::milliseconds kShortestKafkaWait = std::chrono::seconds(2);

class KafkaAppender : public millrace::client::Appender {
 public:
  KafkaAppender(std::unique_ptr<millrace::KafkaProducer> producer, std::chrono::milliseconds flush_limit)
      : producer_(std::move(producer)), flush_limit_(flush_limit) {}

  Status append(std::vector<std::string> records) override {
    for (const std::string& record : records) {
      if (const Status taken = producer_->append(record); !taken) return taken;
    }
    return {};
  }
  Status finish() override { return producer_->flush(flush_limit_); }
  [[nodiscard]] int64_t durable() const override { return producer_->delivered(); }

 private:
  const std::unique_ptr<millrace::KafkaProducer> producer_;
  const std::chrono::milliseconds flush_limit_;
};

Result<std::unique_ptr<millrace::client::Appender>> open_kafka(const millrace::client::KafkaTarget& target) {
  const auto uri = millrace::parse_uri(target.uri);
  if (!uri) return std::unexpected(uri.error());
  millrace::KafkaOptions options{.brokers = uri->authority, .topic = uri->path, .config = target.config};
  if (!options.config.contains("delivery.timeout.ms"))
    options.config.try_emplace("message.timeout.ms", std::to_string(std::max<int64_t>(target.retry_for.count(), 100)));
  auto producer = millrace::KafkaProducer::open(options, std::max(target.wait, kShortestKafkaWait));
  if (!producer) return std::unexpected(producer.error());
  return std::make_unique<KafkaAppender>(std::move(*producer), target.retry_for + kShortestKafkaWait);
}

Result<std::unique_ptr<millrace::HttpCaller>> make_http_caller(size_t connections) {
  constexpr size_t kOwnDescriptors = 64;
  if (const Status raised = millrace::raise_descriptor_limit(connections + kOwnDescriptors); !raised) {
    return std::unexpected(raised.error());
  }
  return std::make_unique<millrace::AsioHttpCaller>();
}

std::string names_of(const std::vector<millrace::JobType>& types) {
  std::string names;
  for (const auto& type : types) names += (names.empty() ? "" : ", ") + type.name;
  return names;
}

Result<millrace::client::ExplainedJob> explain(const millrace::client::JobToExplain& wanted) {
  std::vector<millrace::JobType> types = millrace::builtin_job_types();
  millrace::JobLibrary code{"", nullptr, millrace::builtin_job_settings, millrace::make_builtin_job};
  std::string name = wanted.type;
  if (!wanted.library.empty()) {
    const auto library = millrace::load_job_library(wanted.bytes, wanted.library);
    if (!library) return std::unexpected(library.error());
    code = **library;
    types = code.types();
    if (name.empty() && types.size() != 1) {
      return millrace::fail(millrace::ErrorCode::kInvalid, "'" + wanted.library + "' has " +
                                                               std::to_string(types.size()) +
                                                               " jobs; choose by --job: " + names_of(types));
    }
    if (name.empty()) name = types.front().name;
  }
  millrace::JobContext context;
  context.settings = wanted.settings;
  context.batch_interval_us = wanted.batch_interval_ms * 1000;
  context.max_record_bytes = wanted.max_record_bytes;
  context.state_partitions = wanted.state_partitions;
  const auto job = code.make(name, context);
  if (!job) return millrace::fail(millrace::ErrorCode::kInvalid, job.error().message);
  const auto settings = code.settings(name, context);
  if (!settings) return std::unexpected(settings.error());
  millrace::client::ExplainedJob explained{.type = name, .settings = wanted.settings};
  explained.plan = millrace::plan_as<millrace::api::JobPlan>(plan_of(**job));
  explained.shape = (*job)->shape();
  explained.description = std::ranges::find(types, name, &millrace::JobType::name)->description;
  for (const auto& setting : *settings) explained.settings.try_emplace(setting.name, setting.default_value);
  return explained;
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  // What libraries report on the way is for daemons; here the outcome is one line.
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = google::GLOG_FATAL;
  google::InitGoogleLogging("millrace");
  millrace::client::Session session{.out = std::cout, .err = std::cerr};
  session.input = STDIN_FILENO;
  session.terminal = isatty(STDOUT_FILENO) != 0;
  session.open_kafka = open_kafka;
  session.start_local_run = millrace::start_local_run;
  session.explain = explain;
  session.make_http_caller = make_http_caller;
  return millrace::client::run_client({argv + 1, argv + argc}, session);
}

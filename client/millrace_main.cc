// millrace: the command line.
#include <glog/logging.h>
#include <unistd.h>

#include <iostream>

#include "adapters/kafka_producer.h"
#include "client/session.h"
#include "common/model/uri.h"

namespace {

using millrace::Result;
using millrace::Status;

class KafkaAppender : public millrace::client::Appender {
 public:
  explicit KafkaAppender(std::unique_ptr<millrace::KafkaProducer> producer) : producer_(std::move(producer)) {}

  Status append(std::vector<std::string> records) override {
    for (const std::string& record : records) {
      if (const Status taken = producer_->append(record); !taken) return taken;
    }
    return {};
  }
  Status finish() override { return producer_->flush(); }
  [[nodiscard]] int64_t durable() const override { return producer_->delivered(); }

 private:
  const std::unique_ptr<millrace::KafkaProducer> producer_;
};

Result<std::unique_ptr<millrace::client::Appender>> open_kafka(const std::string& text,
                                                               const std::map<std::string, std::string>& config) {
  const auto uri = millrace::parse_uri(text);
  if (!uri) return std::unexpected(uri.error());
  auto producer = millrace::KafkaProducer::open({.brokers = uri->authority, .topic = uri->path, .config = config});
  if (!producer) return std::unexpected(producer.error());
  return std::make_unique<KafkaAppender>(std::move(*producer));
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
  return millrace::client::run_client({argv + 1, argv + argc}, session);
}

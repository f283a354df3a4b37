// millrace-gateway: the adapters around a Gateway.

#include <gflags/gflags.h>
#include <malloc.h>

#include <csignal>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "adapters/gunzip.h"
#include "adapters/http_server.h"
#include "adapters/listen.h"
#include "adapters/logging.h"
#include "adapters/open_record_writer.h"
#include "adapters/process_metrics.h"
#include "adapters/remote_api.h"
#include "adapters/settings.h"
#include "adapters/system_clock.h"
#include "client/arguments.h"
#include "common/base/check.h"
#include "common/model/address.h"
#include "common/model/uri.h"
#include "common/runtime/event_loop.h"
#include "gateway/change_streams.h"
#include "gateway/gateway.h"
#include "gateway/health_routes.h"
#include "gateway/ingest_routes.h"
#include "gateway/job_routes.h"
#include "gateway/page_routes.h"
#include "gateway/table_export.h"

DEFINE_string(http, "127.0.0.1:7090", "HOST:PORT where people and programs reach this gateway; port 0: any");
DEFINE_string(api, "127.0.0.1:7071", "HOST:PORT of the master's --api");
DEFINE_string(logs, "text=log://text",
              "the logs that can be appended to: NAME=log://LOG or NAME=kafka://HOST:PORT/TOPIC, separated by commas");
DEFINE_string(text_log, "text", "the NAME of --logs that /submit_text appends to");
DEFINE_string(kafka_config, "", "file of librdkafka settings for the Kafka topics in --logs, name=value lines");
DEFINE_string(auth, "",
              "file of API keys, a line each: NAME ROLE KEY, ROLE one of submit, read, operate, KEY the key or sha256: "
              "and its hash; without it only a loopback address can be listened on");
DEFINE_string(tls_certificate, "",
              "PEM file of the certificate, with those that lead to its authority: answer by HTTPS only; read again on "
              "SIGHUP, as --tls_key is");
DEFINE_string(tls_key, "", "PEM file of the private key of --tls_certificate");
DEFINE_string(cors_origin, "",
              "whose pages may use this gateway besides its own: https://HOST[:PORT]; empty: nobody's");
DEFINE_double(user_rate, 0, "requests a second that one user may send, twice as many at once; 0: any number");
DEFINE_double(total_rate, 0, "requests a second of all users together, twice as many at once; 0: any number");
DEFINE_string(log_format, "text", "of the log on standard error: text, or json: an object a line");
DEFINE_uint64(max_body_bytes, 1 << 20, "of a request's body, also when it is unpacked: 1024 to 8388608");

namespace millrace {
namespace {

// What is under way gets so long when this process is to end; a call of a writer takes no longer.
constexpr auto kDrainTime = std::chrono::seconds(20);

int refuse(const Error& error) {
  std::cerr << "millrace-gateway: " << error.message << std::endl;
  return error.code == ErrorCode::kInvalid ? 2 : 1;
}

Result<GatewayOptions> read_gateway_options() {
  GatewayOptions options{.keys = {}, .cors_origin = FLAGS_cors_origin};
  const auto address = parse_address("--http", FLAGS_http);
  if (!address) return std::unexpected(address.error());
  if (FLAGS_auth.empty()) {
    if (is_loopback(address->host)) return options;
    return fail(ErrorCode::kInvalid,
                "--http=" + FLAGS_http +
                    " can be reached from elsewhere, by anybody; give --auth=FILE with API keys, or "
                    "listen on 127.0.0.1");
  }
  std::ifstream file(FLAGS_auth);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) return fail(ErrorCode::kInvalid, "--auth: the file " + FLAGS_auth + " cannot be read");
  auto keys = ApiKeys::parse(text, FLAGS_auth);
  if (!keys) return std::unexpected(keys.error());
  options.keys = std::move(*keys);
  return options;
}

Result<IngestOptions> read_ingest_options() {
  if (FLAGS_user_rate < 0 || FLAGS_total_rate < 0) {
    return fail(ErrorCode::kInvalid, "--user_rate and --total_rate are numbers of requests a second, or 0: any number");
  }
  if (FLAGS_max_body_bytes < 1024 || FLAGS_max_body_bytes > 8u << 20) {
    return fail(ErrorCode::kInvalid, "--max_body_bytes must be from 1024 to 8388608");
  }
  return IngestOptions{.text_log = FLAGS_text_log,
                       .max_body_bytes = FLAGS_max_body_bytes,
                       .rates = {.user_rate = FLAGS_user_rate, .total_rate = FLAGS_total_rate}};
}

using Writers = std::map<std::string, std::unique_ptr<RecordWriter>>;

// NAME=URI,NAME=URI: what has no = goes on with a list of brokers.
std::vector<std::string> split(const std::string& logs) {
  std::vector<std::string> entries;
  std::istringstream list(logs);
  for (std::string part; std::getline(list, part, ',');) {
    if (entries.empty() || part.find('=') != std::string::npos) {
      entries.push_back(part);
    } else {
      entries.back() += "," + part;
    }
  }
  return entries;
}

Result<Writers> open_writers() {
  std::map<std::string, std::string> config;
  if (!FLAGS_kafka_config.empty()) {
    auto read = client::read_config_file("--kafka_config", FLAGS_kafka_config);
    if (!read) return std::unexpected(read.error());
    config = std::move(*read);
  }
  Writers writers;
  for (const std::string& entry : split(FLAGS_logs)) {
    const size_t equals = std::min(entry.find('='), entry.size());
    const std::string name = entry.substr(0, equals);
    if (const Status valid = check_name("--logs: NAME", name); !valid) return std::unexpected(valid.error());
    auto writer = open_record_writer({entry.substr(std::min(equals + 1, entry.size())), config, FLAGS_api});
    if (!writer) return fail(writer.error().code, "--logs: " + name + ": " + writer.error().message);
    if (!writers.emplace(name, std::move(*writer)).second) {
      return fail(ErrorCode::kInvalid, "--logs names '" + name + "' twice; a name stands for one log");
    }
  }
  if (!writers.contains(FLAGS_text_log)) {
    return fail(ErrorCode::kInvalid, "--text_log=" + FLAGS_text_log + " is none of --logs=" + FLAGS_logs);
  }
  return writers;
}

Result<std::optional<TlsFiles>> read_tls_options() {
  if (FLAGS_tls_certificate.empty() && FLAGS_tls_key.empty()) return std::nullopt;
  if (FLAGS_tls_certificate.empty() || FLAGS_tls_key.empty()) {
    return fail(ErrorCode::kInvalid, "--tls_certificate and --tls_key belong together; give both, or none of them");
  }
  return TlsFiles{FLAGS_tls_certificate, FLAGS_tls_key};
}

sigset_t awaited_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (!FLAGS_tls_certificate.empty()) sigaddset(&signals, SIGHUP);
  return signals;
}

// Until this process is to end.
void wait_for_end(HttpServer& server, const sigset_t& signals) {
  int signal = 0;
  while (true) {
    sigwait(&signals, &signal);
    if (signal != SIGHUP) break;
    const Status read = server.read_certificate_again();
    if (read) LOG(INFO) << "new connections see the certificate that " << FLAGS_tls_certificate << " holds now";
    if (!read) LOG(ERROR) << "the certificate stays as it was: " << read.error();
  }
  LOG(INFO) << "signal " << signal << ": this gateway answers what is under way, and ends";
}

int run(GatewayOptions options, IngestOptions ingest, Writers writers, const HostPort& master) {
  const sigset_t signals = awaited_signals();
  const SystemClock clock;
  GatewayMetrics metrics;
  auto tls = read_tls_options();
  if (!tls) return refuse(tls.error());
  const HttpServerOptions http{.address = FLAGS_http,
                               .max_body_bytes = ingest.max_body_bytes,
                               .tls = std::move(*tls),
                               .headers = Gateway::common_headers(options.cors_origin),
                               .refused = [&metrics](int status) { metrics.unrouted(status); }};
  Gateway gateway(std::move(options), clock, metrics);
  IngestRoutes::Logs logs;
  std::vector<HealthPart> parts;
  for (const auto& [name, writer] : writers) {
    logs.emplace(name, writer.get());
    parts.push_back({"log " + name, [log = writer.get()] {
                       RecordWriter::Health health = log->health();
                       return HealthPart::Health{std::move(health.problem), health.oldest_wait};
                     }});
  }
  PageRoutes::add_to(gateway);
  IngestRoutes ingest_routes(std::move(ingest), std::move(logs), gunzip, clock, metrics);
  ingest_routes.add_to(gateway);
  HealthRoutes health_routes(std::move(parts), [] { return process_metrics_text("millrace-gateway"); });
  health_routes.add_to(gateway);
  const RemoteApiOptions remote{.master = master};
  auto api = std::make_unique<RemoteApi>(remote);
  JobRoutes job_routes(*api, remote.followers);
  job_routes.add_to(gateway);
  TableExport table_export(*api);
  table_export.add_to(gateway);
  EventLoop loop("streams");
  loop.start();
  // Of their own, so that streams go on whoever waits for the other one's threads.
  auto streams_api = std::make_unique<RemoteApi>(RemoteApiOptions{.master = master, .commands = 0, .pages = 0});
  // Those who only listen leave half of the connections to others.
  ChangeStreams streams({.most_readers = bounded_connections(http.max_connections) / 2}, loop, clock, *streams_api);
  streams.add_to(gateway);

  auto server = HttpServer::start(
      http, [&gateway](HttpRequest request, HttpReply reply) { gateway(std::move(request), std::move(reply)); });
  if (!server) return refuse(server.error());
  LOG(INFO) << "millrace-gateway " << MILLRACE_VERSION << " at " << (http.tls ? "https://" : "http://")
            << (*server)->address() << ", master at " << FLAGS_api << ", logs " << FLAGS_logs;

  wait_for_end(**server, signals);
  if (!(*server)->drain(kDrainTime)) LOG(WARNING) << "some requests were not answered";
  // What writers still call finds the server's routes and metrics, and a connection that is gone.
  server->reset();
  writers.clear();
  loop.stop();
  loop.join();
  streams_api.reset();  // what it answers still goes by the streams, whose loop takes nothing any more
  api.reset();
  return 0;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  const millrace::SettingsProgram program = {
      "millrace-gateway", __FILE__,
      "HTTP in front of a Millrace cluster: takes texts and records, and answers when they are durable.\n"
      "Example: millrace-gateway --api=127.0.0.1:7071 --logs='text=log://text'"};
  if (const auto code = millrace::parse_settings(program, argc, argv); code.has_value()) return *code;
  const millrace::LogOptions logs{.format = FLAGS_log_format, .program = program.name, .worker = "", .job = ""};
  if (auto logging = millrace::start_logging(argv[0], logs); !logging) return millrace::refuse(logging.error());
  mallopt(M_ARENA_MAX, 4);
  if (auto raised = millrace::raise_descriptor_limit(); !raised.has_value()) return millrace::refuse(raised.error());
  auto options = millrace::read_gateway_options();
  if (!options) return millrace::refuse(options.error());
  auto ingest = millrace::read_ingest_options();
  if (!ingest) return millrace::refuse(ingest.error());
  // All threads leave the signals to main, so they are blocked before the first begins.
  const sigset_t signals = millrace::awaited_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  const auto master = millrace::parse_address("--api", FLAGS_api);
  if (!master) return millrace::refuse(master.error());
  auto writers = millrace::open_writers();
  if (!writers) return millrace::refuse(writers.error());
  return millrace::run(std::move(*options), std::move(*ingest), std::move(*writers), *master);
}

// millrace-master: the adapters around a Master.

#include <gflags/gflags.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "adapters/api_server.h"
#include "adapters/embedded_log_store.h"
#include "adapters/file_checkpoint_store.h"
#include "adapters/http_status.h"
#include "adapters/logging.h"
#include "adapters/open_log.h"
#include "adapters/open_output.h"
#include "adapters/open_sink.h"
#include "adapters/process_metrics.h"
#include "adapters/rocksdb_metadata_store.h"
#include "adapters/settings.h"
#include "adapters/system_clock.h"
#include "adapters/system_random.h"
#include "adapters/zeromq_network.h"
#include "common/base/check.h"
#include "common/model/address.h"
#include "common/runtime/event_loop.h"
#include "jobs/registry.h"
#include "master/control_service.h"
#include "master/job_store.h"
#include "master/master.h"
#include "master/status_page.h"

DEFINE_string(listen, "127.0.0.1:7070", "HOST:PORT where workers reach this master");
DEFINE_string(advertise, "", "host under which workers reach this master, if it is not that of --listen");
DEFINE_string(api, "127.0.0.1:7071", "HOST:PORT of the Thrift services");
DEFINE_string(http, "127.0.0.1:7072", "HOST:PORT of the status pages: /health, /status, /metrics");
DEFINE_string(data_dir, "", "directory of the batch log, the registry and the embedded logs");
DEFINE_string(
    checkpoints, "",
    "file:///DIR: the checkpoint store, seen by all workers under this name; DATA_DIR/checkpoints if it is not given");
DEFINE_uint64(log_retention_bytes, 0,
              "embedded logs: oldest segments are removed while a partition is larger than this; 0: never");
DEFINE_string(output_directories, "",
              "Directories below which jobs may append to files, separated by commas; empty: none. All hosts see them");
DEFINE_string(
    receiver_directories, "",
    "folders, separated by commas, below which jobs may take files (--source directory:///PATH) and move them "
    "into PATH/.taken; none: no job may");
DEFINE_bool(allow_job_libraries, false,
            "take shared libraries with jobs: whoever reaches --api then runs code as the workers' user");
DEFINE_string(log_format, "text", "of the log on standard error: text, or json: an object a line");
DEFINE_uint64(log_retention_age_s, 0, "embedded logs: segments whose newest record is older are removed; 0: never");

namespace millrace {
namespace {

struct Options {
  std::string listen;
  std::string advertise;
  std::string api;
  std::string http;
  std::filesystem::path data_dir;
  std::string checkpoints;
  EmbeddedLogOptions logs;
};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream stream(list);
  for (std::string part; std::getline(stream, part, ',');) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

int refuse(const Error& error) {
  std::cerr << "millrace-master: " << error.message << std::endl;
  return error.code == ErrorCode::kInvalid ? 2 : 1;
}

// Everything that lives on the control loop, made and destroyed on it.
struct Server {
  std::unique_ptr<RocksdbMetadataStore> metadata;
  std::unique_ptr<FileCheckpointStore> checkpoints;
  std::unique_ptr<ZeroMqNetwork> network;
  std::unique_ptr<Master> master;
  std::unique_ptr<ControlService> service;

  // Those that use others first.
  void close() {
    service.reset();
    master.reset();
    network.reset();
    checkpoints.reset();
    metadata.reset();
  }
};

Status open_server(const Options& options, EventLoop& loop, Clock& clock, Random& random, Server& server) {
  // The address first: where it is taken nothing has been changed yet.
  auto network = ZeroMqNetwork::open({.listen = options.listen, .advertise = options.advertise}, loop);
  if (!network.has_value()) return std::unexpected(network.error());
  server.network = std::move(*network);
  auto metadata = RocksdbMetadataStore::open(loop, options.data_dir.string());
  if (!metadata.has_value()) return std::unexpected(metadata.error());
  server.metadata = std::move(*metadata);
  const Result<Epoch> last = JobStore(*server.metadata).read_epoch();
  if (!last.has_value()) return std::unexpected(last.error());
  using IfMissing = FileCheckpointStore::IfMissing;
  auto checkpoints =
      FileCheckpointStore::open(loop, options.checkpoints, *last == Epoch(0) ? IfMissing::kMake : IfMissing::kRefuse);
  if (!checkpoints.has_value()) {
    const Error& error = checkpoints.error();
    return fail(error.code, "--checkpoints=" + options.checkpoints + " cannot be used: " + error.message);
  }
  server.checkpoints = std::move(*checkpoints);

  MasterOptions master;
  master.self = ProcessId(random.next_id());
  master.version = MILLRACE_VERSION;
  master.checkpoints = options.checkpoints;
  master.logs = (options.data_dir / "logs").string();
  master.api = options.api;
  master.receiver_directories = split(FLAGS_receiver_directories);
  master.output_directories = split(FLAGS_output_directories);
  master.allow_job_libraries = FLAGS_allow_job_libraries;
  server.master = std::make_unique<Master>(
      master,
      Master::Deps{loop, clock, random, *server.network, *server.metadata, *server.checkpoints, make_builtin_job,
                   builtin_job_types(),
                   [&loop, logs = master.logs](const wire::JobSpec& spec) {
                     return open_log(loop, {spec.source, spec.source_config, logs});
                   },
                   [&loop](const wire::JobSpec& spec) {
                     // Whoever submits waits for the answer, and claims and purges are short.
                     return open_sink(
                         loop, {spec.sink, spec.sink_config},
                         [partitions = spec.state_partitions](auto key) { return state_partition_of(key, partitions); },
                         std::chrono::milliseconds(1500));
                   },
                   [&loop](const OutputTarget& target) { return open_output(loop, target); }});
  server.service = std::make_unique<ControlService>(*server.master);
  return {};
}

// Runs `task` on the loop and gives what it returns.
template <typename Task>
Status on_loop(EventLoop& loop, Task task) {
  Status status;
  loop.run_and_wait([&] { status = task(); });
  return status;
}

// What was made, put into its place; or why it could not be made.
template <typename Made>
Status take(Result<Made> made, Made& place) {
  if (!made.has_value()) return std::unexpected(made.error());
  place = std::move(*made);
  return {};
}

Status start_master(EventLoop& loop, Server& server) {
  std::promise<Status> ready;
  loop.post([&] { server.master->start([&](Status status) { ready.set_value(std::move(status)); }); });
  return ready.get_future().get();
}

int run(const Options& options) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);

  SystemClock clock;
  SystemRandom random;
  EventLoop loop("master");
  loop.start();
  Server server;
  const auto close = [&] {
    loop.run_and_wait([&] { server.close(); });
    loop.stop();
    loop.join();
  };

  Status opened = on_loop(loop, [&] { return open_server(options, loop, clock, random, server); });
  std::unique_ptr<EmbeddedLogStore> logs;
  if (opened.has_value()) {
    auto store = EmbeddedLogStore::open(options.data_dir / "logs", options.logs, clock, random);
    if (store.has_value()) {
      logs = std::move(*store);
    } else {
      opened = std::unexpected(store.error());
    }
  }
  // The API and the pages listen before anything is changed for good; until the master takes part they say so.
  std::unique_ptr<ApiServer> api;
  if (opened.has_value()) {
    opened = take(ApiServer::start({.address = options.api}, loop, *server.service, logs.get()), api);
  }
  std::optional<StatusPage> page;
  std::unique_ptr<HttpStatus> http;
  if (opened.has_value()) {
    page.emplace(loop, *server.master, *server.service);
    opened = take(
        HttpStatus::start({.address = options.http,
                           .status_json = [&] { return page->json(); },
                           .metrics_text = [&] { return page->metrics() + process_metrics_text("millrace-master"); },
                           .problem = [&] { return page->problem(); },
                           .pages = {{"/jobs/NAME/batches",
                                      [&](const auto& arguments, const auto& query) {
                                        auto [code, json] = page->batches(arguments.at(0), query);
                                        return HttpPage::Answer{code, std::move(json)};
                                      }}}}),
        http);
  }
  if (opened.has_value()) opened = start_master(loop, server);
  if (!opened.has_value()) {
    http.reset();
    api.reset();
    close();
    return refuse(opened.error());
  }
  LOG(INFO) << "millrace-master " << MILLRACE_VERSION << " epoch " << server.master->epoch() << ": workers at "
            << server.network->local_endpoint().address << ", API at port " << api->port() << ", status at "
            << http->address();

  int signal = 0;
  sigwait(&signals, &signal);
  LOG(INFO) << "signal " << signal << ": this master ends; the jobs go on with its successor";
  http.reset();
  api.reset();
  close();
  return 0;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  const millrace::SettingsProgram program = {
      "millrace-master", __FILE__,
      "The head of a Millrace cluster: cuts streams into batches, schedules them onto workers, answers queries.\n"
      "Example: millrace-master --data_dir=/var/lib/millrace --checkpoints=file:///var/lib/millrace/checkpoints"};
  if (const auto code = millrace::parse_settings(program, argc, argv); code.has_value()) return *code;
  const millrace::LogOptions logs{.format = FLAGS_log_format, .program = program.name, .worker = "", .job = ""};
  if (auto logging = millrace::start_logging(argv[0], logs); !logging) return millrace::refuse(logging.error());
  mallopt(M_ARENA_MAX, 4);
  if (auto raised = millrace::raise_descriptor_limit(); !raised.has_value()) return millrace::refuse(raised.error());
  if (FLAGS_data_dir.empty()) {
    return millrace::refuse(
        {millrace::ErrorCode::kInvalid, "--data_dir is missing; give a directory for the batch log"});
  }
  for (const auto& [flag, value] :
       {std::pair("--listen", FLAGS_listen), std::pair("--api", FLAGS_api), std::pair("--http", FLAGS_http)}) {
    const auto address = millrace::parse_address(flag, value);
    if (!address.has_value()) return millrace::refuse(address.error());
  }
  millrace::Options options{FLAGS_listen,   FLAGS_advertise,   FLAGS_api, FLAGS_http,
                            FLAGS_data_dir, FLAGS_checkpoints, {}};
  constexpr uint64_t kLongestAge = uint64_t{100} * 365 * 86'400;
  options.logs.retention_bytes = FLAGS_log_retention_bytes;
  options.logs.retention_age = std::chrono::seconds(std::min(FLAGS_log_retention_age_s, kLongestAge));
  if (options.checkpoints.empty()) {
    options.checkpoints = "file://" + (std::filesystem::absolute(options.data_dir) / "checkpoints").string();
  }
  return millrace::run(options);
}

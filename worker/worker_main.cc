// millrace-worker: the adapters around an Agent or, with --executor, around an Executor.

#include <gflags/gflags.h>
#include <malloc.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "adapters/file_checkpoint_store.h"
#include "adapters/http_status.h"
#include "adapters/log_receiver.h"
#include "adapters/logging.h"
#include "adapters/open_log.h"
#include "adapters/open_output.h"
#include "adapters/open_sink.h"
#include "adapters/process_launcher.h"
#include "adapters/process_metrics.h"
#include "adapters/settings.h"
#include "adapters/system_clock.h"
#include "adapters/system_random.h"
#include "adapters/zeromq_network.h"
#include "common/base/check.h"
#include "common/metrics/metric_families.h"
#include "common/model/address.h"
#include "common/runtime/event_loop.h"
#include "jobs/load_library.h"
#include "jobs/registry.h"
#include "worker/agent.h"
#include "worker/executor.h"

DEFINE_string(master, "127.0.0.1:7070", "HOST:PORT of the master's --listen");
DEFINE_string(listen, "127.0.0.1:0", "HOST:PORT where the master and other workers reach this one; port 0: any");
DEFINE_string(advertise, "", "host under which others reach this worker, if it is not that of --listen");
DEFINE_int32(lanes, 0, "threads per job; 0: one per core");
DEFINE_int32(lane_timeout, 60,
             "seconds after which a call into a job's code that does not come back is told; 0: never");
DEFINE_string(data_dir, "", "directory of this worker's own files; a worker keeps nothing that it cannot lose");
DEFINE_string(http, "127.0.0.1:0", "HOST:PORT of the status pages: /health, /status, /metrics; port 0: any");
DEFINE_string(log_format, "text", "of the log on standard error: text, or json: an object a line");
// Of an executor: set by the agent that starts it.
DEFINE_bool(executor, false, "(internal) be an executor, started by an agent");
DEFINE_string(job_name, "", "(internal) the executor's job, for people");
DEFINE_string(job, "", "(internal) the executor's job id");
DEFINE_string(process, "", "(internal) the executor's process id");
DEFINE_string(worker, "", "(internal) the executor's agent");
DEFINE_string(checkpoints, "", "(internal) the checkpoint store");
DEFINE_string(logs, "", "(internal) the folder of the embedded logs");

namespace millrace {
namespace {

constexpr int kStartAnew = 75;  // an agent that was declared dead; main() makes a new one of it

struct Options {
  std::string master;
  std::string listen;
  std::string advertise;
  std::string http;
  int32_t lanes = 1;
  int32_t lane_timeout = 60;
  JobId job;
  ProcessId process;
  ProcessId worker;
  std::string log_format;
  std::string job_name;
  std::string checkpoints;
  std::string logs;
};

int refuse(const Error& error) {
  std::cerr << "millrace-worker: " << error.message << std::endl;
  return error.code == ErrorCode::kInvalid ? 2 : 1;
}

std::string host_name() {
  char name[256] = "localhost";
  gethostname(name, sizeof name - 1);
  return name;
}

// An executor's worker is its parent.
std::string worker_name(bool executor) {
  return host_name() + ":" + std::to_string(executor ? getppid() : getpid());
}

LogOptions log_options() {
  return {.format = FLAGS_log_format,
          .program = FLAGS_executor ? "executor" : "millrace-worker",
          .worker = worker_name(FLAGS_executor),
          .job = FLAGS_job_name};
}

sigset_t block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGUSR1);  // wakes the main thread when the role has ended
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

// --- executor --------------------------------------------------------------------------------------------------------

struct ExecutorServer {
  std::unique_ptr<FileCheckpointStore> checkpoints;
  std::unique_ptr<ZeroMqNetwork> network;
  std::unique_ptr<Executor> executor;
};

Status open_executor(const Options& options, EventLoop& loop, Clock& clock,
                     const std::vector<std::unique_ptr<EventLoop>>& lanes, ExecutorServer& server) {
  auto checkpoints = FileCheckpointStore::open(loop, options.checkpoints, FileCheckpointStore::IfMissing::kWait);
  if (!checkpoints.has_value()) return std::unexpected(checkpoints.error());
  server.checkpoints = std::move(*checkpoints);
  auto network = ZeroMqNetwork::open({.listen = options.listen, .advertise = options.advertise}, loop);
  if (!network.has_value()) return std::unexpected(network.error());
  server.network = std::move(*network);

  ExecutorOptions executor;
  executor.process = options.process;
  executor.worker = options.worker;
  executor.job = options.job;
  executor.master = Endpoint{options.master};
  executor.lanes = lanes.size();
  executor.version = MILLRACE_VERSION;
  executor.lane_timeout = std::chrono::seconds(options.lane_timeout);
  Executor::Deps deps{
      loop, clock, *server.network, *server.checkpoints, make_builtin_job, load_job_factory,
      [&loop](const wire::JobSpec& spec) {
        return open_sink(loop, {spec.sink, spec.sink_config}, [partitions = spec.state_partitions](auto key) {
          return state_partition_of(key, partitions);
        });
      },
      [&loop](const OutputTarget& target) { return open_output(loop, target); },
      [&lanes, &options](size_t index) {
        LaneSeams seams;
        seams.loop = lanes.at(index).get();
        seams.make_log = [logs = options.logs](const wire::JobSpec& spec, TaskLoop& lane) {
          return open_log(lane, {spec.source, spec.source_config, logs, spec.start_offsets.size(), spec.topic_id});
        };
        return seams;
      },
      [&loop](const wire::JobSpec& spec, const std::string& api, auto problem) {
        return start_log_receiver(
            {spec.receiver, static_cast<size_t>(spec.max_record_bytes), spec.source, spec.source_config, api}, loop,
            std::move(problem));
      },
      // Nothing that an executor holds in memory is needed any more, so it ends at once.
      [](int code, const std::string& reason) {
        LOG(INFO) << "this executor ends: " << reason;
        google::FlushLogFiles(google::INFO);
        _exit(code);
      }};
  server.executor = std::make_unique<Executor>(executor, std::move(deps));
  server.executor->start();
  return {};
}

int run_executor(const Options& options) {
  // A terminal's Ctrl-C reaches the whole group; an executor ends when its agent says so, or dies with it.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGTERM, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  SystemClock clock;
  std::vector<std::unique_ptr<EventLoop>> lanes;
  for (int32_t i = 0; i < options.lanes; ++i) {
    lanes.push_back(std::make_unique<EventLoop>("lane-" + std::to_string(i)));
    lanes.back()->start();
  }
  EventLoop loop("executor");
  loop.start();
  ExecutorServer server;
  Status opened;
  loop.run_and_wait([&] { opened = open_executor(options, loop, clock, lanes, server); });
  if (!opened.has_value()) {
    LOG(ERROR) << "executor of job " << options.job_name << ": " << opened.error().message;
    google::FlushLogFiles(google::INFO);
    _exit(1);
  }
  loop.join();  // never: the executor ends the process
  return 0;
}

// --- agent -----------------------------------------------------------------------------------------------------------

struct AgentServer {
  std::unique_ptr<ForkLauncher> launcher;
  std::unique_ptr<ZeroMqNetwork> network;
  std::unique_ptr<Agent> agent;
  bool ended = false;
  Agent::Exit why = Agent::Exit::kDrained;
  std::string reason;
};

Status open_agent(const Options& options, const std::string& http, EventLoop& loop, Random& random,
                  AgentServer& server) {
  auto network = ZeroMqNetwork::open({.listen = options.listen, .advertise = options.advertise}, loop);
  if (!network.has_value()) return std::unexpected(network.error());
  server.network = std::move(*network);
  // Executors listen on the agent's host, on ports of their own.
  const Result<HostPort> own = parse_address("--listen", options.listen);
  if (!own.has_value()) return std::unexpected(own.error());
  server.launcher = std::make_unique<ForkLauncher>(
      loop, std::vector<std::string>{"--master=" + options.master, "--lanes=" + std::to_string(options.lanes),
                                     "--lane_timeout=" + std::to_string(options.lane_timeout),
                                     "--listen=" + HostPort{own->host, 0}.text(), "--advertise=" + options.advertise,
                                     "--log_format=" + options.log_format});
  AgentOptions agent;
  agent.self = ProcessId(random.next_id());
  agent.version = MILLRACE_VERSION;
  agent.name = worker_name(false);
  agent.http = http;
  agent.master = Endpoint{options.master};
  agent.lanes = options.lanes;
  auto exit = [&server](Agent::Exit why, const std::string& reason) {
    if (server.ended) return;
    server.ended = true;
    server.why = why;
    server.reason = reason;
    kill(getpid(), SIGUSR1);  // every thread blocks it, and the main thread waits for it
  };
  server.agent = std::make_unique<Agent>(agent, Agent::Deps{loop, *server.network, *server.launcher, exit});
  server.agent->start();
  return {};
}

// Waits until the agent has ended, draining it at the first signal and leaving at once at the second.
void wait_for_end(const sigset_t& signals, EventLoop& loop, AgentServer& server) {
  bool draining = false;
  for (;;) {
    int signal = 0;
    sigwait(&signals, &signal);
    bool ended = false;
    loop.run_and_wait([&] { ended = server.ended; });
    if (ended) return;
    if (signal == SIGUSR1) continue;
    if (draining) {
      LOG(WARNING) << "signal " << signal << " again: this worker ends at once";
      return;
    }
    draining = true;
    LOG(INFO) << "signal " << signal << ": this worker hands over what it holds";
    loop.post([&server] { server.agent->drain(); });
  }
}

std::string agent_metrics(const Agent& agent, int32_t lanes) {
  MetricFamilies families;
  families.gauge("millrace_worker_connected", "1 if the master is there.").add({}, agent.connected() ? 1 : 0);
  families.gauge("millrace_worker_lanes", "Threads for each job.").add({}, lanes);
  families.gauge("millrace_worker_executors", "Executor processes.").add({}, static_cast<double>(agent.executors()));
  families.counter("millrace_worker_executors_started_total", "Executor processes that were started.")
      .add({}, static_cast<double>(agent.executors_started()));
  families.counter("millrace_worker_executors_ended_total", "Executor processes that ended, however.")
      .add({}, static_cast<double>(agent.executors_ended()));
  return families.text();
}

// What the kernel knows of them; what they hold and do they tell the master, see master/cluster_metrics.h.
std::string executor_metrics(const std::vector<ForkLauncher::Running>& executors) {
  MetricFamilies families;
  MetricValues& memory =
      families.gauge("millrace_worker_executor_resident_memory_bytes", "Memory of an executor process that is in RAM.");
  MetricValues& cpu = families.counter("millrace_worker_executor_cpu_seconds_total",
                                       "Processor time of an executor process, user and system.");
  MetricValues& files =
      families.gauge("millrace_worker_executor_open_fds", "File descriptors that an executor process has open.");
  for (const ForkLauncher::Running& executor : executors) {
    const std::optional<ProcessFigures> figures = figures_of_process(executor.pid);
    if (!figures) continue;
    const MetricLabels labels = {{"job_name", executor.job_name}, {"executor", to_string(executor.process)}};
    memory.add(labels, static_cast<double>(figures->resident_bytes));
    cpu.add(labels, figures->cpu_seconds);
    files.add(labels, static_cast<double>(figures->open_files));
  }
  return families.text();
}

int run_agent(const Options& options) {
  const sigset_t signals = block_signals();
  SystemRandom random;
  EventLoop loop("agent");
  loop.start();
  AgentServer server;
  const auto close = [&] {
    loop.run_and_wait([&] {
      server.agent.reset();
      server.launcher.reset();
      server.network.reset();
    });
    loop.stop();
    loop.join();
  };
  const auto ask_agent = [&](auto question) {
    loop.run_and_wait([&] {
      if (server.agent != nullptr) question(*server.agent);
    });
  };
  const auto status = [&] {
    std::string text;
    ask_agent([&](Agent& agent) {
      text = std::string("{\"master_connected\": ") + (agent.connected() ? "true" : "false") +
             ", \"executors\": " + std::to_string(agent.executors()) + "}";
    });
    return text;
  };
  const auto metrics = [&] {
    std::string text;
    std::vector<ForkLauncher::Running> executors;
    ask_agent([&](Agent& agent) {
      text = agent_metrics(agent, options.lanes);
      executors = server.launcher->running();
    });
    return text + executor_metrics(executors) + process_metrics_text("millrace-worker");
  };
  const auto problem = [&] {
    std::string text;
    ask_agent([&](Agent& agent) { text = agent.connected() ? "" : "no master at " + options.master; });
    return text;
  };
  auto http =
      HttpStatus::start({.address = options.http, .status_json = status, .metrics_text = metrics, .problem = problem});
  Status opened;
  if (http.has_value()) {
    loop.run_and_wait([&] { opened = open_agent(options, (*http)->address(), loop, random, server); });
  } else {
    opened = std::unexpected(http.error());
  }
  if (!opened.has_value()) {
    if (http.has_value()) http->reset();
    close();
    return refuse(opened.error());
  }
  LOG(INFO) << "millrace-worker " << MILLRACE_VERSION << ": " << options.lanes << " lanes, master at " << options.master
            << ", status at " << (*http)->address();
  wait_for_end(signals, loop, server);
  http->reset();
  close();
  if (!server.ended) return 0;
  if (server.why != Agent::Exit::kRefused) LOG(INFO) << server.reason;
  switch (server.why) {
    case Agent::Exit::kDrained: return 0;
    case Agent::Exit::kDeclaredDead: return kStartAnew;
    case Agent::Exit::kRefused: return refuse({ErrorCode::kUnavailable, server.reason});
  }
  return 1;
}

// Nothing is kept there yet, but a wrong one is told at once.
Status check_data_dir() {
  if (FLAGS_data_dir.empty()) return {};
  std::error_code failure;
  std::filesystem::create_directories(FLAGS_data_dir, failure);
  if (!failure && access(FLAGS_data_dir.c_str(), W_OK | X_OK) != 0) {
    failure = std::error_code(errno, std::generic_category());
  }
  if (!failure) return {};
  return fail(ErrorCode::kIo, "cannot use the data directory " + FLAGS_data_dir + ": " + failure.message() +
                                  "; give a --data_dir that this user may write");
}

Options read_flags() {
  Options options;
  options.master = FLAGS_master;
  options.listen = FLAGS_listen;
  options.advertise = FLAGS_advertise;
  options.http = FLAGS_http;
  const auto cores = static_cast<int32_t>(std::max(1U, std::thread::hardware_concurrency()));
  options.lanes = FLAGS_lanes > 0 ? FLAGS_lanes : cores;
  options.lane_timeout = FLAGS_lane_timeout;
  options.job = JobId(parse_hex(FLAGS_job));
  options.process = ProcessId(parse_hex(FLAGS_process));
  options.worker = ProcessId(parse_hex(FLAGS_worker));
  options.log_format = FLAGS_log_format;
  options.job_name = FLAGS_job_name;
  options.checkpoints = FLAGS_checkpoints;
  options.logs = FLAGS_logs;
  return options;
}

// glibc would raise the threshold by itself to the size of a large block that was freed. Tables that grow leave blocks
// of all sizes, and what stands between them then keeps nearly as much memory as they take.
void give_memory_back() {
  mallopt(M_ARENA_MAX, 4);
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  const millrace::SettingsProgram program = {
      "millrace-worker", __FILE__,
      "Gives a host's cores to a Millrace cluster: runs an executor process per job.\n"
      "Example: millrace-worker --master=127.0.0.1:7070 --lanes=2"};
  if (const auto code = millrace::parse_settings(program, argc, argv); code.has_value()) return *code;
  if (auto logging = millrace::start_logging(argv[0], millrace::log_options()); !logging) {
    return millrace::refuse(logging.error());
  }
  millrace::give_memory_back();
  if (auto raised = millrace::raise_descriptor_limit(); !raised.has_value()) return millrace::refuse(raised.error());
  if (FLAGS_lanes < 0 || FLAGS_lanes > 256) {
    return millrace::refuse({millrace::ErrorCode::kInvalid, "--lanes must be from 0 to 256"});
  }
  if (FLAGS_lane_timeout < 0) {
    return millrace::refuse({millrace::ErrorCode::kInvalid, "--lane_timeout is a number of seconds, or 0: never"});
  }
  for (const auto& [flag, value] :
       {std::pair("--master", FLAGS_master), std::pair("--listen", FLAGS_listen), std::pair("--http", FLAGS_http)}) {
    const auto address = millrace::parse_address(flag, value);
    if (!address.has_value()) return millrace::refuse(address.error());
  }
  if (auto usable = millrace::check_data_dir(); !usable.has_value()) return millrace::refuse(usable.error());
  const millrace::Options options = millrace::read_flags();
  if (FLAGS_executor) return millrace::run_executor(options);
  const int code = millrace::run_agent(options);
  if (code != millrace::kStartAnew) return code;
  LOG(INFO) << "this worker starts anew";
  execv("/proc/self/exe", argv);
  return 1;
}

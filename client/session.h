// Session: one run of the command line: where it reads and writes, what was asked of it, and the command to run.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "client/job_library.h"
#include "client/local_run.h"
#include "client/output.h"
#include "common/base/error.h"
#include "common/model/address.h"
#include "common/seams/http_caller.h"

namespace CLI {
class App;
}

namespace millrace::client {

// Takes records, and knows how many of them are durable. One thread uses it.
class Appender {
 public:
  virtual ~Appender() = default;
  // May block while enough is under way. After an error nothing further is taken.
  virtual Status append(std::vector<std::string> records) = 0;
  // Waits until everything taken is durable.
  virtual Status finish() = 0;
  [[nodiscard]] virtual int64_t durable() const = 0;
};

// Which topic, and how long brokers that are away are waited for: at the start, and by a record under way.
struct KafkaTarget {
  std::string uri;
  std::map<std::string, std::string> config;
  std::chrono::milliseconds wait{0};
  std::chrono::milliseconds retry_for{0};
};

// Opens a Kafka topic for appending; main gives the one of the adapters, tests a fake.
using OpenKafka = std::function<Result<std::unique_ptr<Appender>>(const KafkaTarget& target)>;

// For so many connections; main gives the one of the adapters.
using MakeHttpCaller = std::function<Result<std::unique_ptr<HttpCaller>>(size_t connections)>;

struct Session {
  std::ostream& out;
  std::ostream& err;
  int input = 0;          // descriptor that `append` and `run` read
  bool terminal = false;  // `out` is one
  OpenKafka open_kafka;
  StartLocalRun start_local_run;
  ExplainJob explain;
  MakeHttpCaller make_http_caller;

  // Filled by parsing the arguments.
  HostPort master;
  std::chrono::milliseconds wait{0};                                   // for a master that does not listen yet
  std::chrono::milliseconds greeting_limit = std::chrono::seconds(8);  // for a sign that it is a master
  bool json = false;
  std::function<Status(Session&)> command;
  bool invalid_is_usage = false;  // set by a command whose kInvalid means what was typed, whoever found it

  [[nodiscard]] Output output() const { return {.stream = out, .json = json, .terminal = terminal}; }
};

// One per group of commands; each command sets session.command when it was the one that was typed.
void add_submit_command(CLI::App& app, Session& session);
void add_job_commands(CLI::App& app, Session& session);
void add_query_commands(CLI::App& app, Session& session);
void add_watch_command(CLI::App& app, Session& session);
void add_changes_command(CLI::App& app, Session& session);
void add_append_command(CLI::App& app, Session& session);
void add_explain_command(CLI::App& app, Session& session);
void add_upgrade_command(CLI::App& app, Session& session);
void add_simulate_command(CLI::App& app, Session& session);
void add_run_command(CLI::App& app, Session& session);

// The whole program: 0 done, 1 failed, 2 wrong usage. Errors are one line on `err`.
int run_client(const std::vector<std::string>& arguments, Session& session);

}  // namespace millrace::client

// simulate-users: users who send texts to gateways, and whether a job counts exactly what they have sent.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>

#include "client/options.h"
#include "client/output.h"
#include "client/screen.h"
#include "client/simulated_check.h"
#include "client/simulated_users.h"

namespace millrace::client {
namespace {

struct SimulateArguments {
  std::vector<std::string> gateways = {"http://127.0.0.1:7090"};
  std::string job = "words";
  bool no_check = false;
  std::string api_key;
  size_t users = 200;
  std::string rate = "5/s";
  std::string duration = "30s";
  std::string patience = "30s";
  std::string salt;
  uint64_t seed = 1;
};

constexpr size_t kMostUsers = 20'000;

// N/s, N/m, or N a second.
Result<double> parse_rate(const std::string& text) {
  double rate = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), rate);
  const std::string unit(read.ptr, text.data() + text.size());
  if (unit == "/m") rate /= 60;
  if (read.ec != std::errc() || (!unit.empty() && unit != "/s" && unit != "/m") || !(rate > 0 && rate <= 1000)) {
    return fail(ErrorCode::kInvalid, "'" + text + "' is no rate; expected e.g. 5/s or 30/m, at most 1000/s");
  }
  return rate;
}

Result<HostPort> parse_gateway(const std::string& text) {
  constexpr std::string_view kScheme = "http://";
  std::string address = text;
  if (address.starts_with(kScheme)) address.erase(0, kScheme.size());
  if (address.ends_with('/')) address.pop_back();
  const auto parsed = parse_address("the gateway", address);
  if (!parsed) return fail(ErrorCode::kInvalid, "'" + text + "' is no gateway; expected http://HOST:PORT");
  return *parsed;
}

std::string hexadecimal(uint64_t number) {
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(number));
  return text;
}

SimulationOptions options_of(const SimulateArguments& arguments) {
  SimulationOptions options{.gateways = {}, .headers = {}, .salt = arguments.salt, .key_base = ""};
  for (const std::string& gateway : arguments.gateways) options.gateways.push_back(parse_gateway(gateway).value());
  if (!arguments.api_key.empty()) options.headers.emplace_back("Authorization", "Bearer " + arguments.api_key);
  options.users = arguments.users;
  options.rate = parse_rate(arguments.rate).value();
  options.duration = std::chrono::milliseconds(parse_duration_ms(arguments.duration).value());
  options.patience = std::chrono::milliseconds(parse_duration_ms(arguments.patience).value());
  options.seed = arguments.seed;
  std::random_device random;
  options.key_base = hexadecimal(uint64_t{random()} << 32 | random());
  return options;
}

nlohmann::ordered_json json_of(SimulationFigures& figures, double seconds) {
  const auto rounded = [](double value) { return std::round(value * 100) / 100; };
  nlohmann::ordered_json object = {{"sent", figures.sent},         {"accepted", figures.accepted},
                                   {"refused", figures.refused},   {"errors", figures.errors},
                                   {"given_up", figures.given_up}, {"unknown", figures.unknown}};
  object["accepted_per_s"] = rounded(static_cast<double>(figures.accepted) / seconds);
  for (const auto& [name, share] : {std::pair("p50_ms", 0.5), {"p90_ms", 0.9}, {"p99_ms", 0.99}, {"max_ms", 1.0}})
    object[name] = rounded(figures.quantile(share));
  return object;
}

std::string line_of(SimulationFigures& figures, double seconds) {
  char line[256];
  std::snprintf(line, sizeof(line),
                "sent %lld, accepted %lld (%.0f/s), refused %lld, errors %lld; p50 %.1f, p99 %.1f, max %.1f ms",
                static_cast<long long>(figures.sent), static_cast<long long>(figures.accepted),
                static_cast<double>(figures.accepted) / seconds, static_cast<long long>(figures.refused),
                static_cast<long long>(figures.errors), figures.quantile(0.5), figures.quantile(0.99),
                figures.quantile(1));
  return line;
}

void print_second(const Output& output, int64_t second, SimulationFigures figures) {
  if (output.json) {
    nlohmann::ordered_json object = {{"second", second}};
    object.update(json_of(figures, 1));
    print_json(output, object);
    output.stream << std::flush;
    return;
  }
  char head[16];
  std::snprintf(head, sizeof(head), "%3lld s  ", static_cast<long long>(second));
  output.stream << head << line_of(figures, 1) << "\n" << std::flush;
}

std::string described(const SimulationCheck::Difference& difference) {
  const bool known = difference.least == difference.most;
  return "'" + difference.key + "' was sent " + (known ? "" : "from " + std::to_string(difference.least) + " to ") +
         std::to_string(difference.most) + " times and counted " + std::to_string(difference.counted) + " times";
}

// What the check has found, or that there was none.
struct Verdict {
  std::string job;  // empty: nothing was checked
  bool of_users = false;
  std::vector<SimulationCheck::Difference> differences;
};

Status report(const Output& output, const SimulatedUsers& users, double seconds, const Verdict& verdict) {
  SimulationFigures figures = users.figures();
  const bool exact = verdict.differences.empty() && figures.unknown == 0;
  int64_t sent = 0;
  for (const auto& [key, count] : verdict.of_users ? users.texts() : users.words()) sent += count;
  if (output.json) {
    nlohmann::ordered_json object = {{"seconds", std::round(seconds * 100) / 100}};
    object.update(json_of(figures, seconds));
    object["idempotency_keys"] = users.with_keys();
    if (!verdict.job.empty()) object["exact"] = exact;
    print_json(output, object);
  } else {
    output.stream << "in all  " << line_of(figures, seconds) << "\n";
    if (figures.given_up > 0) {
      output.stream << counted(figures.given_up, "texts") << " given up, and nothing of them is stored\n";
    }
    if (!users.with_keys())
      output.stream << "this log takes no Idempotency-Key, so none was sent again after a lost answer\n";
    if (!verdict.job.empty()) {
      output.stream << "the job '" << verdict.job << "' was sent "
                    << counted(sent, verdict.of_users ? "texts" : "words") << "; exact: " << (exact ? "yes" : "no")
                    << "\n";
    }
  }
  if (!verdict.differences.empty()) {
    return fail(ErrorCode::kInternal, std::to_string(verdict.differences.size()) + " counts of the job '" +
                                          verdict.job +
                                          "' are not what was sent: " + described(verdict.differences.front()) +
                                          "; does somebody else send the same? Then use --salt");
  }
  if (figures.unknown > 0) {
    return fail(ErrorCode::kTimeout,
                counted(figures.unknown, "texts") +
                    " may be stored or not, since their answers were lost; the counts are within that");
  }
  return {};
}

Status simulate(Session& session, const SimulateArguments& arguments) {
  end_at_interrupt();
  const Output output = session.output();
  const SimulationOptions options = options_of(arguments);
  const auto caller = session.make_http_caller(options.users);
  if (!caller) return std::unexpected(caller.error());
  SimulationCheck check(options, arguments.job, **caller);
  if (!arguments.no_check) {
    if (const Status begun = check.begin(session.wait); !begun) return begun;
  }
  const auto begin = std::chrono::steady_clock::now();
  SimulatedUsers users(options, **caller, [&](int64_t second, SimulationFigures figures) {
    print_second(output, second, std::move(figures));
  });
  if (const Status sent = users.run(); !sent) return sent;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  Verdict verdict;
  if (!arguments.no_check) {
    auto differences = check.end(users);
    if (!differences) return std::unexpected(differences.error());
    verdict = {arguments.job, check.of_users(), std::move(*differences)};
  }
  return report(output, users, seconds, verdict);
}

std::string check_salt(const std::string& text) {
  const bool plain = std::ranges::all_of(text, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
  return plain && text.size() <= 32 ? "" : "a salt has up to 32 letters a to z and digits";
}

template <typename Parse>
CLI::Validator checked(Parse parse) {
  return CLI::Validator(
      [parse](const std::string& text) {
        const auto parsed = parse(text);
        return parsed ? std::string() : parsed.error().message;
      },
      "");
}

}  // namespace

void add_simulate_command(CLI::App& app, Session& session) {
  const auto [command, arguments] = add_command<SimulateArguments>(
      app, session, "simulate-users",
      "Send texts to gateways as many users would, and check that a job counts each word once",
      "  millrace simulate-users --users 200 --rate 5/s --duration 30s\n"
      "  millrace simulate-users --gateway http://127.0.0.1:7090 --gateway http://127.0.0.1:7091 --job words\n"
      "A text goes out at its time, whatever became of those before it, and its latency counts from then. It is sent\n"
      "again, at the next gateway, until it is answered: after a lost answer with an Idempotency-Key, where the log\n"
      "takes one. In the end the job has to count each word (of a user_counts each user) as often more than before as\n"
      "it was sent. Exit code 1: it does not, or that cannot be known.",
      simulate);
  command->add_option("--gateway", arguments->gateways, "http://HOST:PORT; several times for several")
      ->check(checked(parse_gateway))
      ->take_all()
      ->capture_default_str();
  command->add_option("--job", arguments->job, "A word_count or user_counts that reads what the gateways are sent")
      ->check([](const std::string& text) { return problem_of(check_name("the name", text)); })
      ->capture_default_str();
  command->add_flag("--no-check", arguments->no_check, "Only send");
  command
      ->add_option("--api-key", arguments->api_key,
                   "Of the gateways; better in the environment, where ps shows it to nobody")
      ->envname("MILLRACE_API_KEY");
  command->add_option("--users", arguments->users, "How many")
      ->check(CLI::Range(size_t{1}, kMostUsers))
      ->capture_default_str();
  command->add_option("--rate", arguments->rate, "Texts of each user, on average: N/s or N/m")
      ->check(checked(parse_rate))
      ->capture_default_str();
  command->add_option("--duration", arguments->duration, "How long they send")
      ->check(check_duration)
      ->capture_default_str();
  command->add_option("--patience", arguments->patience, "How long a text is tried again, before it is given up")
      ->check(check_duration)
      ->capture_default_str();
  command->add_option("--seed", arguments->seed, "The same one: the same texts at the same times")
      ->capture_default_str();
  command
      ->add_option("--salt", arguments->salt,
                   "The end of each word and user, so that others who send to the same job do not disturb the check")
      ->check(check_salt);
}

}  // namespace millrace::client

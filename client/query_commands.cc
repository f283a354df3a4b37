// get, top, docs, search, export, totals, dead-letters: the Query service.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "client/connection.h"
#include "client/options.h"
#include "client/output.h"
#include "common/model/csv.h"

namespace millrace::client {
namespace {

struct GetArguments {
  std::string name;
  std::vector<std::string> words;
  std::string table;
};

struct TopArguments {
  std::string name;
  int32_t n = 10;
  std::string table;
};

struct DocsArguments {
  std::string name;
  std::string word;
  std::string table;
  int32_t limit = 10;
  std::string after;
};

struct DeadLetterArguments {
  std::string name;
  int32_t limit = 100;
  int32_t from_partition = 0;
  int64_t from_offset = 0;
  std::string from_topic;
};

Status get(Session& session, const GetArguments& arguments) {
  Connection connection(session);
  const auto values = connection.call<api::Values>([&](auto& services, auto& answer) {
    services.query.get(answer, arguments.name, arguments.words, 0, arguments.table);
  });
  if (!values) return std::unexpected(values.error());
  if (session.json) {
    print_json(session.output(), json_of(*values, true));
  } else {
    print_values(session.output(), *values);
    // It may be a value, too.
    const auto missing = std::ranges::count(values->values, false, &api::Value::found);
    if (missing > 0) {
      session.err << "millrace: shown as -, since there is no such key: " << missing << " of " << values->values.size()
                  << "\n";
    }
  }
  return {};
}

Status top(Session& session, const TopArguments& arguments) {
  Connection connection(session);
  const auto values = connection.call<api::Values>([&](auto& services, auto& answer) {
    services.query.top(answer, arguments.name, arguments.n, 0, arguments.table);
  });
  if (!values) return std::unexpected(values.error());
  if (session.json) {
    print_json(session.output(), json_of(*values, false));
  } else {
    print_values(session.output(), *values);
  }
  return {};
}

Status docs(Session& session, const DocsArguments& arguments) {
  api::DocsRequest request;
  request.name = arguments.name;
  request.key = arguments.word;
  request.table = arguments.table;
  request.limit = arguments.limit;
  request.after = arguments.after;
  Connection connection(session);
  const auto page =
      connection.call<api::Docs>([&](auto& services, auto& answer) { services.query.docs(answer, request); });
  if (!page) return std::unexpected(page.error());
  const Output output = session.output();
  if (output.json) {
    print_json(output, json_of(*page, arguments.word));
    return {};
  }
  for (const api::Doc& doc : page->docs) output.stream << output.shown(doc.member) << "\t" << doc.count << "\n";
  if (!page->next_page.empty()) session.err << "more of them: --after " << page->next_page << "\n";
  return {};
}

struct TableArguments {
  std::string name;
  std::string prefix;
  std::string table;
  int32_t limit = 100;
  std::string after;
  bool spreadsheet = false;
};

api::SearchRequest search_of(const TableArguments& arguments) {
  api::SearchRequest request;
  request.name = arguments.name;
  request.prefix = arguments.prefix;
  request.table = arguments.table;
  request.limit = arguments.limit;
  request.after = arguments.after;
  return request;
}

Status search(Session& session, const TableArguments& arguments) {
  Connection connection(session);
  const auto page = connection.call<api::Page>(
      [&](auto& services, auto& answer) { services.query.search(answer, search_of(arguments)); });
  if (!page) return std::unexpected(page.error());
  const Output output = session.output();
  if (output.json) {
    print_json(output, json_of(*page));
    return {};
  }
  for (const api::Value& entry : page->entries) {
    output.stream << output.shown(entry.key) << "\t" << output.shown(entry.text) << "\n";
  }
  if (!page->next_page.empty()) session.err << "more of them: --after " << page->next_page << "\n";
  return {};
}

Status export_table(Session& session, const TableArguments& arguments) {
  api::SearchRequest request = search_of(arguments);
  request.limit = 1000;
  const auto append = arguments.spreadsheet ? append_csv_text : append_csv_column;
  Connection connection(session);
  std::ostream& out = session.output().stream;
  for (bool first = true; first || !request.after.empty(); first = false) {
    const auto page =
        connection.call<api::Page>([&](auto& services, auto& answer) { services.query.search(answer, request); });
    if (!page) {
      const char* const half = first ? "" : "; what was written is not the whole table";
      return fail(page.error().code, page.error().message + half);
    }
    std::string lines = first ? "key,value\r\n" : "";
    if (first) session.err << "as of batch " << page->as_of.batch << "\n";
    for (const api::Value& entry : page->entries) {
      append(lines, entry.key);
      lines += ',';
      append(lines, entry.text);
      lines += "\r\n";
    }
    if (!out.write(lines.data(), std::ssize(lines))) return fail(ErrorCode::kIo, "the output cannot be written");
    request.after = page->next_page;
  }
  return {};
}

Status totals(Session& session, const TableArguments& arguments) {
  Connection connection(session);
  const auto counted = connection.call<api::Totals>(
      [&](auto& services, auto& answer) { services.query.totals(answer, arguments.name, arguments.table); });
  if (!counted) return std::unexpected(counted.error());
  const Output output = session.output();
  if (output.json) {
    print_json(output, json_of(*counted));
    return {};
  }
  output.stream << counted->keys << " keys";
  if (counted->__isset.sum) output.stream << ", values that sum to " << counted->sum;
  output.stream << ", as of batch " << counted->as_of.batch << "\n";
  return {};
}

Status dead_letters(Session& session, const DeadLetterArguments& arguments) {
  Connection connection(session);
  const auto letters = connection.call<api::DeadLetters>([&](auto& services, auto& answer) {
    services.query.dead_letters(answer, arguments.name, arguments.limit, arguments.from_partition,
                                arguments.from_offset, arguments.from_topic);
  });
  if (!letters) return std::unexpected(letters.error());
  const Output output = session.output();
  if (output.json) {
    print_json(output, json_of(*letters));
    return {};
  }
  if (!letters->letters.empty()) {
    Table table({"TOPIC", "PARTITION", "OFFSET", "TIME", "REASON"});
    for (const auto& letter : letters->letters) {
      table.add({output.shown(letter.topic), std::to_string(letter.partition), std::to_string(letter.offset),
                 time_text(letter.timestamp_ms), output.shown(letter.reason)});
    }
    table.print(output);
  }
  output.stream << letters->letters.size() << " shown of " << counted(letters->total, "dead letters") << "\n";
  return {};
}

}  // namespace

void add_query_commands(CLI::App& app, Session& session) {
  const auto [get_command, get_arguments] =
      add_command<GetArguments>(app, session, "get", "Print the counts of words, as of the newest applied batch",
                                "  millrace get wc the of and\n  millrace --json get wc the\n"
                                "  millrace get wc -- --word-that-begins-with-dashes",
                                get);
  add_job_name(get_command, get_arguments->name);
  get_command->add_option("WORD", get_arguments->words, "Words to look up; one that there is not is shown as -")
      ->required();
  get_command->add_option("--table", get_arguments->table, "One of those that the job publishes; if none, its first");

  const auto [top_command, top_arguments] =
      add_command<TopArguments>(app, session, "top", "Print the words with the highest counts",
                                "  millrace top wc\n  millrace top wc -n 100", top);
  add_job_name(top_command, top_arguments->name);
  top_command->add_option("-n", top_arguments->n, "How many")->check(CLI::Range(1, 1000))->capture_default_str();
  top_command->add_option("--table", top_arguments->table,
                          "One of those that the job publishes; if none, its first with a rank");

  const auto [docs_command, docs_arguments] = add_command<DocsArguments>(
      app, session, "docs", "Print the documents in which a word occurs most often, of a job that is an index",
      "  millrace docs index sea\n  millrace docs index sea --limit 100 --after 3:moby-dick\n"
      "  millrace --json docs index sea",
      docs);
  add_job_name(docs_command, docs_arguments->name);
  docs_command->add_option("WORD", docs_arguments->word, "Word to look up")->required();
  docs_command->add_option("--table", docs_arguments->table, "Of a job with several indexes: which one");
  docs_command->add_option("--limit", docs_arguments->limit, "At most so many")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  docs_command->add_option("--after", docs_arguments->after, "The page behind one that said this");

  const auto add_table = [](CLI::App* of, std::string& table) {
    of->add_option("--table", table, "One of those that the job publishes; if none, its first");
  };
  const auto [search_command, search_arguments] = add_command<TableArguments>(
      app, session, "search", "List the words that begin with some letters, as of the newest checkpoint",
      "  millrace search wc inter\n  millrace --json search wc inter --limit 1000", search);
  add_job_name(search_command, search_arguments->name);
  search_command->add_option("PREFIX", search_arguments->prefix, "What they begin with; if none, all of them");
  search_command->add_option("--limit", search_arguments->limit, "At most so many")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  search_command->add_option("--after", search_arguments->after, "The page behind one that said this");
  add_table(search_command, search_arguments->table);

  const auto [export_command, export_arguments] = add_command<TableArguments>(
      app, session, "export", "Write all counts as CSV to standard output, all as of one batch",
      "  millrace export wc > counts.csv\n  millrace export wc --prefix inter", export_table);
  add_job_name(export_command, export_arguments->name);
  export_command->add_option("--prefix", export_arguments->prefix, "Only of words that begin with this");
  export_command->add_flag("--spreadsheet", export_arguments->spreadsheet,
                           "Put an apostrophe before what a spreadsheet would take for a formula");
  add_table(export_command, export_arguments->table);

  const auto [totals_command, totals_arguments] =
      add_command<TableArguments>(app, session, "totals", "Print how many words there are, and the sum of their counts",
                                  "  millrace totals wc\n  millrace --json totals wc", totals);
  add_job_name(totals_command, totals_arguments->name);
  add_table(totals_command, totals_arguments->table);

  const auto [command, arguments] = add_command<DeadLetterArguments>(
      app, session, "dead-letters", "List the records that could not be processed, the oldest kept first",
      "  millrace dead-letters wc\n  millrace dead-letters wc --limit 10 --from-partition 2 --from-offset 12345",
      dead_letters);
  add_job_name(command, arguments->name);
  command->add_option("--limit", arguments->limit, "At most so many")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  command->add_option("--from-topic", arguments->from_topic,
                      "Of a source of several topics: begin with this one; else the first");
  command->add_option("--from-partition", arguments->from_partition, "Begin with this partition")
      ->check(CLI::Range(0, std::numeric_limits<int32_t>::max()));
  command->add_option("--from-offset", arguments->from_offset, "Begin with this offset of it")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()));
}

}  // namespace millrace::client

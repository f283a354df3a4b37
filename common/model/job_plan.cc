#include "common/model/job_plan.h"

#include <map>

#include "common/model/uri.h"

namespace millrace {

Status check_tables(const std::vector<TablePlan>& tables) {
  if (tables.empty() || tables.size() > JobPlan::kMaxTables) {
    return fail(ErrorCode::kInvalid, "the job publishes " + std::to_string(tables.size()) +
                                         " tables; there can be 1 to " + std::to_string(JobPlan::kMaxTables));
  }
  std::map<std::string, std::string> kinds = {{"fence", ""}, {"status", ""}};
  const auto check = [&kinds](const std::string& kind, const std::string& name) -> Status {
    if (Status named = check_name("the name of a " + kind, name); !named) return named;
    const auto [before, is_new] = kinds.try_emplace(name, kind);
    if (is_new) return {};
    if (before->second.empty()) {
      return fail(ErrorCode::kInvalid, "no " + kind + " can be named '" + name + "'; the sink uses that");
    }
    const std::string both = before->second == kind ? "two " + kind + "s are" : "a table and a rank are";
    return fail(ErrorCode::kInvalid, both + " both named '" + name + "'; rename one of them");
  };
  for (const TablePlan& table : tables) {
    if (Status good = check("table", table.name); !good) return good;
    if (table.rank_size < 0 || (table.rank_size == 0) != table.rank.empty()) {
      return fail(ErrorCode::kInvalid, "a rank needs a name and a size, and no rank has neither");
    }
    if (table.form < TableForm::kHash || table.form > TableForm::kIndex) {
      return fail(ErrorCode::kInvalid, "table '" + table.name + "' has a form that this program does not know");
    }
  }
  for (const TablePlan& table : tables) {
    if (table.rank.empty()) continue;
    if (Status good = check("rank", table.rank); !good) return good;
  }
  return {};
}

Result<size_t> find_table(const std::vector<TablePlan>& tables, const std::string& name, WantedTable wanted,
                          const std::string& job) {
  const auto fits = [wanted](const TablePlan& table) {
    if (wanted == WantedTable::kIndex) return table.form == TableForm::kIndex;
    return wanted == WantedTable::kAny || !table.rank.empty();
  };
  std::string names;
  for (size_t number = 0; number < tables.size(); ++number) {
    const TablePlan& table = tables[number];
    names += (names.empty() ? "" : ", ") + table.name;
    if (name.empty() ? !fits(table) : name != table.name) continue;
    if (fits(table)) return number;
    return fail(ErrorCode::kInvalid,
                "table '" + name + "' of " + job + (wanted == WantedTable::kIndex ? " is no index" : " has no rank"));
  }
  if (name.empty()) {
    return fail(ErrorCode::kInvalid, job + (wanted == WantedTable::kIndex ? " has no index" : " has no rank"));
  }
  return fail(ErrorCode::kNotFound, job + " has no table '" + name + "'; it publishes " + names);
}

}  // namespace millrace

#include "common/model/job_plan.h"

#include <gtest/gtest.h>

namespace millrace {
namespace {

constexpr char kJob[] = "job 'shop'";

std::vector<TablePlan> three_tables() {
  return {{.name = "visits", .rank = {}},
          {.name = "sales", .rank = "best", .rank_size = 10},
          {.name = "returns", .rank = "worst", .rank_all = true, .rank_size = 5}};
}

std::vector<TablePlan> with_index() {
  std::vector<TablePlan> tables = three_tables();
  tables.push_back({.name = "words", .form = TableForm::kIndex, .rank = {}});
  return tables;
}

TEST(FindTableTest, a_name_means_its_table_and_none_the_first_one_that_will_do) {
  EXPECT_EQ(find_table(three_tables(), "", WantedTable::kAny, kJob), 0U);
  EXPECT_EQ(find_table(three_tables(), "", WantedTable::kRanked, kJob), 1U);
  for (const WantedTable wanted : {WantedTable::kAny, WantedTable::kRanked}) {
    EXPECT_EQ(find_table(three_tables(), "sales", wanted, kJob), 1U);
    EXPECT_EQ(find_table(three_tables(), "returns", wanted, kJob), 2U);
  }
  EXPECT_EQ(find_table(three_tables(), "visits", WantedTable::kAny, kJob), 0U);
  EXPECT_EQ(find_table(with_index(), "", WantedTable::kIndex, kJob), 3U);
  EXPECT_EQ(find_table(with_index(), "words", WantedTable::kIndex, kJob), 3U);
}

TEST(FindTableTest, what_is_not_there_is_said_with_what_is) {
  for (const WantedTable wanted : {WantedTable::kAny, WantedTable::kRanked}) {
    const auto unknown = find_table(three_tables(), "best", wanted, kJob);
    ASSERT_FALSE(unknown);
    EXPECT_EQ(unknown.error().code, ErrorCode::kNotFound);
    EXPECT_EQ(unknown.error().message, "job 'shop' has no table 'best'; it publishes visits, sales, returns");
  }
  const auto without_rank = find_table(three_tables(), "visits", WantedTable::kRanked, kJob);
  ASSERT_FALSE(without_rank);
  EXPECT_EQ(without_rank.error().code, ErrorCode::kInvalid);
  EXPECT_EQ(without_rank.error().message, "table 'visits' of job 'shop' has no rank");
  const auto none = find_table({three_tables().front()}, "", WantedTable::kRanked, kJob);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kInvalid);
  EXPECT_EQ(none.error().message, "job 'shop' has no rank");
  EXPECT_EQ(find_table(three_tables(), "", WantedTable::kIndex, kJob).error().message, "job 'shop' has no index");
  EXPECT_EQ(find_table(with_index(), "sales", WantedTable::kIndex, kJob).error().message,
            "table 'sales' of job 'shop' is no index");
}

std::string refusal(const std::vector<TablePlan>& tables) {
  const Status checked = check_tables(tables);
  return checked ? "" : checked.error().message;
}

TEST(CheckTablesTest, names_differ_from_each_other_and_from_the_notes_of_a_sink) {
  EXPECT_EQ(refusal(three_tables()), "");
  std::vector<TablePlan> tables = three_tables();
  tables[2].rank = "visits";
  EXPECT_EQ(refusal(tables), "a table and a rank are both named 'visits'; rename one of them");
  tables[2].rank = "best";
  EXPECT_EQ(refusal(tables), "two ranks are both named 'best'; rename one of them");
  tables[2].rank = "status";
  EXPECT_EQ(refusal(tables), "no rank can be named 'status'; the sink uses that");
  tables[2].name = "sales";
  EXPECT_EQ(refusal(tables), "two tables are both named 'sales'; rename one of them");
  EXPECT_EQ(refusal({}), "the job publishes 0 tables; there can be 1 to 32");
  EXPECT_EQ(refusal({{.name = "visits", .rank = "best"}}), "a rank needs a name and a size, and no rank has neither");
}

}  // namespace
}  // namespace millrace

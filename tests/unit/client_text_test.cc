// What the command line reads and writes, without a master.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "client/arguments.h"
#include "client/batch_table.h"
#include "client/job_drawing.h"
#include "client/line_reader.h"
#include "client/output.h"
#include "common/model/duration.h"

namespace millrace::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(ArgumentsTest, DurationsAreAWholeNumberAndAUnit) {
  EXPECT_EQ(parse_duration_ms("100ms").value(), 100);
  EXPECT_EQ(parse_duration_ms("1s").value(), 1000);
  EXPECT_EQ(parse_duration_ms("5m").value(), 300'000);
  EXPECT_EQ(parse_duration_ms("2h").value(), 7'200'000);
  for (const std::string text : {"", "1", "ms", "0ms", "-1s", "1.5s", "1 s", " 1s", "1S", "1sec", "1s ",
                                 "9223372036854775807h", "99999999999999999999ms"}) {
    const auto parsed = parse_duration_ms(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_THAT(parsed.error().message, HasSubstr("'" + text + "'"));
  }
}

TEST(ArgumentsTest, SettingsAreKeyAndValueOnceEach) {
  const auto settings = parse_settings("--set", {"rank=all", "field=", "a=b=c"});
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->at("rank"), "all");
  EXPECT_EQ(settings->at("field"), "");
  EXPECT_EQ(settings->at("a"), "b=c");
  EXPECT_FALSE(parse_settings("--set", {"rank"}));
  EXPECT_FALSE(parse_settings("--set", {"=x"}));
  EXPECT_THAT(parse_settings("--set", {"a=1", "a=2"}).error().message, HasSubstr("'a' twice"));
}

TEST(OutputTest, RatesAndDurationsAreShort) {
  EXPECT_EQ(rate_text(12), "12/s");
  EXPECT_EQ(rate_text(1536), "1.5 k/s");
  EXPECT_EQ(rate_text(3'210'000), "3.2 M/s");
  EXPECT_EQ(duration_text(0.25), "0.2 s");
  EXPECT_EQ(duration_text(59.9), "59 s");
  EXPECT_EQ(duration_text(75), "1 min 15 s");
  EXPECT_EQ(duration_text(7265), "2 h 1 min");
}

class ConfigFileTest : public testing::Test {
 protected:
  void write(const std::string& text) const { std::ofstream(path_, std::ios::trunc) << text; }
  void TearDown() override { unlink(path_.c_str()); }
  const std::string path_ = testing::TempDir() + "kafka_config." + std::to_string(getpid());
};

TEST_F(ConfigFileTest, LinesCommentsAndBlanksAreRead) {
  write("# secrets\n\n security.protocol = SASL_SSL\r\nsasl.password=a=b #c\n");
  const auto config = read_config_file("--kafka-config", path_);
  ASSERT_TRUE(config);
  EXPECT_EQ(config->size(), 2);
  EXPECT_EQ(config->at("security.protocol"), "SASL_SSL");
  EXPECT_EQ(config->at("sasl.password"), "a=b #c");
}

TEST_F(ConfigFileTest, WhatIsMalformedIsNamedByItsLineAndNeverByItsValue) {
  write("a=1\nhunter2\n");
  EXPECT_THAT(read_config_file("--kafka-config", path_).error().message,
              testing::AllOf(HasSubstr(path_ + ":2: "), testing::Not(HasSubstr("hunter2"))));
  write("a=1\n\na=2\n");
  EXPECT_THAT(read_config_file("--kafka-config", path_).error().message, HasSubstr(path_ + ":3: 'a'"));
  EXPECT_THAT(read_config_file("--kafka-config", "/nonexistent").error().message, HasSubstr("No such file"));
  EXPECT_THAT(read_config_file("--kafka-config", "/").error().message, HasSubstr("cannot be read"));
  EXPECT_THAT(read_config_file("--sink-config", "/").error().message, HasSubstr("correct --sink-config"));
  write("");
  EXPECT_TRUE(read_config_file("--kafka-config", path_));
}

TEST(OutputTest, TablesAreAlignedAndNumbersStandRight) {
  std::ostringstream out;
  Table table({"NAME", "RECORDS", "PROBLEM"});
  table.add({"wc", "5", ""});
  table.add({"naïve", "12345", "no worker"});
  table.print({.stream = out});
  EXPECT_EQ(out.str(), "NAME   RECORDS  PROBLEM\nwc           5\nnaïve    12345  no worker\n");
}

api::Values values_of(const std::string& word, const std::string& count, bool found) {
  api::Values values;
  values.as_of.batch = 9;
  values.values.resize(1);
  values.values[0].key = word;
  values.values[0].text = count;
  values.values[0].found = found;
  return values;
}

TEST(OutputTest, ControlCharactersAreEscapedOnTerminalsOnly) {
  std::ostringstream piped;
  print_values({.stream = piped}, values_of("a\x1b[2J", "3", true));
  EXPECT_EQ(piped.str(), "a\x1b[2J\t3\n");
  std::ostringstream terminal;
  print_values({.stream = terminal, .terminal = true}, values_of("a\x1b[2J", "3", true));
  EXPECT_EQ(terminal.str(), "a\\x1b[2J\t3\n");
}

TEST(OutputTest, JobTypesPrintWithTheirSettings) {
  api::JobTypeSetting setting;
  setting.name = "rank";
  setting.default_value = "top";
  setting.description = "how many";
  api::JobType type;
  type.name = "word_count";
  type.description = "counts";
  type.settings = {setting, {}};
  type.settings[1].name = "field";
  std::ostringstream out;
  print_job_types({.stream = out}, {type});
  EXPECT_EQ(out.str(), "word_count: counts\n  --set rank=top  how many\n  --set field=\n");
}

TEST(OutputTest, AMissingWordIsNoCountOfZero) {
  std::ostringstream out;
  print_values({.stream = out}, values_of("the", "", false));
  EXPECT_EQ(out.str(), "the\t-\n");
  const auto object = json_of(values_of("the", "", false), true);
  EXPECT_EQ(object["values"][0]["count"], nullptr);
  EXPECT_EQ(object["values"][0]["found"], false);
}

TEST(OutputTest, JsonIsOneObjectWithItsBatchEvenForBytesThatAreNoText) {
  std::ostringstream out;
  print_json({.stream = out, .json = true}, json_of(values_of("\xff", "12", true), false));
  const auto object = nlohmann::json::parse(out.str());
  EXPECT_EQ(object["batch"], 9);
  EXPECT_EQ(object["values"][0]["count"], 12);
  EXPECT_EQ(json_of(values_of("pair", "1 2", true), false)["values"][0]["count"], "1 2");
}

TEST(OutputTest, AmountsAreReadable) {
  EXPECT_EQ(duration_text_ms(100), "100ms");
  EXPECT_EQ(duration_text_ms(60'000), "1m");
  EXPECT_EQ(microseconds(1234), "1.2ms");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(counted(1, "dead letters"), "1 dead letter");
  EXPECT_EQ(counted(0, "records"), "0 records");
  EXPECT_EQ(time_text(0), "-");
  EXPECT_EQ(time_text(1'706'702'400'123), "2024-01-31 12:00:00.123Z");
}

api::BatchStep step(const std::string& name, int64_t begin_us, int64_t end_us, int64_t held_us) {
  api::BatchStep made;
  made.name = name;
  made.begin_us = begin_us;
  made.end_us = end_us;
  made.held_us = held_us;
  return made;
}

api::BatchProfiles three_batches() {
  api::BatchProfiles profiles;
  profiles.now_ms = 100'000;
  for (int64_t batch = 8; batch <= 10; ++batch) {
    api::BatchProfile& profile = profiles.batches.emplace_back();
    profile.batch = batch;
    profile.time_ms = 99'000 + 100 * (batch - 8);
    profile.records = 50;
    profile.applied_us = 7000;
    profile.steps = {step("wait", 0, 500, 500),        step("fetch", -300, -100, 0), step("map", 500, 4500, 4000),
                     step("shuffle", 1000, 5000, 500), step("commit", 0, 3000, 0),   step("reduce", 4900, 6900, 1900)};
    api::BatchStep& map = profile.steps[2];
    map.lanes = 4;
    map.lane_p50_us = 2000;
    map.lane_most_us = 4000;
    map.slowest = batch == 9 ? "bob:2 lane 0" : "ann:1 lane 3";
    profile.steps[1].lane_most_us = 200;
  }
  profiles.batches.back().steps.push_back(step("publish", 7000, 7600, 0));
  return profiles;
}

TEST(BatchTableTest, EachBatchIsALineAndTheLastOnesSayWhatIsUsual) {
  std::ostringstream out;
  print_batches({.stream = out}, three_batches(), 2);
  EXPECT_EQ(
      out.str(),
      "BATCH  AGE  RECORDS  PER SECOND  WAIT  FETCH  MAP  SHUFFLE  COMMIT  REDUCE  REPORT  TOTAL  CHECKPOINT  PUBLISH\n"
      "9      0.9       50         500   0.5    0.2  4.0      0.5     0.0     1.9       -    7.0           -        -\n"
      "10     0.8       50         500   0.5    0.2  4.0      0.5     0.0     1.9       -    7.0           -      0.6\n"
      "p50              50         500   0.5    0.2  4.0      0.5     0.0     1.9       -    7.0           -      0.6\n"
      "p99              50         500   0.5    0.2  4.0      0.5     0.0     1.9       -    7.0           -      0.6\n"
      "max              50         500   0.5    0.2  4.0      0.5     0.0     1.9       -    7.0           -      0.6\n"
      "age in s, steps in ms; of the time between log and sink 54 % goes to map; its slowest, most often ann:1 lane 3, "
      "takes 2.0 times as long as usual\n");
}

TEST(BatchTableTest, WithoutBatchesItSaysSo) {
  std::ostringstream out;
  print_batches({.stream = out}, {}, 20);
  EXPECT_EQ(out.str(), "no batch has been applied since this master began to run the job\n");
  EXPECT_EQ(where_the_time_goes({}), "");
}

TEST(BatchTableTest, WhereBatchesWaitForLanesWhatTheseDoIsNamed) {
  auto batches = three_batches().batches;
  for (auto& batch : batches) {
    batch.steps[0].held_us = 40'000;
    batch.steps[2].lanes = 0;
  }
  EXPECT_EQ(
      where_the_time_goes(batches),
      "batches wait for lanes that are busy with earlier ones: 85 % of the time between log and sink; of the rest "
      "59 % goes to map");
}

class LineReaderTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(pipe(pipe_), 0); }
  void TearDown() override {
    close(pipe_[0]);
    end();
  }
  void write_all(const std::string& text) const {
    ASSERT_EQ(::write(pipe_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void end() {
    if (pipe_[1] >= 0) close(pipe_[1]);
    pipe_[1] = -1;
  }
  int pipe_[2] = {-1, -1};
  InterruptBlock interrupts_;
};

TEST_F(LineReaderTest, LinesComeWholeAndTheLastNeedsNoEnd) {
  LineReader reader(pipe_[0], interrupts_.mask_while_waiting());
  write_all("one\n\ntwo\r\nthree");
  end();
  const auto group = reader.next();
  ASSERT_TRUE(group);
  EXPECT_TRUE(group->end);
  EXPECT_THAT(group->lines, ElementsAre("one", "", "two\r", "three"));
}

TEST_F(LineReaderTest, ASlowSourceIsPassedOnAndHalfALineIsKept) {
  LineReader reader(pipe_[0], interrupts_.mask_while_waiting());
  write_all("one\ntw");
  const auto first = reader.next();
  ASSERT_TRUE(first);
  EXPECT_FALSE(first->end);
  EXPECT_THAT(first->lines, ElementsAre("one"));
  write_all("o\n");
  EXPECT_THAT(reader.next()->lines, ElementsAre("two"));
  end();
  const auto last = reader.next();
  EXPECT_TRUE(last->end);
  EXPECT_TRUE(last->lines.empty());
}

TEST_F(LineReaderTest, GroupsAreBoundedAndNothingIsLostBetweenThem) {
  LineReader reader(pipe_[0], interrupts_.mask_while_waiting());
  const std::string line(1000, 'x');
  std::jthread writer([&] {
    for (int i = 0; i < 5000; ++i) write_all(line + "\n");
    end();
  });
  size_t lines = 0;
  while (true) {
    const auto group = reader.next();
    ASSERT_TRUE(group);
    EXPECT_LE(group->lines.size() * line.size(), LineReader::kGroupBytes + line.size());
    lines += group->lines.size();
    if (group->end) break;
  }
  EXPECT_EQ(lines, 5000);
}

TEST_F(LineReaderTest, ALineBeyondTheLimitIsNamed) {
  LineReader reader(pipe_[0], interrupts_.mask_while_waiting());
  std::jthread writer([&] {
    const std::string chunk(1 << 20, 'x');
    write_all("short\n");
    for (int i = 0; i < 9; ++i) [[maybe_unused]]
      const auto n = ::write(pipe_[1], chunk.data(), chunk.size());
    end();
  });
  Result<LineGroup> group = reader.next();
  while (group && !group->end) group = reader.next();
  ASSERT_FALSE(group);
  EXPECT_THAT(group.error().message, HasSubstr("line 2 "));
  char rest[1 << 16];
  while (read(pipe_[0], rest, sizeof(rest)) > 0) {
  }
}

TEST_F(LineReaderTest, AnInterruptIsTheEndOfTheInput) {
  LineReader reader(pipe_[0], interrupts_.mask_while_waiting());
  write_all("one\ntwo\n");
  EXPECT_THAT(reader.next()->lines, ElementsAre("one", "two"));
  pthread_kill(pthread_self(), SIGINT);  // blocked until the next wait
  EXPECT_TRUE(reader.next()->end);
}

size_t times_in(const std::string& text, const std::string& what) {
  size_t times = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++times;
  return times;
}

TEST(JobDrawing, ShowsEachPartOnceAndAWayForEachThatItIsFrom) {
  using Kind = JobPart::Kind;
  const JobShape shape = {{Kind::kSource, "records", {}, 0, {}},
                          {Kind::kChain, "lines", {}, 0, {0}},
                          {Kind::kState, "<a> & \"b\"", {"text -> int64"}, 1, {1}},
                          {Kind::kState, "far\n", {std::string(500, 'x')}, 2, {1, 2}},
                          {Kind::kTable, "counts", {}, 1, {2}},
                          {Kind::kOutput, "copies", {}, 1, {1}}};
  const std::string svg = draw_job("a < b", shape, 8);
  EXPECT_EQ(times_in(svg, "<g "), 6U);
  EXPECT_EQ(times_in(svg, "class=\"tip\""), 6U);
  EXPECT_EQ(times_in(svg, "class=\"stage\""), 3U);
  EXPECT_THAT(svg, HasSubstr(">a &lt; b</text>"));
  EXPECT_THAT(svg, HasSubstr(">&lt;a&gt; &amp; &quot;b&quot;</text>"));
  EXPECT_THAT(svg, HasSubstr(">far\\n</text>"));
  EXPECT_THAT(svg, HasSubstr(">counts</text>"));
  EXPECT_THAT(svg, HasSubstr(">copies</text>"));
  EXPECT_THAT(svg, HasSubstr(">behind shuffle 2, 8 state partitions</text>"));
  EXPECT_THAT(
      svg, HasSubstr(">" + std::string(32, 'x') + " ...</text>"));  // a long one is cut; what is pointed at tells all
  EXPECT_THAT(svg, HasSubstr("\n" + std::string(500, 'x') + "</title>"));
}

TEST(JobDrawing, KindsAreKnownByTheirNames) {
  for (const auto kind : {JobPart::Kind::kSource, JobPart::Kind::kChain, JobPart::Kind::kState, JobPart::Kind::kTable,
                          JobPart::Kind::kOutput}) {
    EXPECT_EQ(kind_from(name_of(kind)), kind);
  }
  EXPECT_EQ(kind_from("sink"), std::nullopt);
}

}  // namespace
}  // namespace millrace::client

#include "gateway/change_streams.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/api/change_position.h"
#include "tests/fakes/fake_api_service.h"
#include "tests/sim/world.h"

namespace millrace {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

const std::string kJob = "0123456789abcdef-1-";

api::AsOf as_of(int64_t batch, int32_t incarnation = 1) {
  api::AsOf position;
  position.job_id = "0123456789abcdef";
  position.incarnation = incarnation;
  position.batch = batch;
  return position;
}

// Up to `last`, a word in each batch.
api::Changes changes(int64_t after, std::vector<int64_t> batches) {
  api::Changes told;
  told.position = as_of(batches.empty() ? after : batches.back());
  for (const int64_t number : batches) {
    api::BatchChanges& batch = told.batches.emplace_back();
    batch.as_of = as_of(number);
    api::Change& change = batch.changes.emplace_back();
    change.key = "w";
    change.text = std::to_string(number);
  }
  return told;
}

api::Changes reset(int64_t batch) {
  api::Changes told;
  told.position = as_of(batch);
  told.reset = true;
  return told;
}

// Keeps the questions, those that wait and those that do not, until the test answers them.
class Master : public FakeApiService {
 public:
  using FakeApiService::FakeApiService;
  struct Asked {
    api::ChangesRequest request;
    Done<api::Changes> done;
  };
  void changes(api::ChangesRequest request, Done<api::Changes> done) override {
    (request.wait_ms == 0 ? at_once : waiting).push_back({std::move(request), std::move(done)});
  }
  std::list<Asked> at_once;
  std::list<Asked> waiting;
};

// What a reader has got: "changes 100", "reset 90", "waiting", "beat".
struct Got : HttpStream {
  bool send(Part part) override {
    if (gone) return false;
    take(*part);
    return true;
  }
  void end() override { ended = true; }
  void give_up() override { ended = true; }
  void when_taken(std::move_only_function<void()> next) override { next(); }
  void take(const std::string& text) {
    size_t at = 0;
    while (at < text.size()) {
      const size_t next = text.find("\n\n", at);
      const std::string event = text.substr(at, next - at);
      at = next + 2;
      if (event.starts_with("retry")) continue;
      if (event == ":") {
        events.emplace_back("beat");
        continue;
      }
      const size_t name = event.find("event: ") + 7;
      const size_t data = event.find("\ndata: ");
      const auto json = nlohmann::json::parse(event.substr(data + 7));
      std::string shown = event.substr(name, data - name);
      if (json.contains("batch")) {
        shown += " " + std::to_string(json.at("batch").get<int64_t>());
        EXPECT_THAT(event, HasSubstr("id: " + json.at("position").get<std::string>() + "\n"));
      }
      events.push_back(shown);
    }
  }
  std::vector<std::string> events;
  bool ended = false;
  bool gone = false;
};

class ChangeStreamsTest : public testing::Test {
 protected:
  ChangeStreamsTest() { streams.add_to(gateway); }
  // `after` as Last-Event-ID.
  std::shared_ptr<Got> read(const std::string& after = "", const std::string& job = "wc") {
    HttpRequest request{.method = "GET", .path = {"api", "v1", "jobs", job, "stream"}};
    if (!after.empty()) request.headers.emplace_back("Last-Event-ID", after);
    auto got = std::make_shared<Got>();
    gateway(std::move(request), HttpReply([this, got](HttpResponse response) {
              answer = response;
              if (!response.stream) return;
              got->take(response.body);
              response.stream(got);
              answer->stream = nullptr;  // as a server does, it lets go of it
            }));
    run();
    return got;
  }
  void run() { world.run_for(milliseconds(20)); }
  static void tell(std::list<Master::Asked>& asked, Result<api::Changes> told) {
    ASSERT_FALSE(asked.empty());
    auto done = std::move(asked.front().done);
    asked.pop_front();
    done(std::move(told));
  }
  void tell_reader(Result<api::Changes> told) {
    tell(master.at_once, std::move(told));
    run();
  }
  void tell_all(Result<api::Changes> told) {
    tell(master.waiting, std::move(told));
    run();
  }
  std::shared_ptr<Got> reader_at(int64_t batch) {
    auto got = read();
    tell_reader(reset(batch));
    return got;
  }

  World world{1};
  SimProcess& process = world.add_process("gateway");
  SimLoop& loop = process.make_loop("streams");
  Master master{loop};
  GatewayMetrics metrics;
  Gateway gateway{{}, world.clock(), metrics};
  ChangeStreams streams{{.kept_bytes = 400, .most_tables = 2, .most_readers = 3}, loop, world.clock(), master};
  std::optional<HttpResponse> answer;  // the newest
};

TEST_F(ChangeStreamsTest, AllReadersOfATableAreServedByOneQuestion) {
  const auto first = reader_at(90);
  EXPECT_EQ(answer->type, "text/event-stream");
  ASSERT_EQ(master.waiting.size(), 1U);
  EXPECT_EQ(position_text(master.waiting.front().request.after), kJob + "90");
  const auto second = reader_at(90);
  EXPECT_EQ(master.waiting.size(), 1U);
  tell_all(changes(90, {100, 110}));
  EXPECT_THAT(first->events, ElementsAre("reset 90", "changes 100", "changes 110"));
  EXPECT_EQ(first->events, second->events);
  ASSERT_EQ(master.waiting.size(), 1U);
  EXPECT_EQ(master.waiting.front().request.after.batch, 110);
}

TEST_F(ChangeStreamsTest, WhoComesBackIsToldWhatItHasMissed) {
  reader_at(90);
  tell_all(changes(90, {100, 110}));
  const auto back = read(kJob + "100");
  EXPECT_EQ(position_text(master.at_once.front().request.after), kJob + "100");
  tell_reader(changes(100, {110, 120}));  // the master is further than what has come for all
  EXPECT_THAT(back->events, ElementsAre("changes 110", "changes 120"));
  tell_all(changes(110, {120, 130}));
  EXPECT_THAT(back->events, ElementsAre("changes 110", "changes 120", "changes 130")) << "nothing twice";
}

TEST_F(ChangeStreamsTest, WhatCameMeanwhileIsToldFromWhatIsKeptOrByTheMaster) {
  reader_at(90);
  const auto near = read(kJob + "90");
  tell_all(changes(90, {100}));  // before the master answers the reader
  tell_reader(changes(90, {}));
  EXPECT_THAT(near->events, ElementsAre("changes 100"));

  const auto far = read(kJob + "90");
  for (int64_t batch = 110; batch < 200; batch += 10) tell_all(changes(batch - 10, {batch}));
  tell_reader(changes(90, {100}));  // and nothing of that is kept any more
  EXPECT_THAT(far->events, ElementsAre("changes 100"));
  tell_reader(changes(100, {110, 120, 130, 140, 150, 160, 170, 180, 190}));
  world.run_for(milliseconds(100));
  EXPECT_EQ(far->events.back(), "changes 190");
  tell_all(changes(190, {200}));
  EXPECT_EQ(far->events.size(), 11U);
  EXPECT_THAT(master.at_once, IsEmpty());
}

TEST_F(ChangeStreamsTest, AResetIsToldToThoseWhomItConcerns) {
  const auto reader = reader_at(90);
  const auto ahead = read(kJob + "90");
  tell_reader(reset(300));
  tell_all(reset(200));
  EXPECT_THAT(reader->events, ElementsAre("reset 90", "reset 200"));
  EXPECT_THAT(ahead->events, ElementsAre("reset 300"));
  tell_all(changes(200, {250, 300, 310}));
  EXPECT_THAT(ahead->events, ElementsAre("reset 300", "changes 310"));
}

TEST_F(ChangeStreamsTest, AMasterThatIsAwayIsToldOnceAndAskedAgain) {
  const auto reader = reader_at(90);
  for (int i = 0; i < 3; ++i) {
    tell_all(fail(ErrorCode::kUnavailable, "the master does not answer"));
    EXPECT_THAT(master.waiting, IsEmpty());
    world.run_for(milliseconds(300));
  }
  EXPECT_THAT(reader->events, ElementsAre("reset 90", "waiting"));
  tell_all(changes(90, {100}));
  EXPECT_EQ(reader->events.back(), "changes 100");
}

TEST_F(ChangeStreamsTest, AJobThatIsNoMoreEndsItsReaders) {
  const auto reader = reader_at(90);
  tell_all(fail(ErrorCode::kNotFound, "there is no job 'wc'"));
  EXPECT_TRUE(reader->ended);
  EXPECT_THAT(master.waiting, IsEmpty());
  read();
  tell_reader(fail(ErrorCode::kNotFound, "there is no job 'wc'"));
  EXPECT_EQ(answer->status, 404);
}

TEST_F(ChangeStreamsTest, WhatCannotBeIsRefused) {
  read("7");
  EXPECT_EQ(answer->status, 400);
  EXPECT_THAT(answer->body, HasSubstr("'7' is no position"));
  for (const char* const job : {"a", "b"}) {
    read("", job);
    tell_reader(reset(1));
  }
  read("", "c");
  EXPECT_EQ(answer->status, 503);
  EXPECT_THAT(answer->body, HasSubstr("follows 2 tables already"));
}

TEST_F(ChangeStreamsTest, ReadersHaveABoundAndOneWhoHasGoneMakesRoom) {
  const std::array readers = {reader_at(90), reader_at(90)};
  const auto begins = read();  // the master has not answered it yet
  read();
  EXPECT_EQ(answer->status, 503);
  EXPECT_THAT(answer->body, HasSubstr("has 3 readers of streams already"));
  EXPECT_THAT(answer->headers, Contains(Pair("Retry-After", "1")));
  tell_reader(reset(90));
  readers[0]->gone = true;
  world.run_for(seconds(1));
  reader_at(90);
  EXPECT_EQ(answer->status, 200);
  tell_all(changes(90, {100}));
  EXPECT_THAT(begins->events, Contains("changes 100"));
  read();
  EXPECT_EQ(answer->status, 503);
  // Those whom the master refuses take no place for long.
  readers[1]->gone = true;
  world.run_for(seconds(1));
  for (int i = 0; i < 5; ++i) {
    read("", "none");
    tell_reader(fail(ErrorCode::kNotFound, "there is no job 'none'"));
    EXPECT_EQ(answer->status, 404);
  }
}

TEST_F(ChangeStreamsTest, NobodyIsFollowedForLongWithoutReaders) {
  const auto reader = reader_at(90);
  world.run_for(seconds(16));
  EXPECT_EQ(reader->events.back(), "beat");
  reader->gone = true;
  tell_all(changes(90, {100}));
  ASSERT_EQ(master.waiting.size(), 1U) << "it may come back";
  world.run_for(seconds(61));
  tell_all(changes(100, {}));
  EXPECT_THAT(master.waiting, IsEmpty());
  reader_at(200);
  EXPECT_EQ(master.waiting.size(), 1U);
}

}  // namespace
}  // namespace millrace

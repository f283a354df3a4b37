// The parts of a gateway, and its routes in front of a log in memory.
#include "gateway/gateway.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/api_keys.h"
#include "gateway/bodies.h"
#include "gateway/health_routes.h"
#include "gateway/ingest_routes.h"
#include "gateway/rate_limits.h"

namespace millrace {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using Pair = std::pair<std::optional<std::string>, std::string>;

std::vector<Pair> pairs(const std::vector<KeyedRecord>& records) {
  std::vector<Pair> all;
  for (const KeyedRecord& record : records) all.emplace_back(record.key, record.value);
  return all;
}

// "400 what is wrong", or "taken".
template <typename T>
std::string problem_of(const Parsed<T>& parsed) {
  if (parsed) return "taken";
  const HttpResponse& problem = parsed.error();
  return std::to_string(problem.status) + " " + nlohmann::json::parse(problem.body).at("detail").get<std::string>();
}

// --- bodies ----------------------------------------------------------------------------------------------------------

TEST(BodiesTest, ASubmissionIsARecordWhoseKeyIsTheUser) {
  auto record = parse_submission(R"({"text": "a b", "user_id": "ann"})");
  ASSERT_TRUE(record);
  EXPECT_EQ(record->key, "ann");
  EXPECT_EQ(record->value, "a b");
  record = parse_submission(R"({"text": "naïve \u00e9 <script>"})");
  ASSERT_TRUE(record);
  EXPECT_EQ(record->key, std::nullopt);
  EXPECT_EQ(record->value, "naïve é <script>");
}

TEST(BodiesTest, WhatIsNoSubmissionIsToldWithItsPlace) {
  const auto said = [](const std::string& body) { return problem_of(parse_submission(body)); };
  EXPECT_THAT(said(R"({"text": "a)"), AllOf(HasSubstr("400 this is no JSON"), HasSubstr("line 1, column 12")));
  EXPECT_THAT(said(R"({"text": "a"} x)"), HasSubstr("column 15"));
  EXPECT_EQ(said(R"({"text": 5})"), "400 'text' is a number; it must be a string");
  EXPECT_EQ(said(R"({"text": 1e999})"), "400 this is no JSON: number overflow parsing '1e999'");
  EXPECT_EQ(said(R"({"text": null})"), "400 'text' is null; it must be a string");
  EXPECT_EQ(said(R"({"user_id": "ann"})"), "400 'text' is missing");
  EXPECT_EQ(said(R"({"text": "a", "userid": "ann"})"), "400 there is no 'userid' in it, but 'text', 'user_id'");
  EXPECT_EQ(said(R"({"text": ""})"), "400 'text' is empty");
  EXPECT_THAT(said(R"({"text": "a", "user_id": ""})"), HasSubstr("'user_id' is empty"));
  EXPECT_THAT(said(R"({"text": "a", "user_id": ")" + std::string(1025, 'x') + "\"}"), HasSubstr("has 1025 bytes"));
  EXPECT_EQ(said(R"(["a"])"), "400 expected an object, not an array");
  EXPECT_THAT(said("{\"text\": \"\xff\"}"), HasSubstr("ill-formed UTF-8"));
  EXPECT_THAT(said(R"({"text": "\ud800"})"), HasSubstr("surrogate"));
  EXPECT_THAT(said(std::string(100'000, '[')), HasSubstr("no JSON"));
  EXPECT_THAT(said(std::string(10'000, '[') + std::string(10'000, ']')), HasSubstr("more levels"));
}

TEST(BodiesTest, RecordsComeInThreeForms) {
  auto records =
      parse_records("Application/JSON; charset=utf-8", R"({"records": [{"key": "k", "value": "v"}, {"value": ""}]})");
  ASSERT_TRUE(records);
  EXPECT_THAT(pairs(*records), ElementsAre(Pair("k", "v"), Pair(std::nullopt, "")));
  records = parse_records("application/x-ndjson", "\"a\"\r\n\n{\"value\": \"b\", \"key\": \"k\"}");
  ASSERT_TRUE(records);
  EXPECT_THAT(pairs(*records), ElementsAre(Pair(std::nullopt, "a"), Pair("k", "b")));
  records = parse_records("text/plain", "a b\r\n\nc\n");
  ASSERT_TRUE(records);
  EXPECT_THAT(pairs(*records), ElementsAre(Pair(std::nullopt, "a b"), Pair(std::nullopt, ""), Pair(std::nullopt, "c")));
}

TEST(BodiesTest, WhatIsWrongWithRecordsIsToldWithItsPlace) {
  const auto said = [](std::string_view type, const std::string& body) {
    return problem_of(parse_records(type, body));
  };
  const std::string json = "application/json";
  EXPECT_EQ(said(json, R"({"records": [{"value": "a"}, {"value": true}]})"),
            "400 records[1]: 'value' is a boolean; it must be a string");
  EXPECT_EQ(said(json, R"({"records": {"value": "a"}})"), "400 'records' is an object; it must be an array");
  EXPECT_EQ(said(json, R"({"records": []})"), "400 there is no record in the body");
  EXPECT_THAT(said(json, R"({"records": [], "more": 1})"), HasSubstr("400 expected {\"records\""));
  EXPECT_THAT(said(json, R"({"records": [{"value": [[1]]}]})"), HasSubstr("more levels"));
  EXPECT_EQ(said("application/x-ndjson", "\"a\"\n\n{\"key\": \"k\"}"), "400 line 3: 'value' is missing");
  EXPECT_THAT(said("application/x-ndjson", "\"a\"\n5"), HasSubstr("line 2: expected an object, not a number"));
  EXPECT_EQ(said("text/plain", "a\nb\xff"), "400 line 2: byte 2 is no UTF-8");
  EXPECT_EQ(said("text/plain", std::string(10'001, '\n')).substr(0, 3), "413");
  EXPECT_EQ(said("text/plain", std::string(10'000, '\n')), "taken");
  EXPECT_THAT(said("text/html", "a"), HasSubstr("415 the Content-Type is 'text/html'"));
  EXPECT_THAT(said("", "a"), HasSubstr("415 the Content-Type is missing"));
}

// --- limits ----------------------------------------------------------------------------------------------------------

class RateLimitsTest : public testing::Test {
 protected:
  // How many of `requests` at this moment are taken.
  int taken(RateLimits& limits, std::string_view user, int requests) const {
    int count = 0;
    for (int i = 0; i < requests; ++i) count += limits.take(user, now_).limit == RateLimits::Limit::kNone;
    return count;
  }
  MonotonicTime now_{std::chrono::hours(5)};
};

TEST_F(RateLimitsTest, ABurstPassesAndThenTheRate) {
  RateLimits limits({.user_rate = 10});
  EXPECT_EQ(taken(limits, "ann", 100), 20);
  EXPECT_EQ(taken(limits, "bob", 100), 20);
  now_ += std::chrono::milliseconds(500);
  EXPECT_EQ(taken(limits, "ann", 100), 5);
  const RateLimits::Answer answer = limits.take("ann", now_);
  EXPECT_EQ(answer.limit, RateLimits::Limit::kUser);
  now_ += answer.wait;
  EXPECT_EQ(taken(limits, "ann", 2), 1);
}

TEST_F(RateLimitsTest, AllTogetherHaveALimitThatRefusedRequestsDoNotUseUp) {
  RateLimits limits({.user_rate = 1, .total_rate = 3});
  EXPECT_EQ(taken(limits, "ann", 100), 2);
  EXPECT_EQ(taken(limits, "bob", 100), 2);
  EXPECT_EQ(taken(limits, "cyd", 100), 2);
  EXPECT_EQ(taken(limits, "dan", 100), 0);
  EXPECT_EQ(limits.take("dan", now_).limit, RateLimits::Limit::kTotal);
}

TEST_F(RateLimitsTest, ARateBelowOneLetsOneThroughAtATime) {
  RateLimits limits({.user_rate = 0.1});
  EXPECT_EQ(taken(limits, "ann", 5), 1);
  now_ += std::chrono::seconds(9);
  EXPECT_EQ(taken(limits, "ann", 5), 0);
  now_ += std::chrono::seconds(2);
  EXPECT_EQ(taken(limits, "ann", 5), 1);
}

TEST_F(RateLimitsTest, WhoHasBeenSilentLongestIsForgottenFirst) {
  RateLimits limits({.user_rate = 1, .most_users = 3});
  for (const std::string_view user : {"ann", "bob", "cyd"}) EXPECT_EQ(taken(limits, user, 5), 2);
  EXPECT_EQ(taken(limits, "ann", 5), 0);
  EXPECT_EQ(taken(limits, "dan", 5), 2);  // in the place of bob
  EXPECT_EQ(limits.users(), 3);
  EXPECT_EQ(taken(limits, "ann", 5), 0);
  EXPECT_EQ(taken(limits, "bob", 5), 2);
}

// --- keys ------------------------------------------------------------------------------------------------------------

constexpr std::string_view kKeys =
    "# who may what\n"
    "ann submit 0123456789abcdef\n"
    "\n"
    "  bob  read  sha256:9F86D081884C7D659A2FEAA0C55AD015A3BF4F1B2B0B822CD15D6C15B0F00A08\r\n"  // of "test"
    "cyd operate fedcba9876543210\n";

TEST(ApiKeysTest, AKeyIsFoundByItselfOrItsHash) {
  const auto keys = ApiKeys::parse(kKeys, "keys");
  ASSERT_TRUE(keys) << keys.error();
  EXPECT_EQ(keys->size(), 3);
  ASSERT_NE(keys->find("0123456789abcdef"), nullptr);
  EXPECT_EQ(keys->find("0123456789abcdef")->name, "ann");
  ASSERT_NE(keys->find("test"), nullptr);
  EXPECT_EQ(keys->find("test")->role, Role::kRead);
  EXPECT_EQ(keys->find("0123456789abcdeF"), nullptr);
  EXPECT_EQ(keys->find(""), nullptr);
}

TEST(ApiKeysTest, AnOperatorMayEverythingAndOthersTheirOwn) {
  EXPECT_TRUE(may(Role::kOperate, Role::kSubmit) && may(Role::kOperate, Role::kRead));
  EXPECT_TRUE(may(Role::kSubmit, Role::kSubmit) && may(Role::kRead, Role::kRead));
  EXPECT_FALSE(may(Role::kSubmit, Role::kRead) || may(Role::kRead, Role::kSubmit) || may(Role::kRead, Role::kOperate));
}

TEST(ApiKeysTest, ABadLineIsToldWithoutItsKey) {
  const auto said = [](std::string_view text) {
    const auto keys = ApiKeys::parse(text, "keys");
    return keys ? "taken" : keys.error().message;
  };
  EXPECT_EQ(said("a read\n"), "keys:1: expected NAME ROLE KEY");
  EXPECT_EQ(said("#\na admin 0123456789abcdef"), "keys:2: a role is submit, read or operate");
  EXPECT_THAT(said("a read secret"), AllOf(HasSubstr("keys:1: a key has at least 16 signs"), Not(HasSubstr("secret"))));
  EXPECT_THAT(said("a read sha256:abc"), HasSubstr("64 hex digits"));
  EXPECT_THAT(said("a read 0123456789abcdef\nb read 0123456789abcdef"), HasSubstr("keys:2: this key is in the file"));
  EXPECT_THAT(said("\n# none\n"), HasSubstr("keys holds no key"));
}

// --- routes ----------------------------------------------------------------------------------------------------------

class StillClock final : public Clock {
 public:
  [[nodiscard]] MonotonicTime now() const override { return MonotonicTime(std::chrono::hours(1)); }
  [[nodiscard]] WallTime wall_now() const override { return {}; }
};

// Keeps what it is given; answers at once, as it is told to.
class FakeWriter final : public RecordWriter {
 public:
  void write(WriteRequest request, Done done) override {
    requests.push_back(std::move(request));
    if (error) return done(std::unexpected(*error));
    done(std::vector<WrittenRange>{{LogPartition(2), Offset(7), std::ssize(requests.back().records)}});
  }
  [[nodiscard]] Health health() const override { return state; }

  std::vector<WriteRequest> requests;
  std::optional<Error> error;
  Health state;
};

class RoutesTest : public testing::Test {
 protected:
  void open(GatewayOptions options = {}, IngestOptions ingest = {}) {
    ingest.text_log = "text";
    gateway_ = std::make_unique<Gateway>(std::move(options), clock_, metrics_);
    ingest_ = std::make_unique<IngestRoutes>(
        ingest, IngestRoutes::Logs{{"other", &other_}, {"text", &text_}},
        [](std::string_view packed, size_t most) -> Result<std::string> {
          if (packed == "bad") return fail(ErrorCode::kInvalid, "it is no gzip");
          return std::string(packed == "bomb" ? most + 1 : 1, 'x');
        },
        clock_, metrics_);
    ingest_->add_to(*gateway_);
    health_ = std::make_unique<HealthRoutes>(std::vector<HealthPart>{
        {"log text", [this] { return HealthPart::Health{text_.state.problem, text_.state.oldest_wait}; }}});
    health_->add_to(*gateway_);
  }
  HttpResponse ask(HttpRequest request) {
    std::optional<HttpResponse> answer;
    (*gateway_)(std::move(request), HttpReply([&](HttpResponse response) { answer = std::move(response); }));
    EXPECT_TRUE(answer) << "not answered";
    return answer.value_or(HttpResponse{});
  }
  static HttpRequest get(std::vector<std::string> path, HttpHeaders headers = {}) {
    return {.method = "GET", .path = std::move(path), .headers = std::move(headers), .peer = "10.0.0.1"};
  }
  static HttpRequest post(std::vector<std::string> path, std::string body, HttpHeaders headers = {}) {
    headers.emplace_back("Content-Type", "application/json");
    return {.method = "POST",
            .path = std::move(path),
            .headers = std::move(headers),
            .body = std::move(body),
            .peer = "10.0.0.1"};
  }
  HttpResponse submit(HttpHeaders headers = {}) {
    return ask(post({"submit_text"}, R"({"text": "a b", "user_id": "ann"})", std::move(headers)));
  }
  static std::string header(const HttpResponse& response, std::string_view name) {
    for (const auto& [field, value] : response.headers) {
      if (field == name) return value;
    }
    return "";
  }

  StillClock clock_;
  GatewayMetrics metrics_;
  FakeWriter text_, other_;
  std::unique_ptr<Gateway> gateway_;
  std::unique_ptr<IngestRoutes> ingest_;
  std::unique_ptr<HealthRoutes> health_;
};

TEST_F(RoutesTest, ATextIsAnsweredWithItsPlace) {
  open();
  const HttpResponse answer = submit();
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "{\"log\":\"text\",\"partition\":2,\"offset\":7}\n");
  ASSERT_EQ(text_.requests.size(), 1);
  EXPECT_THAT(pairs(text_.requests[0].records), ElementsAre(Pair("ann", "a b")));
  EXPECT_EQ(text_.requests[0].idempotency_key, "");
}

TEST_F(RoutesTest, RecordsGoIntoTheLogThatIsNamed) {
  open();
  const HttpResponse answer =
      ask(post({"api", "v1", "logs", "other", "records"}, R"({"records": [{"value": "a"}, {"value": "b"}]})"));
  EXPECT_EQ(answer.body, "{\"log\":\"other\",\"ranges\":[{\"partition\":2,\"offset\":7,\"count\":2}]}\n");
  EXPECT_EQ(other_.requests.size(), 1);
  const HttpResponse unknown = ask(post({"api", "v1", "logs", "../x", "records"}, "{}"));
  EXPECT_EQ(unknown.status, 404);
  EXPECT_THAT(unknown.body, HasSubstr("there is no log '../x' here, but other, text"));
}

TEST_F(RoutesTest, WhatTheLogSaysBecomesAStatus) {
  open();
  text_.error = Error{ErrorCode::kUnavailable, "full"};
  HttpResponse answer = submit();
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(header(answer, "Retry-After"), "1");
  text_.error = Error{ErrorCode::kTimeout, "may be stored"};
  answer = submit();
  EXPECT_EQ(answer.status, 504);
  EXPECT_EQ(header(answer, "Retry-After"), "");
  EXPECT_THAT(metrics_.text(), HasSubstr("millrace_gateway_refused_total{cause=\"log\"} 2"));
}

TEST_F(RoutesTest, BodiesAreUnpackedWithinTheirBound) {
  open();
  const auto status = [&](const std::string& body, const std::string& encoding) {
    return ask(post({"api", "v1", "logs", "text", "records"}, body, {{"Content-Encoding", encoding}})).status;
  };
  EXPECT_EQ(status("bomb", "GZIP"), 413);
  EXPECT_EQ(status("bad", "gzip"), 400);
  EXPECT_EQ(status("x", "br"), 415);
  EXPECT_EQ(status("", "identity"), 400);
  EXPECT_EQ(status(R"({"records": [{"value": "a"}]})", "identity"), 200);
}

TEST_F(RoutesTest, AnIdempotencyKeyBelongsToItsApiKey) {
  auto keys = ApiKeys::parse(kKeys, "keys");
  ASSERT_TRUE(keys);
  open({.keys = *keys});
  submit({{"Authorization", "Bearer 0123456789abcdef"}, {"Idempotency-Key", "k"}});
  submit({{"Authorization", "bearer fedcba9876543210"}, {"Idempotency-Key", "k"}});
  ASSERT_EQ(text_.requests.size(), 2);
  EXPECT_EQ(text_.requests[0].idempotency_key, "ann\nk");
  EXPECT_EQ(text_.requests[1].idempotency_key, "cyd\nk");
  EXPECT_EQ(submit({{"Authorization", "Bearer 0123456789abcdef"}, {"Idempotency-Key", std::string(256, 'k')}}).status,
            400);
  EXPECT_EQ(submit({{"Authorization", "Bearer 0123456789abcdef"}, {"Idempotency-Key", "\xc3\xa9"}}).status, 400);
}

TEST_F(RoutesTest, WhoHasNoKeyOrAnotherRoleIsRefused) {
  auto keys = ApiKeys::parse(kKeys, "keys");
  ASSERT_TRUE(keys);
  open({.keys = *keys});
  HttpResponse answer = submit();
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(header(answer, "WWW-Authenticate"), "Bearer");
  EXPECT_EQ(submit({{"Authorization", "Bearer wrong"}}).status, 401);
  EXPECT_EQ(submit({{"Authorization", "Basic 0123456789abcdef"}}).status, 401);
  answer = submit({{"Authorization", "Bearer test"}});
  EXPECT_EQ(answer.status, 403);
  EXPECT_THAT(answer.body, HasSubstr("the API key 'bob' has the role read, and this needs submit"));
  EXPECT_THAT(text_.requests, IsEmpty());
  EXPECT_EQ(ask(get({"health"})).status, 200);
  EXPECT_EQ(ask(get({"metrics"})).status, 401);
  answer = ask(get({"metrics"}, {{"Authorization", "Bearer test"}}));
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.body,
              AllOf(HasSubstr("millrace_gateway_requests_total{route=\"POST /submit_text\",status=\"401\"} 3"),
                    HasSubstr("millrace_gateway_refused_total{cause=\"role\"} 1")));
}

TEST_F(RoutesTest, AUserIsWhoIsNamedElseTheKeyElseTheAddress) {
  open({}, {.rates = {.user_rate = 0.5}});
  EXPECT_EQ(submit().status, 200);
  const HttpResponse answer = submit();
  EXPECT_EQ(answer.status, 429);
  EXPECT_EQ(header(answer, "Retry-After"), "2");
  EXPECT_THAT(answer.body, HasSubstr("'ann' sends more requests"));
  const auto nobody = [] { return post({"submit_text"}, R"({"text": "a"})"); };
  EXPECT_EQ(ask(nobody()).status, 200);
  EXPECT_THAT(ask(nobody()).body, HasSubstr("'10.0.0.1' sends more requests"));
}

TEST_F(RoutesTest, OtherPagesMayNotUseItUnlessTheyAreNamed) {
  open();
  EXPECT_EQ(submit({{"Origin", "https://evil.example"}, {"Host", "127.0.0.1:7080"}}).status, 403);
  EXPECT_EQ(submit({{"Origin", "null"}, {"Host", "127.0.0.1:7080"}}).status, 403);
  EXPECT_EQ(submit({{"Origin", "http://127.0.0.1:7080"}, {"Host", "127.0.0.1:7080"}}).status, 200);
  HttpRequest preflight{
      .method = "OPTIONS", .path = {"submit_text"}, .headers = {{"Access-Control-Request-Method", "POST"}}};
  EXPECT_EQ(ask(preflight).status, 405);
  open({.cors_origin = "https://page.example"});
  EXPECT_EQ(submit({{"Origin", "https://page.example"}, {"Host", "127.0.0.1:7080"}}).status, 200);
  EXPECT_EQ(submit({{"Origin", "https://evil.example"}, {"Host", "127.0.0.1:7080"}}).status, 403);
  EXPECT_EQ(ask(preflight).status, 204);
}

TEST_F(RoutesTest, WithoutKeysItHasNoNameThatAnotherPageCouldHave) {
  open();
  for (const char* host : {"127.0.0.1:7080", "127.1.2.3", "localhost:7080", "localhost", "[::1]:7080", "[::1]"}) {
    EXPECT_EQ(submit({{"Host", host}}).status, 200) << host;
  }
  for (const char* host : {"evil.example:7080", "evil.example", "10.0.0.1:7080", "127.0.0.1.evil.example", "::1"}) {
    const HttpResponse answer = submit({{"Host", host}, {"Origin", "http://" + std::string(host)}});
    EXPECT_EQ(answer.status, 403) << host;
    EXPECT_THAT(answer.body, HasSubstr("--auth")) << host;
  }
}

TEST_F(RoutesTest, HealthTellsWhatIsInTheWayAndHowLate) {
  open();
  EXPECT_EQ(ask(get({"ready"})).body, "ready\n");
  text_.state.problem = "the master is away";
  EXPECT_EQ(ask(get({"ready"})).status, 503);
  EXPECT_THAT(ask(get({"health"})).body, HasSubstr("the master is away"));
  text_.state = {.problem = "", .oldest_wait = std::chrono::seconds(6)};
  EXPECT_EQ(ask(get({"health"})).status, 503);
  EXPECT_THAT(ask(get({"health"})).body, HasSubstr("waiting for it for 6000 ms"));
}

}  // namespace
}  // namespace millrace

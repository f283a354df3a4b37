// The Log suite on the fake and on the embedded log.
#include <filesystem>

#include "adapters/embedded_log.h"
#include "adapters/embedded_log_store.h"
#include "adapters/system_clock.h"
#include "adapters/system_random.h"
#include "tests/conformance/log_conformance.h"
#include "tests/fakes/fake_log.h"

namespace millrace {
namespace {

class FakeLogBed {
 public:
  std::unique_ptr<Log> open(TaskLoop& loop) { return std::make_unique<FakeLog>(topic_, loop); }
  std::unique_ptr<Log> open_unknown(TaskLoop& loop) { return std::make_unique<FakeLog>(absent_, loop); }
  void append(EventLoop& loop, LogPartition partition, const std::vector<std::string>& values) {
    loop.run_and_wait([&] { topic_.append(partition, values); });
  }
  void drop_oldest(EventLoop& loop, LogPartition partition, Offset begin) {
    loop.run_and_wait([&] { topic_.retain_from(partition, begin); });
  }

 private:
  FakeTopic topic_{2, 1};
  FakeTopic absent_{0, 1};
};

class EmbeddedLogBed {
 public:
  EmbeddedLogBed() {
    char name[] = "/tmp/millrace-log-XXXXXX";
    root_ = mkdtemp(name);
    open_store({});
    EXPECT_EQ(store_->open_log("lines", 2).value(), 2);
  }
  ~EmbeddedLogBed() {
    store_ = nullptr;
    std::filesystem::remove_all(root_);
  }
  std::unique_ptr<Log> open(TaskLoop& loop) { return std::make_unique<EmbeddedLog>(root_, "lines", loop); }
  std::unique_ptr<Log> open_unknown(TaskLoop& loop) { return std::make_unique<EmbeddedLog>(root_, "other", loop); }
  void append(EventLoop&, LogPartition partition, const std::vector<std::string>& values) {
    const auto appended = store_->append("lines", partition, values, {});
    EXPECT_TRUE(appended) << appended.error();
  }
  void drop_oldest(EventLoop& loop, LogPartition partition, Offset begin) {
    store_ = nullptr;
    open_store({.segment_bytes = 1, .retention_bytes = 1});
    append(loop, partition, {"the segments before this one go"});
    append(loop, partition, {"and so does this one"});
    EXPECT_GE(begin, Offset(0));
  }

 private:
  void open_store(const EmbeddedLogOptions& options) {
    auto opened = EmbeddedLogStore::open(root_, options, clock_, random_);
    ASSERT_TRUE(opened) << opened.error();
    store_ = std::move(*opened);
  }

  std::filesystem::path root_;
  SystemClock clock_;
  SystemRandom random_;
  std::unique_ptr<EmbeddedLogStore> store_;
};

using Beds = testing::Types<FakeLogBed, EmbeddedLogBed>;
INSTANTIATE_TYPED_TEST_SUITE_P(FakeAndEmbedded, LogConformance, Beds);

}  // namespace
}  // namespace millrace

// What a window costs per slide, whatever its length: windows that slide by a second, with the same keys per second.
// Prints microseconds per slide, with publication and checkpoints, by the window's length in seconds, as a JSON object.
//
//   window_bench --lengths_s=60,3600
#include <gflags/gflags.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "common/base/check.h"
#include "stream/varint.h"
#include "stream/windowed.h"

DEFINE_string(lengths_s, "60,3600", "lengths of windows, in seconds");
DEFINE_int32(keys_per_second, 1000, "values that come each second, to one state partition");
DEFINE_int32(vocabulary, 100000, "distinct keys");
DEFINE_int32(slides, 300, "slides that are measured, after the window has filled");

namespace millrace {
namespace {

using Clock = std::chrono::steady_clock;

struct Max {
  void operator()(int64_t& into, const int64_t& from) const { into = std::max(into, from); }
};

std::string section_of_random_keys(std::mt19937_64& random) {
  std::string bytes(kMaxVarintBytes, '\0');
  bytes.resize(
      static_cast<size_t>(put_varint(bytes.data(), static_cast<uint64_t>(FLAGS_keys_per_second)) - bytes.data()));
  for (int i = 0; i < FLAGS_keys_per_second; ++i) {
    const std::string key = "key" + std::to_string(random() % static_cast<uint64_t>(FLAGS_vocabulary));
    bytes += static_cast<char>(key.size());
    bytes += key;
    bytes += '\x02';  // 1
  }
  return bytes;
}

// Microseconds per slide.
template <typename Kind>
double measure(int64_t length_s) {
  internal::WindowTable<Kind> table(0, {length_s * 1000, 1000}, {});
  std::mt19937_64 random(1);
  Clock::duration spent{};
  for (int64_t second = 1; second <= length_s + FLAGS_slides; ++second) {
    const std::string section = section_of_random_keys(random);
    const std::string_view view = section;
    const auto begin = Clock::now();
    CHECK(table.apply({BatchId(second), second * 1000, true}, std::span(&view, 1)).has_value());
    table.forget_undo(BatchId(second));
    std::ignore = table.take_unpublished(false);
    table.settle_publication(true);
    if (second % 10 == 0) {
      StateRun run;
      table.freeze_all(StatePartition(0), run);
      table.settle_freeze(true);
    }
    if (second > length_s) spent += Clock::now() - begin;
  }
  return std::chrono::duration<double, std::micro>(spent).count() / FLAGS_slides;
}

template <typename Kind>
nlohmann::ordered_json by_length() {
  nlohmann::ordered_json slides;
  std::istringstream lengths(FLAGS_lengths_s);
  for (std::string length; std::getline(lengths, length, ',');) slides[length] = measure<Kind>(std::stoll(length));
  return slides;
}

}  // namespace
}  // namespace millrace

int main(int argc, char** argv) {
  using namespace millrace::internal;
  gflags::ParseCommandLineFlags(&argc, &argv, true);
  nlohmann::ordered_json kinds;
  kinds["sum with an inverse"] =
      millrace::by_length<InverseWindow<int64_t, WrappingSum, millrace::internal::WrappingDifference, false>>();
  kinds["maximum without one"] = millrace::by_length<StackWindow<int64_t, millrace::Max>>();
  std::printf("%s\n", kinds.dump().c_str());
}

#include "adapters/kafka_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/unit/hex_bytes.h"
#include "tests/unit/packed_batch.h"

namespace millrace {
namespace {

using testing::HasSubstr;

constexpr Compression kCodecs[] = {Compression::kGzip, Compression::kSnappy, Compression::kLz4, Compression::kZstd};

std::string lines(int count) {
  RecordBatchBuilder builder;
  for (int line = 0; line < count; ++line) {
    builder.add(Offset(1000 + line), 5000, std::nullopt, "the same words in line " + std::to_string(line));
  }
  return builder.finish();
}

// A batch of bytes that look like nothing, with a header that counts no records.
std::string noise(size_t bytes) {
  std::mt19937 random(7);
  std::string batch = lines(1).substr(0, RecordBatchView::kHeaderBytes);
  store_big(batch.data() + 57, int32_t{0});
  for (size_t index = 0; index < bytes; ++index) batch += static_cast<char>(random());
  return sealed(batch);
}

RecordBatchView view_of(std::string_view batch) {
  RecordBatchView view;
  CHECK(RecordBatchCursor(batch).next(view));
  return view;
}

Result<std::string> unpacked(std::string_view batch, uint32_t most_bytes = 64 << 20) {
  std::string out = "before";
  Unpacker unpacker(most_bytes);
  if (Status status = unpacker.append(view_of(batch), out); !status) {
    EXPECT_EQ(out, "before");
    EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
    return std::unexpected(status.error());
  }
  EXPECT_TRUE(out.starts_with("before"));
  return out.substr(6);
}

// What `append` makes of a batch that never was compressed.
std::string without_checksum(std::string batch) {
  store_big(batch.data() + 17, int32_t{0});
  return batch;
}

TEST(Unpacker, gives_back_what_was_packed) {
  for (const std::string& batch : {lines(1), lines(10'000), noise(0), noise(1), noise(300'000)}) {
    for (const Compression codec : kCodecs) {
      const auto again = unpacked(packed_batch(codec, batch));
      ASSERT_TRUE(again) << again.error();
      EXPECT_TRUE(*again == without_checksum(batch)) << static_cast<int>(codec) << ", " << batch.size() << " bytes";
    }
  }
}

TEST(Unpacker, knows_every_form_of_a_codec) {
  const std::string batch = lines(10'000);
  const std::string_view body = std::string_view(batch).substr(RecordBatchView::kHeaderBytes);
  const std::string_view left = body.substr(0, 1000);
  const std::string_view right = body.substr(1000);
  const std::pair<Compression, std::string> forms[] = {
      {Compression::kGzip, gzip(left) + gzip(right)}, {Compression::kSnappy, xerial(body)},
      {Compression::kSnappy, xerial(body, 1000)},     {Compression::kLz4, lz4(body, true)},
      {Compression::kLz4, lz4(left) + lz4(right)},    {Compression::kLz4, lz4(body, false, LZ4F_blockLinked)},
      {Compression::kZstd, zstd(body, true)},         {Compression::kZstd, zstd(left) + zstd(right, true)},
  };
  for (const auto& [codec, packed] : forms) {
    const auto again = unpacked(packed_batch(codec, batch, packed));
    ASSERT_TRUE(again) << again.error();
    EXPECT_TRUE(*again == without_checksum(batch)) << static_cast<int>(codec) << ", " << packed.size() << " bytes";
  }
}

TEST(Unpacker, reads_what_a_broker_has_packed) {
  // Three records "a b a" each, made by brokers of 3.9.1 whose topics had a compression.type.
  const char* const batches[] = {
      "0000000000000190 00000059 00000000 02 802560a9 0001 00000002 000001a2021e9f33 000001a2021e9f33"
      "0000000000000bb8 0000 00000000 00000003"
      "1f8b08000000000000ff1363606060e44a5448524864106360604262b3c0d80077d306b124000000",
      "0000000000000190 00000063 00000000 02 46c6c3d7 0002 00000002 000001a2021ea1c7 000001a2021ea1c7"
      "0000000000000bb9 0000 00000000 00000003"
      "82534e415050590000000001000000010000001e243c16000000010a612062206100160000021d0c2004010a612062206100",
      "0000000000000190 0000005e 00000000 02 399828cc 0003 00000002 000001a2021ea255 000001a2021ea255"
      "0000000000000bba 0000 00000000 00000003"
      "04224d186040821e000000f70116000000010a612062206100160000020c009004010a61206220610000000000",
      "0000000000000190 00000056 00000000 02 e24cc020 0004 00000002 000001a2021ea29b 000001a2021ea29b"
      "0000000000000bbb 0000 00000000 00000003"
      "28b52ffd0058cc00008816000000010a61206220610016000002040200800837ca12010000"};
  for (const char* const hex : batches) {
    const std::string packed = from_hex(hex);
    ASSERT_TRUE(view_of(packed).crc_matches());
    const auto again = unpacked(packed);
    ASSERT_TRUE(again) << again.error();
    EXPECT_EQ(count_records(*again, {Offset(401), Offset(403)}), 2);
    RecordCursor records(view_of(*again));
    for (RecordView record; records.next(record);) EXPECT_EQ(record.value, "a b a");
    EXPECT_TRUE(records.status());
  }
}

TEST(Unpacker, puts_several_batches_one_behind_the_other) {
  std::string out;
  std::string expected;
  Unpacker unpacker;
  for (int round = 0; round < 3; ++round) {
    for (const Compression codec : kCodecs) {
      const std::string batch = lines(1 + 100 * round);
      ASSERT_TRUE(unpacker.append(view_of(packed_batch(codec, batch)), out));
      expected += without_checksum(batch);
    }
  }
  EXPECT_TRUE(out == expected);
}

TEST(Unpacker, refuses_what_is_cut_off_or_goes_on_and_works_on) {
  const std::string batch = lines(100);
  const std::string_view body = std::string_view(batch).substr(RecordBatchView::kHeaderBytes);
  Unpacker unpacker;
  std::string out;
  for (const Compression codec : kCodecs) {
    for (const std::string& packed : {pack(codec, body), codec == Compression::kSnappy ? xerial(body, 999) : ""}) {
      for (size_t size = 0; size < packed.size(); ++size) {
        const std::string cut = packed_batch(codec, batch, packed.substr(0, size));
        // Between two blocks of xerial nobody can tell; the batch's number of records does.
        const bool whole = unpacker.append(view_of(cut), out) && count_records(out, {Offset(0), Offset(1001)});
        EXPECT_FALSE(whole) << static_cast<int>(codec) << ", " << size;
        out.clear();
      }
      if (packed.empty()) continue;
      EXPECT_FALSE(unpacker.append(view_of(packed_batch(codec, batch, packed + '\x01')), out));
      EXPECT_TRUE(unpacker.append(view_of(packed_batch(codec, batch, packed)), out));
      EXPECT_TRUE(out == without_checksum(batch));
      out.clear();
    }
  }
}

TEST(Unpacker, forgets_a_stream_that_told_its_size_and_did_not_end) {
  const std::string batch = lines(100);
  const std::string_view body = std::string_view(batch).substr(RecordBatchView::kHeaderBytes);
  Unpacker unpacker;
  std::string out;
  for (const auto& [codec, packed] : {std::pair(Compression::kLz4, lz4(body, true)),
                                      {Compression::kZstd, zstd(body, true)},
                                      {Compression::kGzip, gzip(body)}}) {
    for (const size_t size : {packed.size() / 2, packed.size() - 1}) {
      EXPECT_FALSE(unpacker.append(view_of(packed_batch(codec, batch, packed.substr(0, size))), out));
      EXPECT_TRUE(unpacker.append(view_of(packed_batch(codec, batch)), out)) << static_cast<int>(codec);
      EXPECT_TRUE(out == without_checksum(batch));
      out.clear();
    }
  }
}

TEST(Unpacker, survives_every_flipped_bit) {
  const std::string batch = lines(20);
  const std::string_view body = std::string_view(batch).substr(RecordBatchView::kHeaderBytes);
  constexpr size_t kMost = 1 << 20;
  Unpacker unpacker(kMost);
  for (const Compression codec : kCodecs) {
    for (const std::string& packed : {pack(codec, body), codec == Compression::kSnappy ? xerial(body, 99) : ""}) {
      for (size_t bit = 0; bit < packed.size() * 8; ++bit) {
        std::string flipped = packed;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
        std::string out;
        (void)unpacker.append(view_of(packed_batch(codec, batch, flipped)), out);
        ASSERT_LE(out.size(), RecordBatchView::kHeaderBytes + kMost);
        (void)count_records(out, {Offset(0), Offset(1001)});
      }
    }
  }
}

TEST(Unpacker, stops_where_a_batch_would_hold_too_much) {
  const std::string batch = lines(1);
  const std::string plain(1 << 20, 'x');
  for (const Compression codec : kCodecs) {
    const std::string bomb = packed_batch(codec, batch, pack(codec, plain));
    EXPECT_TRUE(unpacked(bomb, (1 << 20) + 1));
    const auto refused = unpacked(bomb, (1 << 20) - 1);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("more than a batch may hold"));
  }
  const std::string claim = packed_batch(Compression::kSnappy, batch, from_hex("ffffffff0f"));  // 4 GiB
  EXPECT_FALSE(unpacked(claim));
}

TEST(Unpacker, says_which_batch_it_is) {
  const auto refused = unpacked(packed_batch(Compression::kZstd, lines(1), "no such thing"));
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("offset 1000 (zstd)"));
}

}  // namespace
}  // namespace millrace

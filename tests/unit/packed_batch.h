// Record batches as producers send them: compressed, marked, with a checksum that is right.
#pragma once

#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include <string>
#include <string_view>

#include "common/base/byte_order.h"
#include "common/base/check.h"
#include "common/model/crc32c.h"
#include "common/model/record_batch.h"

namespace millrace {

inline std::string gzip(std::string_view plain) {
  constexpr int kGzip = 16;
  constexpr int kUsualMemory = 8;
  z_stream stream{};
  CHECK_EQ(deflateInit2(&stream, 6, Z_DEFLATED, kGzip + MAX_WBITS, kUsualMemory, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(deflateBound(&stream, plain.size()), 0);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  CHECK_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

inline std::string snappy(std::string_view plain) {
  size_t size = snappy_max_compressed_length(plain.size());
  std::string packed(size, 0);
  CHECK_EQ(snappy_compress(plain.data(), plain.size(), packed.data(), &size), SNAPPY_OK);
  packed.resize(size);
  return packed;
}

// As Java's SnappyOutputStream, in blocks of `block_bytes`.
inline std::string xerial(std::string_view plain, size_t block_bytes = 32 << 10) {
  std::string packed("\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16);
  for (; !plain.empty(); plain.remove_prefix(std::min(plain.size(), block_bytes))) {
    const std::string block = snappy(plain.substr(0, block_bytes));
    char size[sizeof(int32_t)];
    store_big(size, static_cast<int32_t>(block.size()));
    packed.append(size, sizeof size) += block;
  }
  return packed;
}

// With and without the size of the content in front; in blocks that stand alone, as Java's, or look back at earlier
// ones.
inline std::string lz4(std::string_view plain, bool with_size = false,
                       LZ4F_blockMode_t blocks = LZ4F_blockIndependent) {
  LZ4F_preferences_t how{};
  how.frameInfo.blockMode = blocks;
  how.frameInfo.contentSize = with_size ? plain.size() : 0;
  std::string packed(LZ4F_compressFrameBound(plain.size(), &how), 0);
  packed.resize(LZ4F_compressFrame(packed.data(), packed.size(), plain.data(), plain.size(), &how));
  return packed;
}

inline std::string zstd(std::string_view plain, bool with_size = false) {
  ZSTD_CCtx* const context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, with_size ? 1 : 0);
  std::string packed(ZSTD_compressBound(plain.size()), 0);
  packed.resize(ZSTD_compress2(context, packed.data(), packed.size(), plain.data(), plain.size()));
  ZSTD_freeCCtx(context);
  return packed;
}

inline std::string pack(Compression codec, std::string_view plain) {
  switch (codec) {
    case Compression::kNone: break;
    case Compression::kGzip: return gzip(plain);
    case Compression::kSnappy: return snappy(plain);
    case Compression::kLz4: return lz4(plain);
    case Compression::kZstd: return zstd(plain);
  }
  return std::string(plain);
}

// The batch with its length and its checksum put right.
inline std::string sealed(std::string batch) {
  store_big(batch.data() + 8, static_cast<int32_t>(batch.size() - RecordBatchView::kBeforeLength));
  store_big(batch.data() + 17, crc32c(std::string_view(batch).substr(RecordBatchView::kCrcBegins)));
  return batch;
}

// The batch with other attributes than none.
inline std::string with_attributes(std::string batch, int16_t attributes) {
  CHECK_GE(batch.size(), RecordBatchView::kHeaderBytes);
  store_big(batch.data() + 21, attributes);
  return sealed(std::move(batch));
}

// The header of `batch`, with `body` for its records, which `codec` is to unpack.
inline std::string packed_batch(Compression codec, std::string_view batch, std::string_view body) {
  std::string packed(batch.substr(0, RecordBatchView::kHeaderBytes));
  packed += body;
  return with_attributes(std::move(packed), static_cast<int16_t>(codec));
}

inline std::string packed_batch(Compression codec, std::string_view batch) {
  return packed_batch(codec, batch, pack(codec, batch.substr(RecordBatchView::kHeaderBytes)));
}

constexpr int16_t kTransactional = 16;
constexpr int16_t kControl = 32;

// The control batch that ends a transaction.
inline std::string mark(int64_t offset, int64_t producer, bool abort) {
  RecordBatchBuilder builder;
  builder.add(Offset(offset), 1, std::string_view(abort ? "\0\0\0\0" : "\0\0\0\1", 4), "va");
  builder.set_producer({producer, 0, 0});
  return with_attributes(builder.finish(), kTransactional | kControl);
}

}  // namespace millrace

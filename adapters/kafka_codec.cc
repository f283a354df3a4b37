#include "adapters/kafka_codec.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <span>
#include <string_view>

#include "common/base/byte_order.h"
#include "common/base/check.h"

namespace millrace {
namespace {

constexpr size_t kLeastRoom = 64 << 10;  // a block of LZ4: with less it unpacks aside and copies
constexpr size_t kUsualRatio = 4;
constexpr std::string_view kXerialMagic("\x82SNAPPY\0", 8);
constexpr size_t kXerialHeader = 16;

constexpr const char* kTooLarge = "it unpacks to more than a batch may hold";
constexpr const char* kMalformed = "its bytes are no such stream";
constexpr const char* kCutOff = "it ends too early";

// Where decoders write: behind what a string holds already, up to a limit.
class GrowingOutput {
 public:
  GrowingOutput(std::string& out, size_t most_bytes) : out_(out), used_(out.size()), limit_(used_ + most_bytes) {}

  // Room for `wanted` bytes, less near the limit. What is written there has to be told to `wrote`.
  std::span<char> room(size_t wanted) {
    const size_t needed = std::min(used_ + wanted, limit_);
    if (needed > out_.size()) {
      const size_t size = std::min(std::max({needed, 2 * used_, out_.capacity()}), limit_);
      out_.resize_and_overwrite(size, [size](char*, size_t) { return size; });
    }
    return std::span(out_).subspan(used_);
  }
  void wrote(size_t bytes) { used_ += bytes; }
  void finish() { out_.resize(used_); }

 private:
  std::string& out_;  // its size is what may be written to; the first used_ bytes are written
  size_t used_;
  const size_t limit_;
};

// How far one call of a decoder has come.
struct DecodeStep {
  size_t read = 0;
  size_t written = 0;
  bool ended = false;  // a stream; another one may follow
  bool malformed = false;
};

class GzipDecoder {
 public:
  GzipDecoder() {
    constexpr int kGzipOrZlib = 32;
    CHECK_EQ(inflateInit2(&stream_, kGzipOrZlib + MAX_WBITS), Z_OK);
  }
  ~GzipDecoder() { inflateEnd(&stream_); }
  GzipDecoder(const GzipDecoder&) = delete;
  GzipDecoder& operator=(const GzipDecoder&) = delete;

  void begin() { inflateReset(&stream_); }

  DecodeStep decode(std::string_view from, std::span<char> to) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(from.data()));
    stream_.avail_in = static_cast<uInt>(from.size());
    stream_.next_out = reinterpret_cast<Bytef*>(to.data());
    stream_.avail_out = static_cast<uInt>(to.size());
    const int status = inflate(&stream_, Z_NO_FLUSH);
    const DecodeStep step{from.size() - stream_.avail_in, to.size() - stream_.avail_out, status == Z_STREAM_END,
                          status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR};
    if (step.ended) begin();
    return step;
  }

 private:
  z_stream stream_{};
};

class Lz4Decoder {
 public:
  Lz4Decoder() { create(); }
  ~Lz4Decoder() { LZ4F_freeDecompressionContext(context_); }
  Lz4Decoder(const Lz4Decoder&) = delete;
  Lz4Decoder& operator=(const Lz4Decoder&) = delete;

  // After a frame that did not end the context is of no use: its reset (1.9.4) keeps how much that one had left, and
  // the next frame is refused for it.
  void begin() {
    if (ended_) return;
    LZ4F_freeDecompressionContext(context_);
    create();
  }

  DecodeStep decode(std::string_view from, std::span<char> to) {
    DecodeStep step{from.size(), to.size()};
    const size_t status = LZ4F_decompress(context_, to.data(), &step.written, from.data(), &step.read, nullptr);
    step.ended = ended_ = status == 0;
    step.malformed = LZ4F_isError(status) != 0;
    return step;
  }

 private:
  void create() { CHECK(!LZ4F_isError(LZ4F_createDecompressionContext(&context_, LZ4F_VERSION))); }

  LZ4F_dctx* context_ = nullptr;
  bool ended_ = true;  // the last frame, or there was none
};

class ZstdDecoder {
 public:
  ZstdDecoder() : context_(ZSTD_createDCtx()) { CHECK(context_ != nullptr); }
  ~ZstdDecoder() { ZSTD_freeDCtx(context_); }
  ZstdDecoder(const ZstdDecoder&) = delete;
  ZstdDecoder& operator=(const ZstdDecoder&) = delete;

  void begin() { ZSTD_DCtx_reset(context_, ZSTD_reset_session_only); }

  DecodeStep decode(std::string_view from, std::span<char> to) {
    ZSTD_inBuffer input{from.data(), from.size(), 0};
    ZSTD_outBuffer output{to.data(), to.size(), 0};
    const size_t status = ZSTD_decompressStream(context_, &output, &input);
    return {input.pos, output.pos, status == 0, ZSTD_isError(status) != 0};
  }

 private:
  ZSTD_DCtx* context_;
};

// These give what is wrong, or nullptr.

template <typename Decoder>
const char* unpack_streams(Decoder& decoder, std::string_view from, GrowingOutput& out) {
  decoder.begin();
  (void)out.room(kUsualRatio * from.size());
  for (bool ended = false; !ended || !from.empty();) {
    const std::span<char> room = out.room(kLeastRoom);
    if (room.empty()) return kTooLarge;
    const DecodeStep step = decoder.decode(from, room);
    if (step.malformed) return kMalformed;
    if (!step.ended && step.read == 0 && step.written == 0) return kCutOff;
    from.remove_prefix(step.read);
    out.wrote(step.written);
    ended = step.ended;
  }
  return nullptr;
}

const char* unpack_snappy_block(std::string_view block, GrowingOutput& out) {
  size_t size = 0;
  if (snappy_uncompressed_length(block.data(), block.size(), &size) != SNAPPY_OK) return kMalformed;
  const std::span<char> room = out.room(size);
  if (room.size() < size) return kTooLarge;
  if (snappy_uncompress(block.data(), block.size(), room.data(), &size) != SNAPPY_OK) return kMalformed;
  out.wrote(size);
  return nullptr;
}

const char* unpack_snappy(std::string_view from, GrowingOutput& out) {
  if (!from.starts_with(kXerialMagic)) return unpack_snappy_block(from, out);
  if (from.size() < kXerialHeader) return kCutOff;
  from.remove_prefix(kXerialHeader);
  while (!from.empty()) {
    if (from.size() < sizeof(int32_t)) return kCutOff;
    const auto size = load_big<uint32_t>(from.data());
    from.remove_prefix(sizeof(int32_t));
    if (size > from.size()) return kCutOff;
    if (const char* const problem = unpack_snappy_block(from.substr(0, size), out)) return problem;
    from.remove_prefix(size);
  }
  return nullptr;
}

const char* name_of(Compression codec) {
  switch (codec) {
    case Compression::kNone: return "none";
    case Compression::kGzip: return "gzip";
    case Compression::kSnappy: return "snappy";
    case Compression::kLz4: return "lz4";
    case Compression::kZstd: return "zstd";
  }
  return "unknown";
}

// Makes the header of a packed batch the one of its records unpacked: see common/model/record_batch.h.
void put_right(char* header, size_t batch_bytes) {
  constexpr int16_t kCodecBits = 7;
  store_big(header + 8, static_cast<int32_t>(batch_bytes - RecordBatchView::kBeforeLength));
  store_big(header + 17, uint32_t{0});
  store_big(header + 21, static_cast<int16_t>(load_big<int16_t>(header + 21) & ~kCodecBits));
}

}  // namespace

struct Unpacker::Decoders {
  GzipDecoder gzip;
  Lz4Decoder lz4;
  ZstdDecoder zstd;

  const char* unpack(Compression codec, std::string_view from, GrowingOutput& out) {
    switch (codec) {
      case Compression::kNone: break;
      case Compression::kGzip: return unpack_streams(gzip, from, out);
      case Compression::kSnappy: return unpack_snappy(from, out);
      case Compression::kLz4: return unpack_streams(lz4, from, out);
      case Compression::kZstd: return unpack_streams(zstd, from, out);
    }
    return "no such codec is known here";
  }
};

Unpacker::Unpacker(uint32_t most_bytes) : most_bytes_(most_bytes), decoders_(std::make_unique<Decoders>()) {}

Unpacker::~Unpacker() = default;

Status Unpacker::append(const RecordBatchView& batch, std::string& out) {
  const size_t before = out.size();
  out += batch.bytes().substr(0, RecordBatchView::kHeaderBytes);
  GrowingOutput records(out, most_bytes_);
  const char* const problem = decoders_->unpack(batch.compression(), batch.body(), records);
  records.finish();
  if (problem != nullptr) {
    out.resize(before);
    return fail(ErrorCode::kCorrupt, "record batch at offset " + std::to_string(batch.base_offset().value()) + " (" +
                                         name_of(batch.compression()) + "): " + problem);
  }
  put_right(out.data() + before, out.size() - before);
  return {};
}

}  // namespace millrace

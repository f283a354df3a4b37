#include "adapters/gunzip.h"

#include <zlib.h>

#include <algorithm>

namespace millrace {
namespace {

constexpr int kGzipOnly = 15 + 16;  // as inflateInit2() has it
constexpr size_t kFirstBytes = 64 << 10;

struct Inflater {
  Inflater() { ready = inflateInit2(&stream, kGzipOnly) == Z_OK; }
  ~Inflater() { inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  z_stream stream{};
  bool ready = false;
};

}  // namespace

Result<std::string> gunzip(std::string_view packed, size_t most_bytes) {
  Inflater inflater;
  if (!inflater.ready) return fail(ErrorCode::kInternal, "zlib does not start");
  z_stream& stream = inflater.stream;
  // It is read only; the interface lacks the const.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string out;
  size_t size = 0;
  while (true) {
    if (size == out.size()) out.resize(std::min(most_bytes + 1, std::max(kFirstBytes, 2 * size)));
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + size);
    stream.avail_out = static_cast<uInt>(out.size() - size);
    const int result = inflate(&stream, Z_NO_FLUSH);
    size = out.size() - stream.avail_out;
    if (size > most_bytes) break;
    if (result == Z_STREAM_END && stream.avail_in == 0) break;
    const bool more = result == Z_STREAM_END ? inflateReset(&stream) == Z_OK : result == Z_OK;
    if (more && (stream.avail_in > 0 || stream.avail_out == 0)) continue;
    const bool cut = result == Z_OK || result == Z_BUF_ERROR;
    return fail(ErrorCode::kInvalid, cut ? "the gzip stream ends before its end"
                                         : "after " + std::to_string(stream.total_in) + " bytes it is no gzip");
  }
  out.resize(size);
  return out;
}

}  // namespace millrace

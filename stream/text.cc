#include "stream/text.h"

#include <simdjson.h>

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace millrace {
namespace {

bool is_blank(char byte) {
  return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

bool classify_scalar(const char* bytes, size_t size, uint64_t* blanks) {
  unsigned char seen = 0;
  for (size_t block = 0; block * 64 < size; ++block) {
    uint64_t mask = 0;
    const size_t begin = block * 64;
    const size_t end = std::min(size, begin + 64);
    for (size_t i = begin; i < end; ++i) {
      mask |= static_cast<uint64_t>(is_blank(bytes[i])) << (i - begin);
      seen |= static_cast<unsigned char>(bytes[i]);
    }
    blanks[block] = mask;
  }
  return (seen & 0x80) != 0;
}

#if defined(__x86_64__)

struct BlockMasks {
  uint64_t blanks;
  uint64_t not_ascii;
};

// Runs `classify_block` over blocks of 64 bytes; the last, partial one is read so that it ends with the text.
#define MILLRACE_CLASSIFY_BLOCKS(classify_block)          \
  uint64_t not_ascii = 0;                                 \
  size_t at = 0;                                          \
  for (; at + 64 <= size; at += 64) {                     \
    const BlockMasks masks = classify_block(bytes + at);  \
    blanks[at / 64] = masks.blanks;                       \
    not_ascii |= masks.not_ascii;                         \
  }                                                       \
  if (at == size) return not_ascii != 0;                  \
  BlockMasks masks;                                       \
  if (size >= 64) {                                       \
    masks = classify_block(bytes + size - 64);            \
    blanks[at / 64] = masks.blanks >> (64 - (size - at)); \
  } else {                                                \
    char padded[64] = {};                                 \
    std::memcpy(padded, bytes, size);                     \
    masks = classify_block(padded);                       \
    blanks[0] = masks.blanks;                             \
  }                                                       \
  return (not_ascii | masks.not_ascii) != 0

inline BlockMasks block_sse2(const char* bytes) {
  BlockMasks masks{};
  for (size_t quarter = 0; quarter < 4; ++quarter) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes + quarter * 16));
    const __m128i low = _mm_sub_epi8(block, _mm_set1_epi8('\t'));
    const __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(low, _mm_set1_epi8('\r' - '\t')), low);
    const __m128i blank = _mm_or_si128(control, _mm_cmpeq_epi8(block, _mm_set1_epi8(' ')));
    masks.blanks |= static_cast<uint64_t>(static_cast<uint32_t>(_mm_movemask_epi8(blank))) << (quarter * 16);
    masks.not_ascii |= static_cast<uint32_t>(_mm_movemask_epi8(block));
  }
  return masks;
}

bool classify_sse2(const char* bytes, size_t size, uint64_t* blanks) {
  MILLRACE_CLASSIFY_BLOCKS(block_sse2);
}

__attribute__((target("avx2"))) inline BlockMasks block_avx2(const char* bytes) {
  BlockMasks masks{};
  for (size_t half = 0; half < 2; ++half) {
    const __m256i block = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + half * 32));
    const __m256i low = _mm256_sub_epi8(block, _mm256_set1_epi8('\t'));
    const __m256i control = _mm256_cmpeq_epi8(_mm256_min_epu8(low, _mm256_set1_epi8('\r' - '\t')), low);
    const __m256i blank = _mm256_or_si256(control, _mm256_cmpeq_epi8(block, _mm256_set1_epi8(' ')));
    masks.blanks |= static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(blank))) << (half * 32);
    masks.not_ascii |= static_cast<uint32_t>(_mm256_movemask_epi8(block));
  }
  return masks;
}

__attribute__((target("avx2"))) bool classify_avx2(const char* bytes, size_t size, uint64_t* blanks) {
  MILLRACE_CLASSIFY_BLOCKS(block_avx2);
}

__attribute__((target("avx512f,avx512bw,bmi2"))) bool classify_avx512(const char* bytes, size_t size,
                                                                      uint64_t* blanks) {
  uint64_t not_ascii = 0;
  for (size_t at = 0; at < size; at += 64) {
    const size_t left = size - at;
    const __mmask64 present = left >= 64 ? ~uint64_t{0} : (uint64_t{1} << left) - 1;
    const __m512i block = _mm512_maskz_loadu_epi8(present, bytes + at);  // Masked bytes are not touched.
    const __mmask64 control =
        _mm512_cmple_epu8_mask(_mm512_sub_epi8(block, _mm512_set1_epi8('\t')), _mm512_set1_epi8('\r' - '\t'));
    blanks[at / 64] = control | _mm512_cmpeq_epi8_mask(block, _mm512_set1_epi8(' '));
    not_ascii |= _mm512_movepi8_mask(block);
  }
  return not_ascii != 0;
}

#undef MILLRACE_CLASSIFY_BLOCKS
#endif  // __x86_64__

// The length of the valid sequence at `at`, 0 if there is none. By table 3-7 of the Unicode standard.
size_t sequence_size(const unsigned char* at, const unsigned char* end) {
  const auto continues = [&](size_t index, unsigned char low = 0x80, unsigned char high = 0xBF) {
    return at + index < end && at[index] >= low && at[index] <= high;
  };
  const unsigned char first = *at;
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned char low = first == 0xE0 ? 0xA0 : 0x80;   // no longer form than needed
    const unsigned char high = first == 0xED ? 0x9F : 0xBF;  // no surrogates
    return continues(1, low, high) && continues(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned char low = first == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = first == 0xF4 ? 0x8F : 0xBF;  // not beyond U+10FFFF
    return continues(1, low, high) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

const char* to_string(ClassifierKind kind) {
  switch (kind) {
    case ClassifierKind::kScalar: return "scalar";
    case ClassifierKind::kSse2: return "sse2";
    case ClassifierKind::kAvx2: return "avx2";
    case ClassifierKind::kAvx512: return "avx512";
  }
  return "unknown";
}

Classifier find_classifier(ClassifierKind kind) {
  switch (kind) {
    case ClassifierKind::kScalar: return classify_scalar;
#if defined(__x86_64__)
    case ClassifierKind::kSse2: return classify_sse2;
    case ClassifierKind::kAvx2: return __builtin_cpu_supports("avx2") ? classify_avx2 : nullptr;
    case ClassifierKind::kAvx512:
      return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("bmi2") ? classify_avx512 : nullptr;
#else
    default: break;
#endif
  }
  return nullptr;
}

ClassifierKind best_classifier() {
  for (const ClassifierKind kind : {ClassifierKind::kAvx512, ClassifierKind::kAvx2, ClassifierKind::kSse2}) {
    if (find_classifier(kind) != nullptr) return kind;
  }
  return ClassifierKind::kScalar;
}

std::optional<size_t> find_invalid_utf8(std::string_view text) {
  if (simdjson::validate_utf8(text.data(), text.size())) return std::nullopt;
  const auto* begin = reinterpret_cast<const unsigned char*>(text.data());
  const unsigned char* end = begin + text.size();
  for (const unsigned char* at = begin; at < end;) {
    const size_t size = sequence_size(at, end);
    if (size == 0) return static_cast<size_t>(at - begin);
    at += size;
  }
  return std::nullopt;
}

}  // namespace millrace

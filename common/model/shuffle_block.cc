#include "common/model/shuffle_block.h"

#define XXH_STATIC_LINKING_ONLY  // for the state on the stack
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "common/base/byte_order.h"
#include "common/base/check.h"
#include "common/model/source_topics.h"

namespace millrace {
namespace {

constexpr uint32_t kBlockMagic = 0x4253524D;  // "MRSB"
constexpr uint16_t kVersion = 2;
constexpr size_t kHeaderBytes = 56;
constexpr size_t kEntryBytes = 8;
constexpr size_t kHashBytes = 8;

void write_entry(char* to, const ShuffleBlock::Section& section) {
  store_little(to, section.partition.value());
  store_little(to + 4, static_cast<uint32_t>(section.bytes.size()));
}

size_t bytes_of(const std::vector<ShuffleBlock::Section>& sections) {
  size_t total = 0;
  for (const ShuffleBlock::Section& section : sections) total += section.bytes.size();
  return total;
}

std::unexpected<Error> corrupt(const ShuffleBlock& block, const std::string& problem) {
  return fail(ErrorCode::kCorrupt, "shuffle block of batch " + std::to_string(block.batch.value()) +
                                       ", log partition " + text_of(block.source) + ": " + problem);
}

}  // namespace

uint64_t ShuffleBlock::fingerprint() const {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  for (const Section& section : sections) {
    if (section.bytes.empty()) continue;
    char entry[kEntryBytes];
    write_entry(entry, section);
    XXH3_64bits_update(&state, entry, sizeof entry);
    XXH3_64bits_update(&state, section.bytes.view().data(), section.bytes.size());
  }
  return XXH3_64bits_digest(&state);
}

size_t ShuffleBlock::bytes() const {
  return bytes_of(sections);
}

size_t LevelBlock::bytes() const {
  return bytes_of(sections);
}

ShuffleBlock select_sections(const ShuffleBlock& block, std::span<const StatePartition> partitions) {
  ShuffleBlock selected{block.stage, block.batch, block.source, block.range, block.times, {}};
  selected.sections.reserve(partitions.size());
  auto next = block.sections.begin();
  for (StatePartition partition : partitions) {
    while (next != block.sections.end() && next->partition < partition) ++next;
    const bool present = next != block.sections.end() && next->partition == partition;
    selected.sections.push_back({partition, present ? next->bytes : SharedBuffer()});
  }
  return selected;
}

SharedBuffer encode_shuffle_block(const ShuffleBlock& block) {
  const size_t directory = block.sections.size() * kEntryBytes;
  const size_t size = kHeaderBytes + directory + block.bytes() + kHashBytes;
  std::string encoded;
  encoded.resize_and_overwrite(size, [size](char*, size_t) { return size; });
  char* const out = encoded.data();
  store_little(out, kBlockMagic);
  store_little(out + 4, kVersion);
  store_little(out + 6, static_cast<uint16_t>(block.stage.value()));
  store_little(out + 8, block.batch.value());
  store_little(out + 16, block.source.value());
  store_little(out + 20, static_cast<uint32_t>(block.sections.size()));
  store_little(out + 24, block.range.from.value());
  store_little(out + 32, block.range.to.value());
  store_little(out + 40, block.times.batch_ms);
  store_little(out + 48, block.times.watermark_ms);
  char* entry = out + kHeaderBytes;
  char* section_bytes = entry + directory;
  for (const ShuffleBlock::Section& section : block.sections) {
    CHECK_LE(section.bytes.size(), UINT32_MAX);
    write_entry(entry, section);
    entry += kEntryBytes;
    if (!section.bytes.empty()) std::memcpy(section_bytes, section.bytes.view().data(), section.bytes.size());
    section_bytes += section.bytes.size();
  }
  store_little(section_bytes, static_cast<uint64_t>(XXH3_64bits(out, size - kHashBytes)));
  return SharedBuffer::of(std::move(encoded));
}

Result<ShuffleBlock> decode_shuffle_block(const SharedBuffer& encoded) {
  const std::string_view bytes = encoded.view();
  ShuffleBlock block;
  if (bytes.size() < kHeaderBytes + kHashBytes) {
    return fail(ErrorCode::kCorrupt, "shuffle block of " + std::to_string(bytes.size()) + " bytes: too short");
  }
  const char* const in = bytes.data();
  if (load_little<uint32_t>(in) != kBlockMagic) return fail(ErrorCode::kCorrupt, "not a shuffle block");
  if (const auto version = load_little<uint16_t>(in + 4); version != kVersion) {
    return fail(ErrorCode::kCorrupt, "shuffle block of unknown version " + std::to_string(version));
  }
  block.stage = StageId(load_little<uint16_t>(in + 6));
  block.batch = BatchId(load_little<int64_t>(in + 8));
  block.source = LogPartition(load_little<int32_t>(in + 16));
  block.range = {Offset(load_little<int64_t>(in + 24)), Offset(load_little<int64_t>(in + 32))};
  block.times = {load_little<int64_t>(in + 40), load_little<int64_t>(in + 48)};
  const size_t before_hash = bytes.size() - kHashBytes;
  if (load_little<uint64_t>(in + before_hash) != XXH3_64bits(in, before_hash)) {
    return corrupt(block, "the hash does not match");
  }
  if (block.range.from > block.range.to) return corrupt(block, "the range is reversed");
  const size_t count = load_little<uint32_t>(in + 20);
  if (count > (before_hash - kHeaderBytes) / kEntryBytes) return corrupt(block, "the directory is too long");
  size_t position = kHeaderBytes + count * kEntryBytes;
  block.sections.reserve(count);
  for (size_t index = 0; index < count; ++index) {
    const char* const entry = in + kHeaderBytes + index * kEntryBytes;
    const StatePartition partition(load_little<int32_t>(entry));
    const size_t size = load_little<uint32_t>(entry + 4);
    if (partition.value() < 0 || (index > 0 && partition <= block.sections.back().partition)) {
      return corrupt(block, "section " + std::to_string(index) + " is out of order");
    }
    if (size > before_hash - position) return corrupt(block, "section " + std::to_string(index) + " is too long");
    block.sections.push_back({partition, encoded.slice(position, size)});
    position += size;
  }
  if (position != before_hash) return corrupt(block, "bytes are left behind the last section");
  return block;
}

ShuffleBlock shuffle_block_of(const LevelBlock& block, std::span<const StatePartition> partitions) {
  const Offset generation(block.generation.value());
  ShuffleBlock selected{StageId(block.level),     block.batch, LogPartition(block.source.value()),
                        {generation, generation}, {},          {}};
  auto wanted = partitions.begin();
  for (const ShuffleBlock::Section& section : block.sections) {
    while (wanted != partitions.end() && *wanted < section.partition) ++wanted;
    if (wanted != partitions.end() && *wanted == section.partition) selected.sections.push_back(section);
  }
  return selected;
}

LevelBlock level_block_of(ShuffleBlock decoded) {
  return {decoded.stage.value(), decoded.batch, StatePartition(decoded.source.value()),
          Generation(decoded.range.from.value()), std::move(decoded.sections)};
}

}  // namespace millrace

// The encoding of wire.thrift's types: messages between processes, and records that outlive them.
//
// A message is an Envelope in Thrift's compact protocol and nothing else: the network below it checks bytes, and a
// frame is only good for the two processes that speak now. A stored record is checked by itself:
//
//   +--------+----------------------------+-----------------------------------+
//   | format | compact protocol           | XXH3-64 of all before             |
//   | 1 byte | n bytes                    | 8 bytes, little end first         |
//   +--------+----------------------------+-----------------------------------+
//
// format is kRecordFormat. Records of one type are told by their key or file name, not by their bytes.
//
// Decoding takes bytes from anywhere: sizes, the number of elements over all containers, and the depth are bounded,
// so that the memory it takes is too; what does not parse is kCorrupt; no exception leaves. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/buffer.h"
#include "common/base/error.h"
#include "wire_types.h"

namespace millrace {

constexpr size_t kMaxControlBytes = 16 << 20;   // of an encoded Envelope
constexpr size_t kMaxRecordBytes = 64 << 20;    // of a stored record
constexpr size_t kMaxChangesOfRound = 6 << 20;  // of all ChangedPartition::keys of one round
constexpr int64_t kMaxElements = 1'000'000;     // of all lists and maps of one message or record together
constexpr uint8_t kRecordFormat = 1;

// CHECKs that it is within the limits: who fills a message bounds it.
[[nodiscard]] SharedBuffer encode(const wire::Envelope& envelope);
[[nodiscard]] Result<wire::Envelope> decode(const SharedBuffer& bytes);

[[nodiscard]] std::string encode_record(const apache::thrift::TBase& record);
[[nodiscard]] Status decode_record_into(std::string_view bytes, apache::thrift::TBase& record);

// For the types of wire.thrift: BatchRecord, BatchTotals, Manifest, JobRecord, AssignmentRecord...
template <typename Record>
[[nodiscard]] Result<Record> decode_record(std::string_view bytes) {
  Record record;
  if (Status status = decode_record_into(bytes, record); !status) return std::unexpected(std::move(status.error()));
  return record;
}

}  // namespace millrace

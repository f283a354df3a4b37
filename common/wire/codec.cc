#include "common/wire/codec.h"

#include <thrift/TConfiguration.h>
#include <thrift/protocol/TCompactProtocol.h>
#include <thrift/transport/TBufferTransports.h>
#include <xxhash.h>

#include <algorithm>
#include <memory>

#include "common/base/check.h"

namespace millrace {
namespace {

using apache::thrift::TConfiguration;
using apache::thrift::protocol::TCompactProtocolT;
using apache::thrift::protocol::TProtocolException;
using apache::thrift::protocol::TType;
using apache::thrift::transport::TMemoryBuffer;

constexpr int kMaxDepth = 16;
constexpr size_t kHashBytes = 8;

// Reads with a bound on the elements of all containers together. Thrift's own limit is per container and lets a
// few bytes claim that many structs each time, since it takes a struct to need no bytes at all.
class BoundedReader final : public TCompactProtocolT<TMemoryBuffer> {
 public:
  BoundedReader(std::shared_ptr<TMemoryBuffer> buffer, size_t size)
      : TCompactProtocolT(std::move(buffer), static_cast<int32_t>(size), static_cast<int32_t>(kMaxElements)) {}

  uint32_t readListBegin_virt(TType& element, uint32_t& size) override {
    const uint32_t bytes = TCompactProtocolT::readListBegin_virt(element, size);
    count(size);
    return bytes;
  }
  uint32_t readSetBegin_virt(TType& element, uint32_t& size) override {
    const uint32_t bytes = TCompactProtocolT::readSetBegin_virt(element, size);
    count(size);
    return bytes;
  }
  uint32_t readMapBegin_virt(TType& key, TType& value, uint32_t& size) override {
    const uint32_t bytes = TCompactProtocolT::readMapBegin_virt(key, value, size);
    count(size);
    return bytes;
  }
  int getMinSerializedSize(TType type) override { return std::max(1, TCompactProtocolT::getMinSerializedSize(type)); }

 private:
  void count(uint32_t elements) {
    elements_ += elements;
    if (elements_ > kMaxElements) throw TProtocolException(TProtocolException::SIZE_LIMIT);
  }

  int64_t elements_ = 0;
};

// Counts what BoundedReader will count.
class CountingWriter final : public TCompactProtocolT<TMemoryBuffer> {
 public:
  using TCompactProtocolT::TCompactProtocolT;

  uint32_t writeListBegin_virt(const TType element, const uint32_t size) override {
    elements_ += size;
    return TCompactProtocolT::writeListBegin_virt(element, size);
  }
  uint32_t writeSetBegin_virt(const TType element, const uint32_t size) override {
    elements_ += size;
    return TCompactProtocolT::writeSetBegin_virt(element, size);
  }
  uint32_t writeMapBegin_virt(const TType key, const TType value, const uint32_t size) override {
    elements_ += size;
    return TCompactProtocolT::writeMapBegin_virt(key, value, size);
  }
  [[nodiscard]] int64_t elements() const { return elements_; }

 private:
  int64_t elements_ = 0;
};

// The bytes of `buffer`, which keeps them.
std::string_view written(TMemoryBuffer& buffer) {
  uint8_t* bytes = nullptr;
  uint32_t size = 0;
  buffer.getBuffer(&bytes, &size);
  return {reinterpret_cast<const char*>(bytes), size};
}

std::shared_ptr<TMemoryBuffer> write(const apache::thrift::TBase& value) {
  auto buffer = std::make_shared<TMemoryBuffer>(512);
  CountingWriter protocol(buffer);
  value.write(&protocol);
  CHECK_LE(protocol.elements(), kMaxElements) << "lists without a bound";
  return buffer;
}

Status read(std::string_view bytes, apache::thrift::TBase& value) {
  if (bytes.empty()) return fail(ErrorCode::kCorrupt, "no bytes");
  try {
    // Only read from: the transport's interface has no const form.
    auto* start = reinterpret_cast<uint8_t*>(const_cast<char*>(bytes.data()));
    const auto size = static_cast<uint32_t>(bytes.size());
    auto config = std::make_shared<TConfiguration>(static_cast<int>(size), static_cast<int>(size), kMaxDepth);
    auto buffer = std::make_shared<TMemoryBuffer>(start, size, TMemoryBuffer::OBSERVE, std::move(config));
    BoundedReader protocol(buffer, size);
    value.read(&protocol);
    if (buffer->available_read() != 0) return fail(ErrorCode::kCorrupt, "bytes after the end of the message");
  } catch (const std::exception& exception) {
    return fail(ErrorCode::kCorrupt, exception.what());
  }
  return {};
}

uint64_t read_hash(std::string_view bytes) {
  uint64_t hash = 0;
  for (size_t i = 0; i < kHashBytes; ++i) hash |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[i])) << (8 * i);
  return hash;
}

}  // namespace

SharedBuffer encode(const wire::Envelope& envelope) {
  auto buffer = write(envelope);
  const std::string_view bytes = written(*buffer);
  CHECK_LE(bytes.size(), kMaxControlBytes) << "a message without a bound";
  return {std::move(buffer), bytes};
}

Result<wire::Envelope> decode(const SharedBuffer& bytes) {
  if (bytes.size() > kMaxControlBytes) {
    return fail(ErrorCode::kCorrupt, "a message of " + std::to_string(bytes.size()) + " bytes, more than is allowed");
  }
  wire::Envelope envelope;
  if (Status status = read(bytes.view(), envelope); !status) return std::unexpected(std::move(status.error()));
  return envelope;
}

std::string encode_record(const apache::thrift::TBase& record) {
  const auto buffer = write(record);
  const std::string_view body = written(*buffer);
  CHECK_LE(body.size() + 1 + kHashBytes, kMaxRecordBytes) << "a record without a bound";
  std::string bytes;
  bytes.reserve(body.size() + 1 + kHashBytes);
  bytes.push_back(static_cast<char>(kRecordFormat));
  bytes.append(body);
  const uint64_t hash = XXH3_64bits(bytes.data(), bytes.size());
  for (size_t i = 0; i < kHashBytes; ++i) bytes.push_back(static_cast<char>(hash >> (8 * i)));
  return bytes;
}

Status decode_record_into(std::string_view bytes, apache::thrift::TBase& record) {
  if (bytes.size() < 1 + kHashBytes) return fail(ErrorCode::kCorrupt, "a record cut short");
  if (bytes.size() > kMaxRecordBytes) {
    return fail(ErrorCode::kCorrupt, "a record of " + std::to_string(bytes.size()) + " bytes, more than is allowed");
  }
  const std::string_view checked = bytes.substr(0, bytes.size() - kHashBytes);
  if (XXH3_64bits(checked.data(), checked.size()) != read_hash(bytes.substr(checked.size()))) {
    return fail(ErrorCode::kCorrupt, "a record whose checksum does not match");
  }
  if (const auto format = static_cast<uint8_t>(bytes[0]); format != kRecordFormat) {
    return fail(ErrorCode::kInvalid, "a record of format " + std::to_string(format) + ", this program knows " +
                                         std::to_string(kRecordFormat) + "; use the program that wrote it");
  }
  return read(checked.substr(1), record);
}

}  // namespace millrace

#include "gateway/api_keys.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <sstream>

#include "common/base/check.h"
#include "common/model/uri.h"

namespace millrace {
namespace {

using Sha256 = std::array<uint8_t, 32>;

constexpr size_t kLeastKeyBytes = 16;
constexpr std::string_view kHashed = "sha256:";

Sha256 sha256_of(std::string_view text) {
  Sha256 hash{};
  CHECK(EVP_Digest(text.data(), text.size(), hash.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return hash;
}

std::optional<Sha256> parse_hash(std::string_view hex) {
  Sha256 hash{};
  size_t length = 0;
  const std::string text(hex);
  if (text.size() != 2 * hash.size() || text.find(':') != std::string::npos) return std::nullopt;
  if (OPENSSL_hexstr2buf_ex(hash.data(), hash.size(), &length, text.c_str(), '\0') != 1) return std::nullopt;
  return hash;
}

std::optional<Role> parse_role(std::string_view text) {
  for (const Role role : {Role::kSubmit, Role::kRead, Role::kOperate}) {
    if (text == to_string(role)) return role;
  }
  return std::nullopt;
}

Result<ApiKey> parse_line(const std::string& line) {
  std::istringstream words(line);
  std::string name, role, key, more;
  if (!(words >> name >> role >> key) || words >> more) {
    return fail(ErrorCode::kInvalid, "expected NAME ROLE KEY");
  }
  if (const Status valid = check_name("the name of a key", name); !valid) return std::unexpected(valid.error());
  const auto known = parse_role(role);
  if (!known) return fail(ErrorCode::kInvalid, "a role is submit, read or operate");
  ApiKey parsed{.name = name, .role = *known, .sha256 = {}};
  if (key.starts_with(kHashed)) {
    const auto hash = parse_hash(std::string_view(key).substr(kHashed.size()));
    if (!hash) return fail(ErrorCode::kInvalid, "what follows sha256: must be 64 hex digits");
    parsed.sha256 = *hash;
  } else if (key.size() < kLeastKeyBytes) {
    return fail(ErrorCode::kInvalid,
                "a key has at least " + std::to_string(kLeastKeyBytes) + " signs; make one by: openssl rand -hex 24");
  } else {
    parsed.sha256 = sha256_of(key);
  }
  return parsed;
}

}  // namespace

bool may(Role holder, Role wanted) {
  return holder == Role::kOperate || holder == wanted;
}

const char* to_string(Role role) {
  switch (role) {
    case Role::kSubmit: return "submit";
    case Role::kRead: return "read";
    case Role::kOperate: return "operate";
  }
  return "?";
}

Result<ApiKeys> ApiKeys::parse(std::string_view text, const std::string& file) {
  ApiKeys keys;
  std::istringstream lines{std::string(text)};
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos || line[begin] == '#') continue;
    const std::string place = file + ":" + std::to_string(number) + ": ";
    auto key = parse_line(line);
    if (!key) return fail(ErrorCode::kInvalid, place + key.error().message);
    const bool known =
        std::ranges::any_of(keys.keys_, [&](const ApiKey& other) { return other.sha256 == key->sha256; });
    if (known) return fail(ErrorCode::kInvalid, place + "this key is in the file already; give each holder its own");
    keys.keys_.push_back(std::move(*key));
  }
  if (keys.keys_.empty()) return fail(ErrorCode::kInvalid, file + " holds no key; write a line NAME ROLE KEY into it");
  return keys;
}

const ApiKey* ApiKeys::find(std::string_view key) const {
  const Sha256 hash = sha256_of(key);
  const ApiKey* found = nullptr;
  for (const ApiKey& one : keys_) {
    if (CRYPTO_memcmp(one.sha256.data(), hash.data(), hash.size()) == 0) found = &one;
  }
  return found;
}

}  // namespace millrace

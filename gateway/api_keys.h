// ApiKeys: who may do what, by the keys of a file. Lines of "NAME ROLE KEY", # begins a comment; KEY is the key itself,
// of 16 signs at least, or sha256: and its SHA-256 in hex.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"

namespace millrace {

enum class Role { kSubmit, kRead, kOperate };

// What a key lets its holder do: what its role says, and an operator everything.
bool may(Role holder, Role wanted);
const char* to_string(Role role);

struct ApiKey {
  std::string name;
  Role role = Role::kSubmit;
  std::array<uint8_t, 32> sha256{};
};

class ApiKeys {
 public:
  // kInvalid: with the file and the line, and nothing of a key.
  static Result<ApiKeys> parse(std::string_view text, const std::string& file);

  // Null: there is none. Takes as long for any that is wrong.
  [[nodiscard]] const ApiKey* find(std::string_view key) const;
  [[nodiscard]] size_t size() const { return keys_.size(); }

 private:
  std::vector<ApiKey> keys_;
};

}  // namespace millrace

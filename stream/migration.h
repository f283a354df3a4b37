// Migration: how a value that former code kept becomes one of a state that goes by the same name, see
// Table::migrate_from(). It works on the entries of checkpoints, so what follows a value in its entry stays as it is.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "common/base/error.h"
#include "stream/codec.h"

namespace millrace::internal {

// None: the key goes. kCorrupt: the value does not parse. Called by several threads at once.
using MigrateValue = std::function<Result<std::optional<std::string>>(std::string_view value)>;

struct Migration {
  std::string from;  // the layout of former entries, as in StatePlan
  MigrateValue migrate;
};

// `F`: New(const Old&) or std::optional<New>(const Old&).
template <typename Old, typename New, typename F>
Result<std::optional<std::string>> migrate_value(const F& function, std::string_view value) {
  const char* at = value.data();
  const char* const end = at + value.size();
  Old old{};
  if (!Codec<Old>::decode(at, end, old)) return fail(ErrorCode::kCorrupt, "the former value does not parse");
  const std::optional<New> now = std::invoke(function, std::as_const(old));
  if (!now) return std::nullopt;
  std::string migrated(Codec<New>::size(*now), '\0');
  Codec<New>::encode(migrated.data(), *now);
  return migrated.append(at, end);
}

}  // namespace millrace::internal

// KeyedDefinition: what a keyed job has to say, below the bytes that the engine moves: a value, how two of them
// merge, how one is written, and the function that turns a record into pairs. Everything here is inlined into the
// loops of KeyedMapTask and KeyedStateTable; nothing is virtual.
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "common/base/ids.h"
#include "common/model/record_batch.h"

namespace millrace {

// A record as a job's function sees it. Its bytes live until the function returns.
struct InputRecord : RecordView {
  LogPartition partition;
};

// Why a record could not be processed, for its dead letter; none: it was.
using RecordProblem = std::optional<std::string>;

// A definition `D`:
//   Value                    trivially copyable.
//   merge(into, from)        exact, commutative and associative, or results would depend on the order of arrival.
//   encoded_size, encode, decode   the value's bytes in sections and checkpoints; decode says false to what encode
//                            cannot have written, and never reads past `end`.
//   text, score              what a reader of the sink sees, and what orders a rank.
//   make_function()          the function of one map task: function(const InputRecord&, emit) -> RecordProblem, which
//                            calls emit(std::string_view key, const Value&) any number of times. It may keep state
//                            that does not influence results (buffers), is used by one thread, and must find a
//                            record bad before it has emitted anything of it. The key is copied by emit.
template <typename D>
concept KeyedDefinition = std::is_trivially_copyable_v<typename D::Value> &&
                          requires(const D definition, typename D::Value& into, const typename D::Value& value,
                                   char* out, const char*& at, const char* end) {
                            { D::merge(into, value) } -> std::same_as<void>;
                            { D::encoded_size(value) } -> std::same_as<size_t>;
                            { D::encode(out, value) } -> std::same_as<char*>;
                            { D::decode(at, end, into) } -> std::same_as<bool>;
                            { D::text(value) } -> std::same_as<std::string>;
                            { D::score(value) } -> std::same_as<double>;
                            definition.make_function();
                          };

}  // namespace millrace

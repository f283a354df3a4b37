#include "jobs/registry.h"

#include <algorithm>

#include "jobs/settings.h"
#include "jobs/two_sum.h"
#include "jobs/word_count.h"

namespace millrace {
namespace {

struct Builtin {
  JobType type;
  Result<std::shared_ptr<const Job>> (*make)(const JobContext&);
};

const std::vector<Builtin>& builtins() {
  static const std::vector<Builtin> all = {
      {{"two_sum", "per word the count and a sum of hashes of the places where it occurs, for exact verification",
        two_sum_settings()},
       make_two_sum},
      {{"word_count", "how often each word of a text occurs", word_count_settings()}, make_word_count},
  };
  return all;
}

std::string known_types() {
  std::string names;
  for (const Builtin& builtin : builtins()) names += (names.empty() ? "" : ", ") + builtin.type.name;
  return names;
}

Status check_context(const JobContext& context) {
  constexpr int32_t kMaxStatePartitions = 1 << 16;
  if (context.state_partitions < 1 || context.state_partitions > kMaxStatePartitions) {
    return fail(ErrorCode::kInvalid, "the number of state partitions must be from 1 to 65536, not " +
                                         std::to_string(context.state_partitions));
  }
  if (context.partition_hash != 1) {
    return fail(ErrorCode::kInvalid,
                "version " + std::to_string(context.partition_hash) +
                    " of the partition hash is not known to this program, only 1; use a newer one");
  }
  constexpr int64_t kMaxRecordBytes = int64_t{1} << 30;
  if (context.max_record_bytes < 1 || context.max_record_bytes > kMaxRecordBytes) {
    return fail(ErrorCode::kInvalid, "the longest record must be from 1 to 1073741824 bytes, not " +
                                         std::to_string(context.max_record_bytes));
  }
  return {};
}

}  // namespace

std::vector<JobType> builtin_job_types() {
  std::vector<JobType> types;
  for (const Builtin& builtin : builtins()) types.push_back(builtin.type);
  return types;
}

Result<std::shared_ptr<const Job>> make_builtin_job(const std::string& type, const JobContext& context) {
  const auto builtin =
      std::find_if(builtins().begin(), builtins().end(), [&](const Builtin& each) { return each.type.name == type; });
  if (builtin == builtins().end()) {
    return fail(ErrorCode::kNotFound, "there is no job type '" + type + "'; there are: " + known_types());
  }
  for (const auto& [name, value] : context.settings) {
    const auto& known = builtin->type.settings;
    if (std::none_of(known.begin(), known.end(), [&](const JobSetting& each) { return each.name == name; })) {
      return unknown_setting(type, known, name);
    }
  }
  if (Status status = check_context(context); !status) return std::unexpected(status.error());
  return builtin->make(context);
}

}  // namespace millrace

// ControlService: where a job appends: whether it may, and whether nobody else does.

#include <algorithm>
#include <memory>
#include <utility>

#include "common/base/check.h"
#include "common/model/uri.h"
#include "master/control_service.h"
#include "master/submission.h"

namespace millrace {
namespace {

// Below one of `folders`.
bool is_below(const std::vector<std::string>& folders, const std::string& path) {
  return std::ranges::any_of(folders, [&path](const std::string& folder) {
    return path.starts_with(folder.ends_with('/') ? folder : folder + "/") && !path.contains("/../");
  });
}

std::string names_of(const std::vector<OutputPlan>& outputs) {
  std::string names;
  for (const OutputPlan& output : outputs) {
    if (!output.format.empty()) names += (names.empty() ? "" : ", ") + output.name;
  }
  return names.empty() ? "none that has a place" : names;
}

}  // namespace

std::string allowed_folders(const std::vector<std::string>& folders) {
  std::string allowed;
  for (const std::string& folder : folders) allowed += (allowed.empty() ? "" : ", ") + folder;
  return allowed.empty() ? "no directory" : allowed;
}

Status check_output_plans(const JobPlan& plan) {
  for (size_t i = 0; i < plan.outputs.size(); ++i) {
    const OutputPlan& output = plan.outputs[i];
    if (Status named = check_name("an output's name", output.name); !named.has_value()) return named;
    const bool known =
        output.format.empty() || output.format == "text" || output.format == "json" || output.format == "csv";
    if (!known || output.parts < 1 || output.parts > OutputPlan::kMaxParts) {
      return fail(ErrorCode::kInvalid,
                  "output '" + output.name + "' is none that this program knows; update the master");
    }
    for (size_t other = 0; other < i; ++other) {
      if (plan.outputs[other].name == output.name) {
        return fail(ErrorCode::kInvalid, "two outputs are named '" + output.name + "'");
      }
    }
  }
  return {};
}

// Files are written by the workers' user on behalf of whoever reaches the API.
Status ControlService::check_outputs(const wire::JobSpec& spec, const JobPlan& plan) const {
  for (const auto& [name, place] : spec.outputs) {
    const auto output = std::ranges::find(plan.outputs, name, &OutputPlan::name);
    if (output == plan.outputs.end() || output->format.empty()) {
      return fail(ErrorCode::kInvalid,
                  "--output: the job has no output '" + name + "' to give a place; it has " + names_of(plan.outputs));
    }
    const auto uri = parse_uri(place, "file:///DIR or kafka://HOST:PORT/TOPIC");
    if (!uri.has_value()) return fail(ErrorCode::kInvalid, "--output " + name + ": " + uri.error().message);
    for (const auto& [other, other_place] : spec.outputs) {
      if (other < name && other_place == place) {
        return fail(ErrorCode::kInvalid, "--output: '" + other + "' and '" + name + "' cannot share a place");
      }
    }
    if (uri->scheme != "file") continue;
    const auto& folders = master_.options().output_directories;
    if (is_below(folders, "/" + uri->path + "/")) continue;
    return fail(ErrorCode::kInvalid, "--output " + name + ": jobs may not write to /" + uri->path + ", only below " +
                                         allowed_folders(folders) +
                                         "; start the master with another --output_directories");
  }
  for (const OutputPlan& output : plan.outputs) {
    if (output.parts > spec.state_partitions) {
      return fail(ErrorCode::kInvalid, "output '" + output.name + "' has " + std::to_string(output.parts) +
                                           " parts, more than --state-partitions");
    }
    if (output.format.empty() || !master_.options().outputs_need_places || spec.outputs.contains(output.name)) continue;
    return fail(ErrorCode::kInvalid, "the job appends to '" + output.name +
                                         "', and it is not said where; add --output " + output.name +
                                         "=file:///DIR or " + output.name + "=kafka://HOST:PORT/TOPIC");
  }
  return {};
}

Result<std::vector<std::unique_ptr<Output>>> ControlService::make_outputs(const Submission& submission) {
  std::vector<std::unique_ptr<Output>> outputs;
  const wire::JobSpec& spec = submission.record.spec;
  for (const OutputPlan& plan : plan_from(spec.plan).outputs) {
    const auto place = spec.outputs.find(plan.name);
    if (place == spec.outputs.end()) continue;
    OutputTarget target{.job_name = spec.name,
                        .job = submission.id(),
                        .plan = plan,
                        .uri = place->second,
                        .config = spec.output_config,
                        .make_function = nullptr};
    auto output = master_.deps().make_output(target);
    if (!output.has_value()) return std::unexpected(output.error());
    outputs.push_back(std::move(*output));
  }
  return outputs;
}

// One after the other.
void ControlService::claim_outputs(const std::shared_ptr<Submission>& held, size_t next) {
  if (next == held->outputs.size()) return claim_sink(held);
  held->outputs_claimed = true;
  held->outputs[next]->claim(lifetime_.guard([this, weak = std::weak_ptr(held), next](Status status) {
    const auto submission = weak.lock();
    if (status.has_value()) return claim_outputs(submission, next + 1);
    finish_submission(submission, fail(status.error().code, "--output: " + status.error().message));
  }));
}

void ControlService::release_outputs(const std::shared_ptr<Submission>& held, size_t next) {
  if (next == held->outputs.size()) {
    submissions_.erase(held);
    return;
  }
  submissions_.insert(held);
  held->outputs[next]->release(lifetime_.guard([this, weak = std::weak_ptr(held), next](const Status& status) {
    if (!status.has_value()) LOG(WARNING) << "a claim of an output is left behind: " << status.error();
    release_outputs(weak.lock(), next + 1);
  }));
}

}  // namespace millrace

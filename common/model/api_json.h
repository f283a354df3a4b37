// What the command line and the status port give as JSON of the same form. `Json` is a nlohmann::json of either order;
// `AsOf`, `Profile` and `Profiles` are what the Thrift compiler made of AsOf, BatchProfile and BatchProfiles.
#pragma once

#include <utility>

namespace millrace {

template <typename Json, typename AsOf>
Json json_of_as_of(const AsOf& as_of) {
  return {{"job_id", as_of.job_id}, {"incarnation", as_of.incarnation}, {"epoch", as_of.epoch}, {"batch", as_of.batch}};
}

template <typename Json, typename Profile>
Json json_of_profile(const Profile& profile) {
  Json steps = Json::array();
  for (const auto& step : profile.steps) {
    Json object = {
        {"name", step.name}, {"begin_us", step.begin_us}, {"end_us", step.end_us}, {"held_us", step.held_us}};
    if (step.lanes > 0) {
      object["busy_us"] = step.busy_us;
      object["lanes"] = step.lanes;
      object["lane_p50_us"] = step.lane_p50_us;
      object["lane_most_us"] = step.lane_most_us;
      object["slowest"] = step.slowest;
    }
    steps.push_back(std::move(object));
  }
  return {{"batch", profile.batch},
          {"time_ms", profile.time_ms},
          {"newest_ms", profile.newest_ms},
          {"records", profile.records},
          {"bytes", profile.bytes},
          {"durable_us", profile.durable_us},
          {"mapped_us", profile.mapped_us},
          {"applied_us", profile.applied_us},
          {"published_us", profile.published_us},
          {"published_by", profile.published_by},
          {"steps", std::move(steps)}};
}

template <typename Json, typename Profiles>
Json json_of_profiles(const Profiles& profiles) {
  Json batches = Json::array();
  for (const auto& profile : profiles.batches) batches.push_back(json_of_profile<Json>(profile));
  return {{"as_of", json_of_as_of<Json>(profiles.as_of)}, {"now_ms", profiles.now_ms}, {"batches", std::move(batches)}};
}

}  // namespace millrace

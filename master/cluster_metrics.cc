#include "master/cluster_metrics.h"

#include <utility>

#include "common/metrics/metric_families.h"

namespace millrace {
namespace {

// A value of each job.
struct JobMetric {
  const char* name;
  const char* help;
  double (*value)(const JobFigures& job);
};

double as_double(int64_t number) {
  return static_cast<double>(number);
}

double seconds_of_ms(int64_t ms) {
  return static_cast<double>(ms) / 1e3;
}

constexpr JobMetric kCounters[] = {
    {"millrace_job_records_total", "Records processed, dead letters included.",
     [](const JobFigures& job) { return as_double(job.summary.records); }},
    {"millrace_job_emitted_total", "What the job's map has made of its records: of word_count the words.",
     [](const JobFigures& job) { return as_double(job.summary.emitted); }},
    {"millrace_job_dead_letters_total", "Records that could not be processed.",
     [](const JobFigures& job) { return as_double(job.summary.dead_letters); }},
    {"millrace_job_late_records_total", "Records that came too late for some window by event time.",
     [](const JobFigures& job) { return as_double(job.summary.late); }},
    {"millrace_job_assignments_total", "How often executors were told who owns what.",
     [](const JobFigures& job) { return as_double(job.events.assignments); }},
    {"millrace_job_partitions_loaded_total", "State partitions that a new owner had to load and bring up to date.",
     [](const JobFigures& job) { return as_double(job.events.partitions_loaded); }},
    {"millrace_job_recoveries_total", "Executors that were lost, so that the others had to take over.",
     [](const JobFigures& job) { return as_double(job.events.executors_lost); }},
    {"millrace_job_checkpoints_total", "Complete checkpoints.",
     [](const JobFigures& job) { return as_double(job.events.checkpoints); }},
    {"millrace_job_publications_total", "Publications that the sink holds completely.",
     [](const JobFigures& job) { return as_double(job.events.publications); }},
    {"millrace_job_sink_losses_total", "How often the sink lacked what it had been given, so that it got it again.",
     [](const JobFigures& job) { return as_double(job.events.sink_losses); }},
};

constexpr JobMetric kGauges[] = {
    {"millrace_job_problem", "1 if something is in the job's way: `millrace describe` says what.",
     [](const JobFigures& job) { return job.summary.problem.empty() ? 0.0 : 1.0; }},
    {"millrace_job_applied_batch", "Newest batch that all state partitions have applied.",
     [](const JobFigures& job) { return as_double(job.summary.applied.batch); }},
    {"millrace_job_published_batch", "Newest batch that the sink holds completely.",
     [](const JobFigures& job) { return as_double(job.summary.published); }},
    {"millrace_job_changed_batch", "Newest applied batch that changed anything: all is published once that one is.",
     [](const JobFigures& job) { return as_double(job.summary.changed); }},
    {"millrace_job_lag_records", "Records of the source that are not applied yet.",
     [](const JobFigures& job) { return as_double(job.summary.lag_records); }},
    {"millrace_job_newest_record_timestamp_seconds", "Time stamp of the newest record that is applied; 0: none yet.",
     [](const JobFigures& job) { return seconds_of_ms(job.newest_record_ms); }},
    {"millrace_job_watermark_timestamp_seconds", "Up to which event time all has come; 0: the job has no event time.",
     [](const JobFigures& job) { return seconds_of_ms(job.summary.watermark_ms); }},
    {"millrace_job_checkpoint_batch", "Batch of the newest complete checkpoint; 0: none.",
     [](const JobFigures& job) { return as_double(job.checkpoint_batch); }},
    {"millrace_job_checkpoint_timestamp_seconds", "Time of that batch; 0: none.",
     [](const JobFigures& job) { return seconds_of_ms(job.checkpoint_ms); }},
    {"millrace_job_checkpoint_bytes", "Size of the newest complete checkpoint's files.",
     [](const JobFigures& job) { return as_double(job.checkpoint_bytes); }},
    {"millrace_job_checkpoint_files", "Files of the newest complete checkpoint.",
     [](const JobFigures& job) { return as_double(job.checkpoint_files); }},
    {"millrace_job_batches_in_flight", "Batches that are cut and not applied by all.",
     [](const JobFigures& job) { return as_double(job.in_flight); }},
    {"millrace_job_batches_not_durable", "Batches that are cut and not in the batch log yet.",
     [](const JobFigures& job) { return as_double(job.not_durable); }},
    {"millrace_job_batches_since_checkpoint", "Batches that are cut and after the newest checkpoint.",
     [](const JobFigures& job) { return as_double(job.uncheckpointed); }},
    {"millrace_job_replays_waiting", "Ranges of batches that are still to be mapped again for a recovery.",
     [](const JobFigures& job) { return as_double(job.replays); }},
    {"millrace_job_recovering_partitions", "State partitions that are not up to date after they moved.",
     [](const JobFigures& job) { return as_double(job.recovering); }},
    {"millrace_job_unpublished_partitions", "State partitions that the publication under way waits for.",
     [](const JobFigures& job) { return as_double(job.unpublished); }},
};

MetricLabels labels_of(const JobFigures& job) {
  return {{"job_name", job.summary.name}};
}

void add_cluster(MetricFamilies& families, const ClusterFigures& cluster) {
  families.gauge("millrace_master_epoch", "Raised by each master that begins.").add({}, as_double(cluster.epoch));
  families.gauge("millrace_workers", "Workers of the cluster, those that leave included.")
      .add({}, as_double(cluster.workers_ready + cluster.workers_draining));
  families.gauge("millrace_workers_draining", "Workers that hand over what they hold.")
      .add({}, as_double(cluster.workers_draining));
  families.gauge("millrace_master_messages_bytes", "Messages of the master that are not acknowledged.")
      .add({}, as_double(cluster.messages_bytes));
  MetricValues& executors = families.gauge("millrace_executors", "Executor processes that the master knows of.");
  executors.add({{"state", "ready"}}, as_double(cluster.executors_ready));
  executors.add({{"state", "starting"}}, as_double(cluster.executors_starting));
}

void add_jobs(MetricFamilies& families, const std::vector<JobFigures>& jobs) {
  for (const JobMetric& metric : kCounters) {
    MetricValues& values = families.counter(metric.name, metric.help);
    for (const JobFigures& job : jobs) values.add(labels_of(job), metric.value(job));
  }
  for (const JobMetric& metric : kGauges) {
    MetricValues& values = families.gauge(metric.name, metric.help);
    for (const JobFigures& job : jobs) values.add(labels_of(job), metric.value(job));
  }
  MetricValues& states = families.gauge("millrace_job_state", "1 for the state that the job is in, 0 for the others.");
  MetricValues& lags = families.gauge("millrace_job_partition_lag_records",
                                      "Records of a partition of the source that are not applied yet.");
  MetricValues& abandoned =
      families.counter("millrace_job_checkpoints_abandoned_total",
                       "Checkpoints that did not get complete: failed, or given up because owners changed.");
  for (const JobFigures& job : jobs) {
    const std::string& name = job.summary.name;
    for (const char* state : {"loading", "running", "stopping", "stopped", "failed"}) {
      states.add({{"job_name", name}, {"state", state}}, job.summary.state == state ? 1 : 0);
    }
    for (const JobFigures::PartitionLag& lag : job.lags) {
      lags.add({{"job_name", name}, {"topic", lag.topic}, {"partition", std::to_string(lag.partition)}},
               as_double(lag.records));
    }
    abandoned.add({{"job_name", name}, {"cause", "failed"}}, as_double(job.events.checkpoints_failed));
    abandoned.add({{"job_name", name}, {"cause", "given_up"}}, as_double(job.events.checkpoints_given_up));
  }
}

void add_times(MetricFamilies& families, const std::vector<JobFigures>& jobs) {
  MetricValues& batches = families.histogram("millrace_job_batch_seconds",
                                             "From a batch's cut until it was durable, mapped, applied, published.");
  MetricValues& checkpoints = families.histogram("millrace_job_checkpoint_seconds",
                                                 "From the end of a batch until its checkpoint was complete.");
  MetricValues& held = families.counter("millrace_job_step_held_seconds_total",
                                        "How long a step alone has held batches up between cut and applied.");
  for (const JobFigures& job : jobs) {
    const std::string& name = job.summary.name;
    for (const auto& [until, histogram] : job.latencies) batches.add({{"job_name", name}, {"until", until}}, histogram);
    checkpoints.add(labels_of(job), job.checkpoint_seconds);
    for (const auto& [step, us] : job.held_us) {
      held.add({{"job_name", name}, {"step", step}}, static_cast<double>(us) / 1e6);
    }
  }
}

void add_executors(MetricFamilies& families, const std::vector<JobFigures>& jobs) {
  MetricValues& partitions =
      families.gauge("millrace_executor_state_partitions", "State partitions that the executor owns.");
  MetricValues& logs = families.gauge("millrace_executor_log_partitions", "Log partitions that the executor reads.");
  MetricValues& keys = families.gauge("millrace_executor_keys", "Keys in the executor's state tables.");
  MetricValues& memory = families.gauge("millrace_executor_memory_bytes",
                                        "Memory of the executor by its owner: state tables, what is read ahead of the "
                                        "log, blocks that are kept for replays, messages that are not acknowledged.");
  MetricValues& busy =
      families.counter("millrace_executor_lane_busy_seconds_total", "How long a lane of the executor was at work.");
  MetricValues& sink = families.gauge("millrace_executor_sink_waiting",
                                      "Snapshots of state partitions that the sink does not hold yet.");
  MetricValues& outputs = families.gauge("millrace_executor_appends_waiting",
                                         "Batches of state partitions that the job's outputs do not hold yet.");
  for (const JobFigures& job : jobs) {
    for (const JobFigures::Executor& executor : job.executors) {
      const MetricLabels labels = {
          {"job_name", job.summary.name}, {"worker", executor.summary.worker}, {"executor", executor.summary.process}};
      const auto with = [&labels](const char* name, std::string value) {
        MetricLabels more = labels;
        more.push_back({name, std::move(value)});
        return more;
      };
      partitions.add(labels, as_double(executor.summary.state_partitions));
      logs.add(labels, as_double(executor.summary.log_partitions));
      keys.add(labels, as_double(executor.summary.keys));
      int64_t read_ahead = 0;
      int64_t kept = 0;
      for (size_t lane = 0; lane < executor.told.lanes.size(); ++lane) {
        const wire::LaneFigures& told = executor.told.lanes[lane];
        read_ahead += told.read_ahead_bytes;
        kept += told.kept_bytes;
        busy.add(with("lane", std::to_string(lane)), static_cast<double>(told.busy_us) / 1e6);
      }
      memory.add(with("owner", "state"), as_double(executor.summary.memory_bytes));
      memory.add(with("owner", "read_ahead"), as_double(read_ahead));
      memory.add(with("owner", "kept_blocks"), as_double(kept));
      memory.add(with("owner", "messages"), as_double(executor.told.messages_bytes));
      sink.add(labels, as_double(executor.told.sink_waiting));
      outputs.add(labels, as_double(executor.told.appends_waiting));
    }
  }
}

}  // namespace

std::string cluster_metrics_text(const ClusterFigures& cluster) {
  MetricFamilies families;
  add_cluster(families, cluster);
  add_jobs(families, cluster.jobs);
  add_times(families, cluster.jobs);
  add_executors(families, cluster.jobs);
  return families.text();
}

}  // namespace millrace

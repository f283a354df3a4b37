#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/metrics/latency_histogram.h"
#include "common/metrics/metric_families.h"
#include "master/cluster_metrics.h"

namespace millrace {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(MetricsTest, ValuesComeWithTheirTypeAndEscapedLabels) {
  MetricFamilies families;
  families.counter("millrace_seen_total", "What was seen.").add({{"what", "a \"b\" \\ c\nd"}}, 3);
  families.gauge("millrace_open", "What is open.").add({}, 0.25);
  EXPECT_EQ(families.text(),
            "# HELP millrace_seen_total What was seen.\n# TYPE millrace_seen_total counter\n"
            "millrace_seen_total{what=\"a \\\"b\\\" \\\\ c\\nd\"} 3\n"
            "# HELP millrace_open What is open.\n# TYPE millrace_open gauge\nmillrace_open 0.25\n");
}

TEST(MetricsTest, LargeAndSmallNumbersKeepTheirDigits) {
  MetricFamilies families;
  MetricValues& values = families.gauge("millrace_number", "A number.");
  values.add({{"n", "1"}}, 1763863338123);
  values.add({{"n", "2"}}, 0.000125);
  EXPECT_THAT(families.text(), HasSubstr("{n=\"1\"} 1763863338123\n"));
  EXPECT_THAT(families.text(), HasSubstr("{n=\"2\"} 0.000125\n"));
}

TEST(MetricsTest, AHistogramCountsWhatIsAsLongAsItsBound) {
  LatencyHistogram histogram;
  histogram.observe(std::chrono::milliseconds(1));
  histogram.observe(std::chrono::minutes(2));
  MetricFamilies families;
  families.histogram("millrace_took_seconds", "How long it took.").add({{"job", "wc"}}, histogram.collect());
  EXPECT_THAT(families.text(), HasSubstr("millrace_took_seconds_bucket{job=\"wc\",le=\"0.001\"} 1\n"));
  EXPECT_THAT(families.text(), HasSubstr("millrace_took_seconds_bucket{job=\"wc\",le=\"60\"} 1\n"));
  EXPECT_THAT(families.text(), HasSubstr("millrace_took_seconds_bucket{job=\"wc\",le=\"+Inf\"} 2\n"));
  EXPECT_THAT(families.text(), HasSubstr("millrace_took_seconds_count{job=\"wc\"} 2\n"));
}

TEST(MetricsTest, AClusterTellsItsJobsAndTheirExecutors) {
  ClusterFigures cluster;
  cluster.workers_ready = 2;
  JobFigures& job = cluster.jobs.emplace_back();
  job.summary.name = "wc";
  job.summary.state = "running";
  job.summary.records = 7;
  job.lags.push_back({"lines", 3, 40});
  JobFigures::Executor& executor = job.executors.emplace_back();
  executor.summary.worker = "ann:1";
  executor.summary.process = "00000000000000aa";
  executor.summary.memory_bytes = 1000;
  executor.told.lanes.resize(2);
  executor.told.lanes[1].busy_us = 1'500'000;
  executor.told.lanes[0].kept_bytes = 20;
  executor.told.lanes[1].kept_bytes = 30;
  const std::string text = cluster_metrics_text(cluster);
  EXPECT_THAT(text, HasSubstr("\nmillrace_workers 2\n"));
  EXPECT_THAT(text, HasSubstr("millrace_job_records_total{job_name=\"wc\"} 7\n"));
  EXPECT_THAT(text, HasSubstr("millrace_job_state{job_name=\"wc\",state=\"running\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("millrace_job_state{job_name=\"wc\",state=\"failed\"} 0\n"));
  EXPECT_THAT(text,
              HasSubstr("millrace_job_partition_lag_records{job_name=\"wc\",topic=\"lines\",partition=\"3\"} 40\n"));
  const std::string labels = "{job_name=\"wc\",worker=\"ann:1\",executor=\"00000000000000aa\"";
  EXPECT_THAT(text, HasSubstr("millrace_executor_lane_busy_seconds_total" + labels + ",lane=\"1\"} 1.5\n"));
  EXPECT_THAT(text, HasSubstr("millrace_executor_memory_bytes" + labels + ",owner=\"kept_blocks\"} 50\n"));
  EXPECT_THAT(text, Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace millrace

// StatusPage: what the status port shows of a master. Called by the port's threads; asks the master on its loop.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "common/runtime/event_loop.h"
#include "common/seams/api_service.h"
#include "master/master.h"

namespace millrace {

class StatusPage {
 public:
  StatusPage(EventLoop& loop, Master& master, ApiService& service) : loop_(loop), master_(master), service_(service) {}

  std::string json();
  std::string metrics();  // Prometheus' text format
  std::string problem();  // of any job, or of the cluster; empty: all is well
  // Of a job the profiles of its newest batches, `n` (100) and `before` (0) as Control.batches() has them: the code of
  // HTTP and JSON, with an `error` where the code is not 200.
  std::pair<int, std::string> batches(const std::string& job, const std::map<std::string, std::string>& query);

 private:
  EventLoop& loop_;      // outlives this
  Master& master_;       // outlives this
  ApiService& service_;  // outlives this
};

}  // namespace millrace

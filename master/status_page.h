// StatusPage: what the status port shows of a master. Called by the port's threads; asks the master on its loop.
#pragma once

#include <string>

#include "common/runtime/event_loop.h"
#include "master/master.h"

namespace millrace {

class StatusPage {
 public:
  StatusPage(EventLoop& loop, Master& master) : loop_(loop), master_(master) {}

  std::string json();
  std::string metrics();  // Prometheus' text format
  std::string problem();  // of any job, or of the cluster; empty: all is well

 private:
  EventLoop& loop_;  // outlives this
  Master& master_;   // outlives this
};

}  // namespace millrace

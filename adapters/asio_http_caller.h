// AsioHttpCaller: an HttpCaller over TCP. HTTP/1.1, connections are kept; names are looked up once.
#pragma once

#include <memory>

#include "common/seams/http_caller.h"

namespace millrace {

class AsioHttpCaller final : public HttpCaller {
 public:
  AsioHttpCaller();
  ~AsioHttpCaller() override;
  AsioHttpCaller(const AsioHttpCaller&) = delete;
  AsioHttpCaller& operator=(const AsioHttpCaller&) = delete;

  void call(HttpCall call, Answered answered) override;
  void schedule(Duration delay, Task task) override;
  void run() override;
  void stop() override;

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace millrace

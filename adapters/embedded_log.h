// EmbeddedLog: reads an embedded log (`log://NAME`) that another process, or this one, appends to.
//
// One thread per EmbeddedLog, the reading thread, maps the segments and verifies the checksums; chunks point into
// the mappings, so that nothing is copied. It sleeps on the log's announcement page (a futex that is shared between
// processes) and is woken by appends and by credit given back; see embedded_log_files.h.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "common/seams/log.h"
#include "common/seams/task_loop.h"

namespace millrace {

// Lives on one loop, which outlives it. Chunks may outlive it.
class EmbeddedLog final : public Log {
 public:
  // `root` is the folder that the owner keeps its logs in.
  EmbeddedLog(std::filesystem::path root, std::string name, TaskLoop& loop);
  ~EmbeddedLog() override;  // no reader may be left
  EmbeddedLog(const EmbeddedLog&) = delete;
  EmbeddedLog& operator=(const EmbeddedLog&) = delete;

  void describe(std::move_only_function<void(Result<LogDescription>)> done) override;
  void find_time(int64_t time_ms, std::move_only_function<void(Result<LogOffsets>)> done) override;
  [[nodiscard]] std::unique_ptr<LogReader> open(const LogReaderOptions& options, LogReaderHandler* handler) override;

 private:
  class Core;
  class Reader;
  std::shared_ptr<Core> core_;
};

}  // namespace millrace

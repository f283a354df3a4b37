// StatePages: reads chains of state files page by page, see CheckpointStore::read_page(). Where a page ended is
// remembered for a while, so that the next one costs what is in it, and not a search in each file.
//
// Lives on one thread, and blocks.
#pragma once

#include <list>
#include <memory>
#include <string>

#include "common/seams/checkpoint_store.h"

namespace millrace {

class StatePages {
 public:
  explicit StatePages(std::string root);
  ~StatePages();
  StatePages(const StatePages&) = delete;
  StatePages& operator=(const StatePages&) = delete;

  Result<StatePage> read(const StateSlice& slice);
  // Closes all files: those that were removed take space as long as they are open.
  void forget();

 private:
  class Cursor;
  static constexpr size_t kMostCursors = 4;

  const std::string root_;
  std::list<std::unique_ptr<Cursor>> cursors_;  // the newest first
};

}  // namespace millrace

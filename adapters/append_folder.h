// AppendFolder: the files of an append output: DIR/PART-BATCH.txt (.jsonl, .csv), one for each batch of a part that
// brings something, in their order when sorted by name. A file is there whole or not at all, and once, also where
// readers take files away. Blocking.
//
// What its owners remember is the name of a folder, DIR/.millrace/JOBID-OUTPUT/PART-GENERATION-BATCH: who owns the
// part, and the batch up to which it has come. In it stands at most one file, staged-BATCH.
// 1. Stage the file, durably. 2. Rename the folder so that it names the batch, durably. 3. Rename the file to its
// place. A batch up to that of the folder's name is done, but for the file that may still be staged for exactly that
// one; a file that is staged for another batch never was.
//
// A new owner renames the folder before anything else. Every step goes by the folder's name, so whatever the one before
// still does fails, even if it was about to rename a file. Folders are made by claim() alone, so that there is one for
// each part at any time.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "common/seams/output.h"

namespace millrace {

class AppendFolder {
 public:
  // kInvalid: it is no file:///DIR.
  static Result<AppendFolder> open(const OutputTarget& target);

  // The directory is made if the one above it is there.
  Status claim();
  Status release();
  Status enter(int32_t part, Generation generation);
  Status append(const OutputBatch& batch);

 private:
  struct Owned {
    Generation generation;
    BatchId mark;  // how far it has come
  };

  AppendFolder(const OutputTarget& target, std::string root, std::string ending);

  Status make_claim();
  [[nodiscard]] Result<Owned> find_folder(int32_t part) const;
  Status rename_folder(int32_t part, Owned& owned, const Owned& to) const;
  Status finish_staged(int32_t part, const Owned& owned) const;
  Status stage(int32_t part, const Owned& owned, const OutputBatch& batch) const;
  Status put_in_place(int32_t part, const Owned& owned) const;
  [[nodiscard]] std::string folder_of(int32_t part, const Owned& owned) const;
  [[nodiscard]] std::string staged_of(int32_t part, const Owned& owned, BatchId batch) const;
  [[nodiscard]] std::string place_of(int32_t part, BatchId batch) const;

  std::string root_;
  std::string ending_;
  std::string job_folder_;  // ROOT/.millrace/JOBID-OUTPUT
  int32_t parts_;
  std::map<int32_t, Owned> owned_;  // by part
};

}  // namespace millrace

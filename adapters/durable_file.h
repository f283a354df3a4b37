// Durable files below a root directory: written aside, synced, and put under their name in one step.
// Blocking; used on an adapter's own thread. Names are relative, with '/' between folders.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"

namespace millrace::durable_file {

struct Digest {
  uint64_t size = 0;
  uint64_t hash = 0;  // XXH3-64 of all bytes
};

// kInvalid for what would leave the root or its order: absolute, empty parts, parts that begin with a dot.
Status check_file_name(const std::string& name);

// kIo with the path and what to do, for an errno of a call on `path`; kNotFound for ENOENT.
Error describe_errno(const std::string& path, int error_number);

// Makes ROOT and ROOT/.tmp, which is also the mark of the store's own root: where it is missing later, another
// directory stands in its place, as a share's mount point does while the share is away.
Status make_root(const std::string& root);
[[nodiscard]] bool is_there(const std::string& root);

// A path in ROOT/.tmp that no other process or call uses. kNotFound: the root is not there.
Result<std::string> temporary_path(const std::string& root);
// Removes what crashed writers left in ROOT/.tmp longer than an hour ago.
void sweep_temporary(const std::string& root);

// Writes and syncs a new file.
Status write_file(const std::string& path, std::string_view bytes);
// Reads a whole file.
Result<std::string> read_file(const std::string& path);
// Size and hash of what the file holds now; with `sync`, made durable first.
Result<Digest> digest_file(const std::string& path, bool sync);

// Puts a synced temporary file under its name, durably; what was there is replaced.
Status publish_replacing(const std::string& root, const std::string& temporary, const std::string& name);
// The same, but false (and the temporary file removed) if the name exists.
Result<bool> publish_new(const std::string& root, const std::string& temporary, const std::string& name);

// Names below a folder ("" is the root), ascending; an absent folder holds none.
Result<std::vector<std::string>> list_files(const std::string& root, const std::string& folder);
// Removes a file and the folders that are empty without it. What is absent is success.
Status remove_file(const std::string& root, const std::string& name);

}  // namespace millrace::durable_file

// Uri: where a job reads and writes: scheme://[user[:password]@]authority[/path][?key=value&...], or directory:///path
// and file:///path, in which every sign stands for itself.
#pragma once

#include <map>
#include <string>

#include "common/base/error.h"

namespace millrace {

struct Uri {
  std::string scheme;  // kafka, log, socket, directory, file, redis, none
  std::string user;
  std::string password;   // never printed: see masked()
  std::string authority;  // host:port[,host:port], or the name of an embedded log; of a directory none
  std::string path;       // without the leading '/': topic, database or directory
  std::map<std::string, std::string> options;

  // The URI as it may be shown: the password is "***".
  [[nodiscard]] std::string masked() const;
};

// kInvalid with the place and the `expected` form, which who asks knows, and nothing of a password. What stands before
// the last '@' is the login; percent-encoding is decoded there only.
Result<Uri> parse_uri(const std::string& text, const std::string& expected = "SCHEME://...");

// A job's or embedded log's name: 1 to 64 of A-Z a-z 0-9 _ - . and not beginning with a dot. kInvalid says so.
Status check_name(const std::string& what, const std::string& name);

}  // namespace millrace

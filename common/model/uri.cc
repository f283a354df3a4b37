#include "common/model/uri.h"

#include <algorithm>
#include <cctype>

#include "common/base/hex.h"

namespace millrace {
namespace {

std::string percent_decode(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape =
        text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0;
    if (escape) {
      out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string without_login(const std::string& text) {
  const size_t at = text.rfind('@');
  return at == std::string::npos ? text : "***" + text.substr(at);
}

}  // namespace

std::string Uri::masked() const {
  std::string text = scheme + "://";
  if (!user.empty() || !password.empty()) text += user + (password.empty() ? "" : ":***") + "@";
  text += authority;
  if (!path.empty()) text += "/" + path;
  char separator = '?';
  for (const auto& [key, value] : options) {
    text += separator + key + "=" + value;
    separator = '&';
  }
  return text;
}

Result<Uri> parse_uri(const std::string& text, const std::string& expected) {
  Uri uri;
  if (text == "none:" || text == "none") {
    uri.scheme = "none";
    return uri;
  }
  const size_t colon = text.find("://");
  if (colon == std::string::npos || colon == 0) {
    return fail(ErrorCode::kInvalid, "'" + without_login(text).substr(0, 40) + "' is not a URI; expected " + expected);
  }
  uri.scheme = text.substr(0, colon);
  std::string rest = text.substr(colon + 3);
  if (uri.scheme == "directory" || uri.scheme == "file") {
    if (rest.size() < 2 || rest[0] != '/') {
      return fail(ErrorCode::kInvalid,
                  "a " + uri.scheme + " URI holds a whole path: " + uri.scheme + ":///PATH, with three slashes");
    }
    uri.path = rest.substr(1);
    return uri;
  }
  // Before anything else: a password may hold any of the other signs, and nothing of it may be shown.
  if (const size_t at = rest.rfind('@'); at != std::string::npos) {
    const std::string login = rest.substr(0, at);
    const size_t split = std::min(login.find(':'), login.size());
    uri.user = percent_decode(login.substr(0, split));
    if (split < login.size()) uri.password = percent_decode(login.substr(split + 1));
    rest.erase(0, at + 1);
  }
  if (const size_t question = rest.find('?'); question != std::string::npos) {
    std::string query = rest.substr(question + 1);
    rest.resize(question);
    while (!query.empty()) {
      const size_t end = std::min(query.find('&'), query.size());
      const std::string pair = query.substr(0, end);
      query.erase(0, std::min(end + 1, query.size()));
      const size_t equals = pair.find('=');
      if (equals == std::string::npos || equals == 0) {
        return fail(ErrorCode::kInvalid, "option '" + pair + "' of a " + uri.scheme + " URI is not KEY=VALUE");
      }
      uri.options[pair.substr(0, equals)] = pair.substr(equals + 1);
    }
  }
  if (const size_t slash = rest.find('/'); slash != std::string::npos) {
    uri.path = rest.substr(slash + 1);
    rest.resize(slash);
  }
  uri.authority = rest;
  if (uri.authority.empty()) {
    return fail(ErrorCode::kInvalid, "the " + uri.scheme + " URI names no host or log");
  }
  const bool bare = uri.user.empty() && uri.password.empty() && uri.options.empty();
  const bool source = uri.scheme == "kafka" || uri.scheme == "log" || uri.scheme == "socket";
  if (source && !bare) {
    return fail(ErrorCode::kInvalid, "a " + uri.scheme + " URI takes no user, password or options" +
                                         (uri.scheme == "kafka" ? "; give them by --kafka-config" : ""));
  }
  return uri;
}

Status check_name(const std::string& what, const std::string& name) {
  const bool characters = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
  });
  if (name.empty() || name.size() > 64 || !characters || name[0] == '.') {
    return fail(ErrorCode::kInvalid, what + " must be 1 to 64 of A-Z a-z 0-9 _ - . and not begin with a dot");
  }
  return {};
}

}  // namespace millrace

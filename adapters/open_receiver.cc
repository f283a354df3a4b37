#include "adapters/open_receiver.h"

#include <utility>

#include "adapters/directory_receiver.h"
#include "adapters/socket_receiver.h"
#include "common/model/address.h"
#include "common/model/uri.h"

namespace millrace {

Result<std::unique_ptr<Receiver>> open_receiver(const ReceiverSource& source) {
  const Result<Uri> uri = parse_uri(source.uri);
  if (!uri) return std::unexpected(uri.error());
  if (uri->scheme == "directory") {
    auto receiver =
        DirectoryReceiver::open({"/" + uri->path, source.max_record_bytes, source.until_latest, source.take_away});
    if (!receiver) return std::unexpected(receiver.error());
    return std::unique_ptr<Receiver>(std::move(*receiver));
  }
  if (uri->scheme != "socket") return fail(ErrorCode::kInvalid, "'" + uri->scheme + "' is no kind of source");
  if (!uri->path.empty()) {
    return fail(ErrorCode::kInvalid, "'" + source.uri + "' has a path; expected socket://HOST:PORT");
  }
  const auto server = parse_address("--source: the server", uri->authority);
  if (!server) return std::unexpected(server.error());
  if (server->port == 0)
    return fail(ErrorCode::kInvalid, "--source: a server has no port 0; expected socket://HOST:PORT");
  if (source.until_latest) {
    return fail(ErrorCode::kInvalid, "--until is for what has an end; a socket is read until Ctrl-C");
  }
  return std::make_unique<SocketReceiver>(*server, source.max_record_bytes);
}

}  // namespace millrace

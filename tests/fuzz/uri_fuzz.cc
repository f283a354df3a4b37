// Fuzz target of URIs and names: any text is refused or parsed, and what may be shown does not depend on the password.
#include <cstdint>
#include <string>

#include "common/base/check.h"
#include "common/model/uri.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  (void)millrace::check_name("job", text);
  const auto uri = millrace::parse_uri(text);
  if (!uri || uri->password.empty()) return 0;
  auto other = *uri;
  other.password += "x";
  CHECK(uri->masked() == other.masked());
  return 0;
}

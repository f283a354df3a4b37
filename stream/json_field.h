// JsonField: the text of one field of a JSON object. Used by one thread; keeps its buffers from record to record.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace millrace {

class JsonField {
 public:
  explicit JsonField(std::string name);
  JsonField(JsonField&&) noexcept;
  ~JsonField();

  // Where a name occurs twice, the last one counts (as in Python). On failure `problem` says why: the record is no
  // valid UTF-8, no JSON object, has no such field, or the field holds no text. `text` lives until the next call.
  bool find(std::string_view json, std::string_view& text, std::string& problem);

 private:
  struct Parser;
  std::string name_;
  std::unique_ptr<Parser> parser_;
};

}  // namespace millrace

#include <variant>

#include "jobs/text_words.h"
#include "millrace/job.h"

namespace millrace {
namespace {

// The words of a document, each with the document's id.
class WordsOfDocument {
 public:
  using Output = std::pair<std::string_view, std::string_view>;
  static constexpr bool kRefusesFirst = true;
  using Words = std::variant<SplitWords, UnicodeWords>;

  // `id`: the field that says it; empty: the record's key.
  WordsOfDocument(const std::string& id, const std::string& field, const std::optional<WordRules>& rules)
      : by_key_(id.empty()), id_(id), text_(field), words_(rules ? Words(UnicodeWords(*rules)) : Words(split_words)) {}

  template <typename Emit>
  RecordProblem operator()(const Record& record, Emit& emit) {
    std::string_view id = record.key;
    if (!by_key_) {
      const auto said = id_(record);
      if (!said) return said.error();
      id = *said;
    }
    if (id.empty()) {
      return by_key_ ? "the record has no key to be the document's id; set 'id' where a field of the record says it"
                     : "the document's id is empty";
    }
    const auto text = text_(record);
    if (!text) return text.error();
    auto word = [&](std::string_view each) { emit(Output(each, id)); };
    return std::visit([&](auto& words) { return words(*text, word); }, words_);
  }

 private:
  bool by_key_;
  TextOf id_, text_;
  Words words_;
};

}  // namespace
}  // namespace millrace

MILLRACE_JOB(inverted_index, "which documents each word occurs in, and how often: a document is a record") {
  const std::string id = job.setting(
      "id", "", "the field of a JSON object that holds the document's id; empty: the record's key is the id");
  const std::string field =
      job.setting("field", "", "the field of a JSON object that holds the text; empty: the record is plain text");
  if (!id.empty() && field.empty()) {
    throw millrace::JobError(
        "setting 'id' names a field, so the record is a JSON object; name its text by 'field', too");
  }
  job.records()
      .filter(millrace::kHasValue)
      .flat_map(millrace::WordsOfDocument(id, field, millrace::text_words(job)))
      .index_by_key()
      .publish("words")
      .rank("top", 1000);
}

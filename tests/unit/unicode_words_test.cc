#include "stream/unicode_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace millrace {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> words_of(std::string_view text, const WordRules& rules = {}) {
  std::vector<std::string> words;
  UnicodeWords splitter(rules);
  const auto emit = [&words](std::string_view word) { words.emplace_back(word); };
  const RecordProblem problem = splitter(text, emit);
  EXPECT_FALSE(problem) << *problem;
  return words;
}

TEST(UnicodeWords, are_what_people_would_call_words) {
  EXPECT_THAT(words_of("\"Don't stop!\", she said; 3.5 times."),
              ElementsAre("don't", "stop", "she", "said", "3.5", "times"));
  EXPECT_THAT(words_of("snake_case __init__ ___ a.b 1,000 e-mail"),
              ElementsAre("snake_case", "__init__", "a.b", "1,000", "e", "mail"));
  EXPECT_THAT(words_of("ÉCOLE naïve Straße ΣΊΣΥΦΟΣ"), ElementsAre("école", "naïve", "straße", "σίσυφος"));
  EXPECT_THAT(words_of("我喜欢茶"), ElementsAre("我", "喜欢", "茶"));
  EXPECT_THAT(words_of("🙂 — … ¿?"), IsEmpty());
  EXPECT_THAT(words_of(""), IsEmpty());
}

TEST(UnicodeWords, ascii_is_split_as_icu_splits_it) {
  constexpr std::string_view kCharacters = "aZ09_ .,;:'\"-!\n\r\t/@#";
  std::mt19937_64 random(1);
  for (int round = 0; round < 20000; ++round) {
    std::string text;
    for (uint64_t left = random() % 12; left != 0; --left) text += kCharacters[random() % kCharacters.size()];
    std::vector<std::string> by_icu =
        words_of(text + " é");  // one character that is not ASCII: the whole text is ICU's
    ASSERT_FALSE(by_icu.empty());
    by_icu.pop_back();
    ASSERT_EQ(words_of(text), by_icu) << testing::PrintToString(text);
  }
}

TEST(UnicodeWords, keep_their_case_where_that_is_wanted) {
  EXPECT_THAT(words_of("The École", {.lower_case = false}), ElementsAre("The", "École"));
}

TEST(UnicodeWords, shorter_than_wanted_are_left_out_by_characters) {
  EXPECT_THAT(words_of("a an ant é éé ééé", {.min_length = 3}), ElementsAre("ant", "ééé"));
}

TEST(UnicodeWords, stop_words_are_left_out_in_any_case) {
  EXPECT_THAT(words_of("The école AND the sea", {.stop_words = {"THE", "École"}}), ElementsAre("and", "sea"));
  EXPECT_THAT(words_of("The the", {.lower_case = false, .stop_words = {"the"}}), ElementsAre("The"));
  EXPECT_THAT(words_of("It's not the sea, isn't it?", {.stop_words = english_stop_words()}), ElementsAre("sea"));
}

TEST(UnicodeWords, a_text_that_is_no_utf8_is_refused_before_anything_is_given_out) {
  UnicodeWords splitter;
  const auto emit = [](std::string_view word) { ADD_FAILURE() << word; };
  EXPECT_EQ(splitter("good words \xFF", emit), "not valid UTF-8 at byte 11");
}

TEST(UnicodeWords, copies_split_texts_of_their_own) {
  internal::WordBreaker first({.stop_words = {"b"}});
  first.start("é a b c");
  EXPECT_EQ(first.next(), "é");
  internal::WordBreaker second = first;
  second.start("ü b d");
  EXPECT_EQ(second.next(), "ü");
  EXPECT_EQ(first.next(), "a");
  EXPECT_EQ(second.next(), "d");
  EXPECT_EQ(first.next(), "c");
  EXPECT_EQ(first.next(), std::nullopt);
}

}  // namespace
}  // namespace millrace

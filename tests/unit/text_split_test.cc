#include "stream/text.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace millrace {
namespace {

constexpr ClassifierKind kKinds[] = {ClassifierKind::kScalar, ClassifierKind::kSse2, ClassifierKind::kAvx2,
                                     ClassifierKind::kAvx512};

// As Python's bytes.split().
std::vector<std::string> reference_split(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (const char byte : text) {
    if (std::string_view(" \t\n\r\v\f").find(byte) != std::string_view::npos) {
      if (!word.empty()) words.push_back(std::move(word));
      word.clear();
    } else {
      word += byte;
    }
  }
  if (!word.empty()) words.push_back(word);
  return words;
}

std::vector<std::string> split(std::string_view text, ClassifierKind kind) {
  std::vector<std::string> words;
  EXPECT_EQ(TextSplitter(kind).split(text, [&](std::string_view word) { words.emplace_back(word); }), std::nullopt);
  return words;
}

TEST(Text, every_classifier_splits_random_text_as_the_reference_does) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 3000; ++round) {
    const size_t size = round % 10 == 0 ? random() % 10000 : random() % 200;
    std::string text(size, ' ');
    const int blanks = static_cast<int>(random() % 8);  // of 8 bytes
    for (char& byte : text) {
      byte = static_cast<int>(random() % 8) < blanks ? " \t\n\r\v\f\0\x1f"[random() % 8]
                                                     : static_cast<char>(random() % 128);
    }
    const std::vector<std::string> expected = reference_split(text);
    for (const ClassifierKind kind : kKinds) {
      if (find_classifier(kind) == nullptr) continue;
      ASSERT_EQ(split(text, kind), expected) << to_string(kind) << ", round " << round << ", " << size << " bytes";
    }
  }
}

TEST(Text, every_byte_alone_is_a_blank_only_if_it_is_ascii_white_space) {
  for (int byte = 0; byte < 128; ++byte) {
    const std::string text = std::string("a") + static_cast<char>(byte) + "b";
    for (const ClassifierKind kind : kKinds) {
      if (find_classifier(kind) == nullptr) continue;
      EXPECT_EQ(split(text, kind), reference_split(text)) << byte;
    }
  }
}

TEST(Text, words_across_block_and_stride_borders_are_whole) {
  for (const size_t size : {63, 64, 65, 4095, 4096, 4097, 8191, 8192, 8193, 100000}) {
    const std::string word(size, 'x');
    EXPECT_EQ(split(word, best_classifier()), std::vector<std::string>{word});
    EXPECT_EQ(split(word + " y", best_classifier()), (std::vector<std::string>{word, "y"}));
    EXPECT_EQ(split(" " + word, best_classifier()), std::vector<std::string>{word});
  }
  EXPECT_TRUE(split("", best_classifier()).empty());
  EXPECT_TRUE(split(std::string(5000, ' '), best_classifier()).empty());
}

TEST(Text, unicode_blanks_belong_to_words) {
  const std::string text = "a\u00a0b \u2003c\u0085";
  EXPECT_EQ(split(text, best_classifier()), (std::vector<std::string>{"a\u00a0b", "\u2003c\u0085"}));
}

TEST(Text, the_place_of_invalid_utf8_is_where_python_finds_it) {
  struct Case {
    std::string text;
    size_t position;
  };
  const Case cases[] = {
      {"\xff", 0},
      {"ab\x80", 2},
      {"a\xc3", 1},
      {"a\xc3\x28", 1},
      {"\xc0\x80", 0},
      {"\xe0\x80\x80", 0},
      {"x\xed\xa0\x80", 1},
      {"\xf0\x80\x80\x80", 0},
      {"\xf4\x90\x80\x80", 0},
      {"\xf5\x80\x80\x80", 0},
      {"\xe2\x82", 0},
      {"\u00e9\xe2\x82", 2},
      {std::string(100, 'a') + "\xfe", 100},
      {std::string(9000, 'a') + "\xfe b", 9000},
  };
  for (const Case& each : cases) {
    EXPECT_EQ(find_invalid_utf8(each.text), each.position) << each.text;
    for (const ClassifierKind kind : kKinds) {
      if (find_classifier(kind) == nullptr) continue;
      int words = 0;
      EXPECT_EQ(TextSplitter(kind).split(each.text, [&](std::string_view) { ++words; }), each.position);
      EXPECT_EQ(words, 0);
    }
  }
}

TEST(Text, valid_utf8_of_every_length_is_taken) {
  const std::string text = "z\u00e9 \u20ac \U0001F600 \ud7ff \U0010FFFF \u0800 " + std::string("\xef\xbf\xbf");
  EXPECT_EQ(find_invalid_utf8(text), std::nullopt);
  EXPECT_EQ(split(text, best_classifier()), reference_split(text));
}

TEST(Text, random_bytes_are_judged_alike_by_the_fast_and_the_exact_check) {
  std::mt19937_64 random(2);
  const std::string pieces[] = {"a", " ", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\x80", "\xc3", "\xe2\x82"};
  for (int round = 0; round < 5000; ++round) {
    std::string text;
    bool valid = true;
    size_t first_bad = 0;
    for (size_t i = random() % 60; i > 0; --i) {
      const size_t piece = random() % 100 < 97 ? random() % 5 : 5 + random() % 3;
      if (piece >= 5 && valid) {
        valid = false;
        first_bad = text.size();
      }
      text += pieces[piece];
      if (piece >= 6) text += "|";  // what follows must not complete the sequence
    }
    EXPECT_EQ(find_invalid_utf8(text), valid ? std::nullopt : std::optional<size_t>(first_bad));
  }
}

}  // namespace
}  // namespace millrace

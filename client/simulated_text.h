// SimulatedText: what one simulated user writes, and when; the same for the same seed and user.
//
// Words are lower-case and separated by a blank, and none is an English stop word, so that all rules of what a word is
// see the same ones. Few are frequent and many are rare, as in what people write.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace millrace::client {

class SimulatedText {
 public:
  // `salt` ends each word. `rate`: texts a second, on average.
  SimulatedText(uint64_t seed, size_t user, std::string salt, double rate);

  // Every word that any user may write.
  static std::vector<std::string> vocabulary(const std::string& salt);

  // Until the next text, in seconds: users do not wait for each other, so it is distributed exponentially.
  double pause();
  // The words of the next text.
  std::vector<std::string> words();

 private:
  double draw();  // from 0 to 1, without 1

  const std::string salt_;
  const double rate_;
  std::mt19937_64 random_;
};

std::string simulated_user(size_t user, const std::string& salt);

}  // namespace millrace::client

#include "client/simulated_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>
#include <string_view>
#include <utility>

namespace millrace::client {
namespace {

// The most frequent first.
constexpr std::string_view kWords =
    "river stream water mill stone wheel grain bread village market morning evening garden window table candle letter "
    "story music dance winter summer harvest field meadow forest mountain valley bridge harbour island ocean storm "
    "thunder cloud rainbow silver golden copper iron wooden paper leather cotton velvet mirror shadow whisper laughter "
    "silence journey stranger traveller captain sailor farmer miller baker tailor painter singer teacher doctor sister "
    "brother mother father cousin neighbour friend rabbit falcon sparrow raven otter badger hedgehog salmon apple "
    "cherry walnut almond pepper ginger honey butter cheese lantern compass anchor rudder basket barrel kettle hammer "
    "needle ribbon blanket pillow cradle ladder chimney cellar attic balcony courtyard fountain statue castle tower "
    "library museum theatre station platform railway engine signal tunnel ticket luggage passenger horizon sunrise "
    "twilight midnight lightning avalanche glacier canyon desert prairie orchard vineyard pasture stable saddle bridle "
    "carriage wagon ferry canoe paddle lighthouse seashell driftwood pebble amber crystal marble granite limestone "
    "autumn blossom petal clover thistle bramble heather juniper willow poplar chestnut sycamore magnolia lavender "
    "rosemary thyme saffron cinnamon vanilla melody rhythm chorus violin trumpet flute accordion carnival masquerade "
    "lullaby riddle proverb chronicle manuscript parchment inkwell feather telescope pendulum hourglass almanac "
    "caravan bazaar caf\xC3\xA9 na\xC3\xAFve gar\xC3\xA7on se\xC3\xB1or \xC3\xBC"
    "ber smorg\xC3\xA5sbord";

std::vector<std::string> all_words() {
  std::istringstream text{std::string(kWords)};
  std::vector<std::string> words;
  for (std::string word; text >> word;) words.push_back(std::move(word));
  return words;
}

const std::vector<std::string>& words_of_all() {
  static const std::vector<std::string> words = all_words();
  return words;
}

constexpr size_t kLeastWords = 3;
constexpr size_t kMostWords = 14;

}  // namespace

SimulatedText::SimulatedText(uint64_t seed, size_t user, std::string salt, double rate)
    : salt_(std::move(salt)), rate_(rate) {
  const std::array<uint32_t, 4> of = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                                      static_cast<uint32_t>(user), static_cast<uint32_t>(uint64_t{user} >> 32)};
  std::seed_seq sequence(of.begin(), of.end());
  random_.seed(sequence);
}

std::vector<std::string> SimulatedText::vocabulary(const std::string& salt) {
  std::vector<std::string> words = words_of_all();
  for (std::string& word : words) word += salt;
  return words;
}

double SimulatedText::draw() {
  return static_cast<double>(random_() >> 11) * 0x1p-53;
}

double SimulatedText::pause() {
  return -std::log1p(-draw()) / rate_;
}

std::vector<std::string> SimulatedText::words() {
  const std::vector<std::string>& all = words_of_all();
  const size_t count = kLeastWords + static_cast<size_t>(draw() * static_cast<double>(kMostWords - kLeastWords + 1));
  std::vector<std::string> words;
  for (size_t i = 0; i < count; ++i) {
    // The n-th word is about n times as rare as the first one.
    const double place = std::exp(draw() * std::log(static_cast<double>(all.size() + 1))) - 1;
    words.push_back(all[std::min(static_cast<size_t>(place), all.size() - 1)] + salt_);
  }
  return words;
}

std::string simulated_user(size_t user, const std::string& salt) {
  return "user-" + std::to_string(user + 1) + salt;
}

}  // namespace millrace::client

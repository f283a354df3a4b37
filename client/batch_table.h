// Where the time of batches goes, for people: a line for each, what is usual, and what to look at first.
#pragma once

#include <string>
#include <vector>

#include "client/output.h"

namespace millrace::client {

// The newest `n` of the profiles; one more, the oldest, says how long after it the next was cut.
void print_batches(const Output& output, const api::BatchProfiles& profiles, size_t n);

// Of all that stands between the log and the sink, what takes most; empty where nothing is known.
std::string where_the_time_goes(const std::vector<api::BatchProfile>& batches);

}  // namespace millrace::client

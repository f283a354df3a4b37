// What a master answers that listens already and does not yet take part: said by the one, waited out by the clients.
#pragma once

namespace millrace {

inline constexpr char kMasterIsStarting[] = "the master is starting; try again";

}  // namespace millrace

#include "stream/keyed_state.h"

namespace millrace::internal {

template class VersionedTable<int64_t>;
template class VersionedTable<Timed<int64_t>>;
template class KeyedStateTable<CountFold>;
template class ExpiringStateTable<CountFold>;

}  // namespace millrace::internal

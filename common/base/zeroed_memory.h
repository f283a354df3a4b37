// Large blocks of zeroed memory, on huge pages where the system has them: a table that is read at random costs a
// page-table miss a lookup otherwise.
#pragma once

#include <cstddef>

namespace millrace {

// At least `bytes`, all zero, on a cache line's border or (from 2 MiB on) a huge page's. Throws std::bad_alloc.
void* allocate_zeroed(size_t bytes);
void free_zeroed(void* memory);

}  // namespace millrace

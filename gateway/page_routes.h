// PageRoutes: the page for people, and the API's description.
//
//   GET /                  the dashboard and, for operators, the console
//   GET /docs              the API, to read and to try
//   GET /openapi.json      the same for programs (OpenAPI 3)
//   GET /page/FILE         what these pages are made of
//   GET /api/v1/access     what whoever asks may do: {"role": "read", "key": "ann"}; null: nothing, and no known key
//
// Whoever has a file already is told so by its ETag (304).
#pragma once

#include "gateway/gateway.h"

namespace millrace {

class PageRoutes {
 public:
  // `gateway` needs nothing of this after it.
  static void add_to(Gateway& gateway);
};

}  // namespace millrace

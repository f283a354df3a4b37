// HttpRoutes: which function answers which request, by method and path.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/seams/http.h"

namespace millrace {

// A Handler of HttpServer. A path that no route has is answered 404, a method that those of the path do not have 405.
class HttpRoutes {
 public:
  using Arguments = std::vector<std::string>;
  using Answer = std::function<void(HttpRequest request, Arguments arguments, HttpReply reply)>;
  using Refused = std::function<void(int status)>;

  // `refused` is told each answer that is no route's, if it is not null.
  explicit HttpRoutes(Refused refused = nullptr) : refused_(std::move(refused)) {}

  // Of `path`, segments in capitals stand for any segment: /jobs/NAME/counts/WORD has two arguments. HEAD is answered
  // as GET. The routes that were added first come first.
  void add(std::string method, std::string_view path, Answer answer);

  void operator()(HttpRequest request, HttpReply reply) const;

 private:
  struct Route {
    std::string method;
    std::vector<std::string> path;
    Answer answer;
  };

  [[nodiscard]] HttpResponse no_such_path(const HttpRequest& request) const;
  void refuse(HttpResponse problem, HttpReply reply) const;

  const Refused refused_;
  std::vector<Route> routes_;
};

}  // namespace millrace

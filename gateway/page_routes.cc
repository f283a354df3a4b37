#include "gateway/page_routes.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "common/base/check.h"
#include "gateway/page_files.h"

namespace millrace {
namespace {

const PageFile* find_page_file(std::string_view name) {
  const auto files = page_files();
  const auto found = std::ranges::find(files, name, &PageFile::name);
  return found == files.end() ? nullptr : &*found;
}

// May be kept, and is asked for anew each time, so that a page is never of two versions of the gateway.
HttpResponse page_answer(const PageFile& file, const HttpRequest& request) {
  HttpResponse response{.type = std::string(file.type),
                        .headers = {{"ETag", std::string(file.tag)}, {"Cache-Control", "no-cache"}}};
  if (request.header("If-None-Match").find(file.tag) != std::string_view::npos) {
    response.status = 304;
  } else {
    response.body = file.text;
  }
  return response;
}

void add_page(Gateway& gateway, const char* path, const char* name) {
  const PageFile* const file = find_page_file(name);
  CHECK(file != nullptr) << name;
  gateway.add("GET", path, {}, [file](const HttpRequest& request, const auto&, const auto&, HttpReply reply) {
    reply(page_answer(*file, request));
  });
}

}  // namespace

void PageRoutes::add_to(Gateway& gateway) {
  add_page(gateway, "/", "index.html");
  add_page(gateway, "/docs", "docs.html");
  add_page(gateway, "/openapi.json", "openapi.json");
  gateway.add("GET", "/page/FILE", {},
              [](const HttpRequest& request, const auto& arguments, const auto&, HttpReply reply) {
                const PageFile* const file = find_page_file(arguments.at(0));
                if (file == nullptr) {
                  return reply(http_problem(404, "the page has no file '" + arguments.at(0).substr(0, 100) + "'"));
                }
                reply(page_answer(*file, request));
              });
  gateway.add("GET", "/api/v1/access", {}, [](const auto&, const auto&, const Caller& caller, HttpReply reply) {
    nlohmann::json access = {{"role", nullptr}, {"key", nullptr}};
    if (caller.role) access["role"] = to_string(*caller.role);
    if (!caller.key_name.empty()) access["key"] = caller.key_name;
    reply({.body = access.dump() + "\n"});
  });
}

}  // namespace millrace

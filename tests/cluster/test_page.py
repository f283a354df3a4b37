"""What the gateway's page is made of, as HTTP has it. What it does in a browser: tests/browser."""

import re

import pytest

from http_gateway import Gateway
from processes import ROOT

TYPES = {"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}


@pytest.fixture
def gateway(cluster):
    return Gateway(cluster).start()


def linked(text):
    """What a file names by path: links, scripts, imports."""
    return {path.partition("#")[0] for path in re.findall(r'(?:href|src)="(/[^"]*)"', text)} | {f"/page/{name}" for name in re.findall(r"from '\./([^']+)'", text)}


def test_the_page_and_all_that_it_is_made_of_are_served(gateway):
    seen, left = {}, ["/"]
    while left:
        path = left.pop()
        if path in seen:
            continue
        status, headers, text = gateway.ask("GET", path)
        assert status == 200, (path, status, text)
        seen[path] = headers
        ending = path.rpartition(".")[2] if "." in path else "html"
        if ending == "json":
            continue  # it is read already
        if path.startswith("/page/"):
            with open(f"{ROOT}/gateway{path}", encoding="utf-8") as file:
                assert text == file.read(), f"{path} is not as it was written"
        assert headers["Content-Type"] == TYPES[ending], path
        left += linked(text)
        assert "http://" not in text.replace("http://www.w3.org/", "") and "https://" not in text, f"{path} names another host"
        if ending == "html":
            assert not re.search(r"<script(?![^>]*src=)|\son\w+=|\sstyle=", text), f"{path} has code or style in it, which its policy forbids"
    assert {"/", "/docs", "/page/docs.js", "/page/app.js", "/page/dashboard.js", "/page/console.js", "/page/style.css", "/page/icon.svg"} <= set(seen)


def test_the_page_may_do_nothing_but_talk_to_its_gateway(gateway):
    for path in ["/", "/page/app.js"]:
        headers = gateway.ask("GET", path)[1]
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'" and policy["connect-src"] == "'self'", policy
        assert policy["frame-ancestors"] == "'none'" and "unsafe" not in headers["Content-Security-Policy"], policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_a_browser_that_has_a_file_does_not_get_it_again(gateway):
    _, headers, text = gateway.ask("GET", "/page/style.css")
    assert headers.get_all("Cache-Control") == ["no-cache"] and text
    status, again, nothing = gateway.ask("GET", "/page/style.css", headers={"If-None-Match": headers["ETag"]})
    assert (status, nothing, again["ETag"]) == (304, "", headers["ETag"])
    status, _, other = gateway.ask("GET", "/page/style.css", headers={"If-None-Match": '"other"'})
    assert (status, other) == (200, text)
    status, head, nothing = gateway.ask("HEAD", "/page/style.css")
    assert (status, nothing, int(head["Content-Length"])) == (200, "", len(text.encode()))


@pytest.mark.parametrize("path", ["/page/none.js", "/page/", "/page", "/page/../api.js", "/page/%2e%2e%2fgateway.cc", "/page/..%2f..%2fetc%2fpasswd", "/page/style.css%00.js", "/index.html"])
def test_what_is_no_file_of_the_page_is_a_problem(gateway, path):
    status, headers, problem = gateway.ask("GET", path)
    assert status == 404 and headers["Content-Type"] == "application/problem+json" and problem["detail"], problem


def routes_of(gateway):
    """What the gateway says that it has: "GET /api/v1/jobs/*/lag" """
    listed = re.findall(r"\b([A-Z]+) (/[^ ,]*)", gateway.ask("GET", "/nowhere")[2]["detail"].partition("there is ")[2])
    return {f"{method} {re.sub('/[A-Z]+(?=/|$)', '/*', path)}" for method, path in listed}


def references(part):
    if isinstance(part, dict):
        return {part["$ref"]} if "$ref" in part else set().union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


def test_every_route_is_described_and_nothing_else_is(gateway):
    description = gateway.ask("GET", "/openapi.json")[2]
    assert description["openapi"].startswith("3.") and description["info"]["version"] == gateway.ask("GET", "/health")[2]["version"]
    described = {f"{method.upper()} {re.sub('{[^}]+}', '*', path)}" for path, methods in description["paths"].items() for method in methods}
    assert len(described) > 20 and described == routes_of(gateway)
    operations = [(path, operation) for path, methods in description["paths"].items() for operation in methods.values()]
    assert len({operation["operationId"] for _, operation in operations}) == len(operations)
    for path, operation in operations:
        parameters = [description["components"]["parameters"][each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in operation.get("parameters", [])]
        assert {each["name"] for each in parameters if each["in"] == "path"} == set(re.findall("{([^}]+)}", path)), path
        assert operation["summary"] and operation["responses"] and operation["tags"][0] in {tag["name"] for tag in description["tags"]}, path
    for reference in references(description):
        place = description
        for name in reference.removeprefix("#/").split("/"):
            place = place[name]


def test_who_may_do_what_is_told_to_the_page(cluster, directory):
    with open(f"{directory}/keys", "w", encoding="utf-8") as file:
        file.write("ann read 0123456789abcdef\nbob operate fedcba9876543210\n")
    gateway = Gateway(cluster, flags=[f"--auth={directory}/keys"]).start()
    access = lambda headers: gateway.ask("GET", "/api/v1/access", headers=headers)[2]
    assert access({}) == access({"Authorization": "Bearer wrong"}) == {"role": None, "key": None}
    assert access({"Authorization": "Bearer 0123456789abcdef"}) == {"role": "read", "key": "ann"}
    assert access({"Authorization": "Bearer fedcba9876543210"}) == {"role": "operate", "key": "bob"}
    assert gateway.ask("GET", "/")[0] == 200, "the page itself asks for the key"
    assert Gateway(cluster, "open").start().ask("GET", "/api/v1/access")[2] == {"role": "operate", "key": None}

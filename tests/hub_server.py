"""A small stand-in for the Hugging Face Hub, on loopback: repositories with commits and branches.

It answers what huggingface_hub asks when a repository is made, written to and read: see `_ROUTES`. Large files are sent
to and served from a second address, as the Hub's are from its storage, and no token may come there.
"""

import base64
import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_a-secret-of-the-tests"
USER = "somebody"


@dataclass
class Repository:
    """Commits, each a table of files, and where the branches are."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, files: dict[str, bytes], message: str = "", branch: str = "main") -> str:
        """Adds a commit to a branch, and returns its name."""
        name = hashlib.sha1(f"{len(self.commits)} {sorted(files)}".encode()).hexdigest()
        self.commits[name] = files
        self.branches[branch] = name
        self.messages.append(message)
        return name

    def at(self, revision: str) -> str | None:
        """The commit of a branch or a commit's name."""
        return revision if revision in self.commits else self.branches.get(revision)


class Hub:
    """The state of the stand-in.

    Attributes:
        url: its address.
        repositories: by `user/name`.
        requests: method, path and whether a token came, of every request.
        down: every request is answered with this status, if it is one.
        sizes: path of a file → the size that is stated in place of its own.
    """

    def __init__(self) -> None:
        self.url = self.storage = ""
        self.repositories: dict[str, Repository] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.down = 0
        self.gated: set[str] = set()
        self.sizes: dict[str, int] = {}

    def asked(self, method: str) -> list[str]:
        """The paths that were asked for with a method."""
        return [path for used, path, _ in self.requests if used == method]


class _Refused(Exception):
    def __init__(self, status: int, code: str = "", said: str = "") -> None:
        self.status, self.code, self.said = status, code, said


class _Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, method: str) -> None:
        path = unquote(self.path.partition("?")[0])
        token = self.headers.get("Authorization")
        self.hub.requests.append((method, path, token))
        body = self._body()
        try:
            if self.hub.down:
                raise _Refused(self.hub.down)
            if path.startswith("/storage/"):
                assert token is None, "the token went to the storage"
            elif token not in (None, f"Bearer {TOKEN}"):
                raise _Refused(401, said="Invalid credentials in Authorization header")
            for routed, pattern, function in _ROUTES:
                if method in routed and (match := re.fullmatch(pattern, path)):
                    status, headers, content = function(self.hub, token is not None, body, *match.groups())
                    break
            else:
                raise _Refused(404)
        except _Refused as refused:
            status, content = refused.status, json.dumps({"error": refused.said}).encode()
            headers = {"X-Error-Code": refused.code, "X-Error-Message": refused.said}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if method != "HEAD":
            self.wfile.write(content)


Answer = tuple[int, dict[str, str], bytes]


def _json(value: Any, status: int = 200) -> Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _find(hub: Hub, name: str, allowed: bool, revision: str | None = None) -> tuple[Repository, str]:
    repository = hub.repositories.get(name)
    if repository is None or (repository.private and not allowed):
        # As the Hub does, which tells nobody without a token what there is.
        raise _Refused(404 if allowed else 401, "RepoNotFound", "Repository not found")
    if name in hub.gated:
        raise _Refused(403, "GatedRepo", "Access to this repository is restricted")
    commit = repository.at(revision or "main")
    if revision is not None and commit is None:
        raise _Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return repository, commit or ""


def _to_write(hub: Hub, name: str, allowed: bool) -> Repository:
    if not allowed:
        raise _Refused(401, said="Invalid username or password.")
    if not name.startswith(f"{USER}/"):
        raise _Refused(403, said="You don't have the rights to create a model under this namespace")
    return _find(hub, name, allowed)[0] if name in hub.repositories else Repository()


def _validate(hub: Hub, allowed: bool, body: bytes) -> Answer:
    content = json.loads(body)["content"]
    if "license: no-such-licence" in content:
        return _json({"errors": [{"message": '"license" must be one of the known ones'}]}, 400)
    return _json({"errors": [], "warnings": []})


def _create(hub: Hub, allowed: bool, body: bytes) -> Answer:
    asked = json.loads(body)
    name = f"{asked.get('organization') or USER}/{asked['name']}"
    repository = _to_write(hub, name, allowed)
    if name in hub.repositories:
        return _json({"error": "You already created this model repo", "url": f"{hub.url}/{name}"}, 409)
    repository.private = asked.get("visibility") == "private" or asked.get("private") is True
    repository.commit({".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
    hub.repositories[name] = repository
    return _json({"url": f"{hub.url}/{name}"})


def _branch(hub: Hub, allowed: bool, body: bytes, name: str, branch: str) -> Answer:
    repository = _to_write(hub, name, allowed)
    if branch in repository.branches:
        raise _Refused(409)
    repository.branches[branch] = repository.branches["main"]
    return _json({})


def _info(hub: Hub, allowed: bool, body: bytes, name: str, revision: str | None = None) -> Answer:
    repository, commit = _find(hub, name, allowed, revision)
    siblings = [{"rfilename": path} for path in repository.commits[commit]]
    return _json({"id": name, "sha": commit, "private": repository.private, "siblings": siblings, "tags": []})


def _preupload(hub: Hub, allowed: bool, body: bytes, name: str, revision: str) -> Answer:
    _to_write(hub, name, allowed)
    files = [
        {"path": file["path"], "shouldIgnore": False}
        | {"uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular"}
        for file in json.loads(body)["files"]
    ]
    return _json({"files": files})


def _batch(hub: Hub, allowed: bool, body: bytes, name: str) -> Answer:
    _to_write(hub, name, allowed)
    objects = [
        {"oid": item["oid"], "size": item["size"]}
        | ({} if item["oid"] in hub.large else {"actions": {"upload": {"href": f"{hub.storage}/{item['oid']}"}}})
        for item in json.loads(body)["objects"]
    ]
    return _json({"transfer": "basic", "objects": objects})


def _store(hub: Hub, allowed: bool, body: bytes, oid: str) -> Answer:
    if hashlib.sha256(body).hexdigest() != oid:
        raise _Refused(400)
    hub.large[oid] = body
    return _json({})


def _serve(hub: Hub, allowed: bool, body: bytes, oid: str) -> Answer:
    return 200, {}, hub.large[oid]


def _commit(hub: Hub, allowed: bool, body: bytes, name: str, revision: str) -> Answer:
    repository = _to_write(hub, name, allowed)
    files = dict(repository.commits[repository.branches[revision]])
    message = ""
    for line in map(json.loads, body.splitlines()):
        value = line["value"]
        if line["key"] == "header":
            message = value["summary"]
        elif line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            files[value["path"]] = hub.large[value["oid"]]
        elif line["key"] == "deletedFile":
            del files[value["path"]]
    commit = repository.commit(files, message, revision)
    return _json({"commitUrl": f"{hub.url}/{name}/commit/{commit}", "commitOid": commit})


def _resolve(hub: Hub, allowed: bool, body: bytes, name: str, revision: str, path: str) -> Answer:
    repository, commit = _find(hub, name, allowed, revision)
    content = repository.commits[commit].get(path)
    headers = {"X-Repo-Commit": commit}
    if content is None:
        raise _Refused(404, "EntryNotFound", "Entry not found")
    size = str(hub.sizes.get(path, len(content)))
    if not path.endswith(".safetensors"):
        return 200, headers | {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "Content-Length": size}, content
    oid = hashlib.sha256(content).hexdigest()
    hub.large[oid] = content
    headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": size, "Location": f"{hub.storage}/{oid}"}
    return 302, headers, b""


_REPOSITORY = r"([^/]+/[^/]+)"
_ROUTES = (
    ("POST", "/api/validate-yaml", _validate),
    ("POST", "/api/repos/create", _create),
    ("GET", rf"/api/models/{_REPOSITORY}", _info),
    ("GET", rf"/api/models/{_REPOSITORY}/revision/(.+)", _info),
    ("POST", rf"/api/models/{_REPOSITORY}/branch/(.+)", _branch),
    ("POST", rf"/api/models/{_REPOSITORY}/preupload/(.+)", _preupload),
    ("POST", rf"/api/models/{_REPOSITORY}/commit/(.+)", _commit),
    ("POST", rf"/{_REPOSITORY}\.git/info/lfs/objects/batch", _batch),
    ("PUT", r"/storage/([0-9a-f]{64})", _store),
    ("GET", r"/storage/([0-9a-f]{64})", _serve),
    (("HEAD", "GET"), rf"/{_REPOSITORY}/resolve/([^/]+)/(.+)", _resolve),
)
"""Methods, path, and the function that answers."""


@contextmanager
def serving() -> Iterator[Hub]:
    """Serves a `Hub` without repositories, until the block ends."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    hub.storage = f"http://localhost:{server.server_port}/storage"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

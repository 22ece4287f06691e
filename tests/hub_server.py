"""A stand-in for the Hugging Face Hub on localhost: as much of its HTTP API as fetching and pushing models needs."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml

LICENSES = ("apache-2.0", "other")
LARGE = (".onnx", ".safetensors")  # stored as LFS objects, as the Hub does


@dataclass
class Repository:
    """Its commits, the last of which is ``main``; sizes: what is said of files, where that is not true."""

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: bool = False
    sizes: dict[str, int] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes]) -> str:
        sha = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[sha] = files
        return sha

    def resolve(self, revision: str) -> str | None:
        return (
            list(self.commits)[-1]
            if revision == "main" and self.commits
            else revision
            if revision in self.commits
            else None
        )


@dataclass
class Hub:
    """What the server holds, and what it was asked. broken: paths that it answers with 500; token: who may write."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, user agent
    broken: str = "$^"
    token: str | None = None
    url: str = ""

    def fetched(self) -> set[str]:
        """Files whose content was asked for."""
        found = (re.search("/resolve/[^/]+/(.+)", path) for method, path, _ in self.requests if method == "GET")
        return {one[1] for one in found if one}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, hub: Hub, *args) -> None:
        self.hub = hub
        super().__init__(*args)

    def log_message(self, *_) -> None:
        pass

    def answer(self, code: int, content=b"", **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        sizes = {} if "Content_Length" in headers else {"Content-Length": str(len(body))}
        for name, value in {**sizes, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, code: int, error: str) -> None:
        self.answer(code, {"error": error}, X_Error_Code=error, X_Error_Message=error)

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.hub.requests.append((self.command, path, self.headers.get("User-Agent", "")))
        if re.search(self.hub.broken, path):
            return self.answer(500, {"error": "on fire"})
        for pattern, method in ROUTES.items():
            if found := re.fullmatch(pattern, path):
                return method(self, *found.groups(), *([body] if self.command in ("POST", "PUT") else []))
        return self.answer(404, {"error": f"no route {path}"})

    do_HEAD = do_POST = do_PUT = do_GET

    def found(self, name: str, revision: str | None) -> tuple[Repository, str] | None:
        repository = self.hub.repositories.get(name)
        if repository is None:
            self.refuse(404, "RepoNotFound")
        elif repository.gated:
            self.refuse(403, "GatedRepo")
        elif (sha := repository.resolve(revision or "main")) is None:
            self.refuse(404, "RevisionNotFound")
        else:
            return repository, sha
        return None

    def info(self, name: str, revision: str | None = None) -> None:
        if there := self.found(name, revision):
            repository, sha = there
            files = [{"rfilename": file} for file in repository.commits[sha]]
            self.answer(
                200, {"id": name, "sha": sha, "siblings": files, "private": False, "tags": [], "downloads": 0}
            )

    def tree(self, name: str, revision: str) -> None:
        if there := self.found(name, revision):
            repository, sha = there
            self.answer(200, [tree_entry(repository, *item) for item in repository.commits[sha].items()])

    def file(self, name: str, revision: str, file: str) -> None:
        if there := self.found(name, revision):
            repository, sha = there
            content = repository.commits[sha].get(file)
            if content is None:
                return self.refuse(404, "EntryNotFound")
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            sizes = (
                {"Content_Length": str(repository.sizes.get(file, len(content)))} if self.command == "HEAD" else {}
            )
            self.answer(200, content, X_Repo_Commit=sha, ETag=etag, **sizes)

    def may_write(self) -> bool:
        if self.hub.token is None or self.headers.get("Authorization") == f"Bearer {self.hub.token}":
            return True
        self.answer(401, {"error": "Invalid username or password."})
        return False

    def create(self, body: bytes) -> None:
        if self.may_write():
            wanted = json.loads(body)
            name = "/".join(filter(None, (wanted.get("organization"), wanted["name"])))
            if name in self.hub.repositories:
                return self.answer(409, {"error": "exists", "url": f"{self.hub.url}/{name}"})
            self.hub.repositories[name] = Repository()
            self.answer(200, {"url": f"{self.hub.url}/{name}", "name": name, "id": name})

    def validate(self, body: bytes) -> None:
        front = yaml.safe_load(json.loads(body)["content"].split("---")[1])
        wrong = [] if front["license"] in LICENSES else [{"message": f"license: {front['license']} is none we know"}]
        self.answer(400 if wrong else 200, {"errors": wrong, "warnings": []})

    def preupload(self, _name: str, _revision: str, body: bytes) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self.answer(200, {"files": files})

    def batch(self, _name: str, body: bytes) -> None:
        objects = [
            {
                **one,
                "authenticated": True,
                "actions": {"upload": {"href": f"{self.hub.url}/lfs/{one['oid']}", "header": {}}},
            }
            for one in json.loads(body)["objects"]
        ]
        self.answer(200, {"transfer": "basic", "objects": objects}, Content_Type="application/vnd.git-lfs+json")

    def store(self, oid: str, body: bytes) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.objects[oid] = body
        self.answer(200)

    def commit(self, name: str, revision: str, body: bytes) -> None:
        if not self.may_write():
            return
        repository = self.hub.repositories[name]
        parent = repository.resolve(revision)
        if parent is None and revision != "main":
            return self.refuse(404, "RevisionNotFound")
        files = dict(repository.commits[parent]) if parent else {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        sha = repository.commit(files)
        url = f"{self.hub.url}/{name}/commit/{sha}"
        self.answer(200, {"success": True, "commitOid": sha, "commitUrl": url, "hookOutput": ""})


def tree_entry(repository: Repository, path: str, content: bytes) -> dict:
    size = repository.sizes.get(path, len(content))
    entry = {"type": "file", "path": path, "size": size, "oid": hashlib.sha1(content).hexdigest()}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 134}
    return entry


NAME = "([^/]+/[^/]+)"
ROUTES = {
    f"/api/models/{NAME}": Handler.info,
    f"/api/models/{NAME}/revision/(.+)": Handler.info,
    f"/api/models/{NAME}/tree/([^/]+)": Handler.tree,
    f"/{NAME}/resolve/([^/]+)/(.+)": Handler.file,
    "/api/repos/create": Handler.create,
    "/api/validate-yaml": Handler.validate,
    f"/api/models/{NAME}/preupload/([^/]+)": Handler.preupload,
    rf"/{NAME}\.git/info/lfs/objects/batch": Handler.batch,
    "/lfs/([0-9a-f]{64})": Handler.store,
    f"/api/models/{NAME}/commit/([^/]+)": Handler.commit,
}


@contextmanager
def serving():
    """A hub, for as long as the block lasts."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, hub))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

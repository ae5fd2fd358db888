"""A Hugging Face Hub on the loopback interface, in memory: what the tests push to and load from.

It speaks the part of the Hub's interface that `huggingface_hub`, `datasets` and `diffusers` use for
repositories: create and delete, upload (regular and LFS), commit, branches, tags, listing, and download with
ranges. It refuses what the Hub refuses for want of a token, a repository, a revision or a file. Xet, pull
requests, discussions, private repositories and Spaces are left out and answer 404 or 501.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub_store import LFS_SUFFIXES, Commit, File, HubError, Repository

USER = "tester"
TOKEN = "hf_loopback"
Json = dict[str, Any]


class Hub(ThreadingHTTPServer):
    """The server and what it keeps. `requests` lists what was asked, as `METHOD /path?query`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.lock = threading.RLock()

    def start(self) -> "Hub":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def repository(self, kind: str, name: str) -> Repository:
        if (kind, name) not in self.repositories:
            raise HubError(404, "RepoNotFound", "Repository not found")
        return self.repositories[kind, name]


REPOSITORY = r"((?P<kind>models|datasets)/)?(?P<name>[^/]+/[^/]+?)"
ROUTES = [
    (re.compile(f"({methods}) {path}"), handler)
    for methods, path, handler in [
        ("GET", "/api/whoami-v2", "whoami"),
        ("POST", "/api/validate-yaml", "validate_yaml"),
        ("POST", "/api/repos/create", "create_repository"),
        ("DELETE", "/api/repos/delete", "delete_repository"),
        ("GET", f"/api/{REPOSITORY}(/revision/(?P<rev>[^/]+))?", "info"),
        ("GET", f"/api/{REPOSITORY}/refs", "refs"),
        ("GET", f"/api/{REPOSITORY}/commits/(?P<rev>[^/]+)", "commits"),
        ("GET", f"/api/{REPOSITORY}/tree/(?P<rev>[^/]+)(/(?P<path>.+))?", "tree"),
        ("POST", f"/api/{REPOSITORY}/paths-info/(?P<rev>[^/]+)", "paths_info"),
        ("POST", f"/api/{REPOSITORY}/preupload/(?P<rev>[^/]+)", "preupload"),
        ("POST", f"/api/{REPOSITORY}/commit/(?P<rev>[^/]+)", "commit"),
        ("POST|DELETE", f"/api/{REPOSITORY}/branch/(?P<rev>[^/]+)", "branch"),
        ("POST|DELETE", f"/api/{REPOSITORY}/tag/(?P<rev>[^/]+)", "tag"),
        ("POST", f"/{REPOSITORY}\\.git/info/lfs/objects/batch", "lfs_batch"),
        ("PUT", "/lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
        ("HEAD|GET", f"/{REPOSITORY}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", "resolve"),
    ]
]
# No token needed though they are not GET: two only ask; an upload address goes only to those with a token.
OPEN = {"validate_yaml", "paths_info", "lfs_put"}


class Handler(BaseHTTPRequestHandler):
    """One request: find the route, run it under the lock, send its answer: JSON, or (status, body, headers)."""

    protocol_version = "HTTP/1.1"
    server: Hub

    def handle_request(self) -> None:
        address = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(address.query).items()}
        self.body = self._read_body()
        self.server.requests.append(f"{self.command} {self.path}")
        try:
            answer = self._answer(f"{self.command} {address.path}")
        except HubError as error:
            return self._send(error.status, json.dumps(error.body).encode(), error.headers)
        # Sent outside the lock: a client may ask for another file while it still reads this one.
        self._send(*answer if isinstance(answer, tuple) else (200, json.dumps(answer).encode(), {}))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request

    def log_message(self, *_: object) -> None:
        """Say nothing: `Hub.requests` is the log."""

    def _answer(self, request: str) -> Any:
        for pattern, handler in ROUTES:
            if match := pattern.fullmatch(request):
                if self.command not in ("GET", "HEAD") and handler not in OPEN:
                    self._require_token()
                found: Json = {key: unquote(value) for key, value in match.groupdict().items() if value}
                with self.server.lock:
                    if "name" in found:
                        kind = found.pop("kind", "models")
                        found["repository"] = self.server.repository(kind, found.pop("name"))
                    return getattr(self, handler)(**found)
        raise HubError(404, "NotFound", f"the loopback Hub has no {request}")

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _require_token(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise HubError(401, "", "Invalid credentials in Authorization header")

    # Account and repositories

    def whoami(self) -> Json:
        self._require_token()
        token = {"displayName": "tests", "role": "write", "createdAt": "2024-01-01T00:00:00.000Z"}
        return {"type": "user", "name": USER, "fullname": USER, "orgs": [], "auth": {"accessToken": token}}

    def validate_yaml(self) -> Json:
        return {"errors": [], "warnings": []}

    def _named(self) -> tuple[str, str]:
        asked = json.loads(self.body)
        return asked.get("type", "model") + "s", f"{asked.get('organization') or USER}/{asked['name']}"

    def create_repository(self) -> Json:
        kind, name = self._named()
        repository = Repository(kind, name, self.server.url)
        if (kind, name) in self.server.repositories:
            raise HubError(409, "", "You already created this repository", url=repository.url)
        self.server.repositories[kind, name] = repository
        return {"url": repository.url, "name": name}

    def delete_repository(self) -> Json:
        self.server.repository(*self._named())
        del self.server.repositories[self._named()]
        return {}

    # Upload

    def preupload(self, repository: Repository, rev: str) -> Json:
        present = repository.at(rev).files
        answers = []
        for asked in json.loads(self.body)["files"]:
            path, binary = asked["path"], b"\0" in base64.b64decode(asked["sample"])
            large = binary or path.endswith(LFS_SUFFIXES) or asked["size"] > 10_000_000
            answer = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            answers.append(answer | ({"oid": present[path].etag} if path in present else {}))
        return {"files": answers}

    def lfs_batch(self, repository: Repository) -> Json:
        objects = json.loads(self.body)["objects"]
        for each in objects:
            if each["oid"] not in self.server.lfs:
                each["actions"] = {"upload": {"href": f"{self.server.url}/lfs/{each['oid']}"}}
        return {"transfer": "basic", "objects": objects}

    def lfs_put(self, oid: str) -> Json:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise HubError(400, "", "the content does not have the announced sha256")
        self.server.lfs[oid] = self.body
        return {}

    def commit(self, repository: Repository, rev: str) -> Json:
        if "create_pr" in self.query:
            raise HubError(501, "", "the loopback Hub has no pull requests")
        if rev not in repository.branches:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {rev}")
        head = repository.branches[rev]
        header, *operations = (json.loads(line) for line in self.body.splitlines())
        if header["value"].get("parentCommit", head.id) != head.id:
            raise HubError(412, "", "A commit has happened since. Please refresh and try again.")
        files = dict(head.files)
        for operation in operations:
            self._apply(operation["key"], operation["value"], files)
        new = Commit(header["value"]["summary"], header["value"].get("description", ""), files, head)
        repository.branches[rev] = new
        return {"success": True, "commitOid": new.id, "commitUrl": f"{repository.url}/commit/{new.id}"}

    def _apply(self, key: str, value: Json, files: dict[str, File]) -> None:
        path = value["path"]
        if key == "file":
            files[path] = File(base64.b64decode(value["content"]), lfs=False)
        elif key == "lfsFile" and value["oid"] in self.server.lfs:
            files[path] = File(self.server.lfs[value["oid"]], lfs=True)
        elif key == "lfsFile":
            raise HubError(400, "", f"LFS object {value['oid']} was never uploaded")
        else:
            gone = [each for each in files if each == path or each.startswith(path.rstrip("/") + "/")]
            if not gone:
                raise HubError(404, "EntryNotFound", f"A file with this name doesn't exist: {path}")
            for each in gone:
                del files[each]

    # Listing

    def info(self, repository: Repository, rev: str = "main") -> Json:
        commit = repository.at(rev)
        *_, first = commit.history()
        return {
            "id": repository.name,
            "modelId": repository.name,
            "sha": commit.id,
            "createdAt": first.date,
            "lastModified": commit.date,
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": path, "size": len(file.data)} for path, file in commit.files.items()],
        }

    def refs(self, repository: Repository) -> Json:
        def listed(refs: dict[str, Commit], folder: str) -> list[Json]:
            return [
                {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": commit.id}
                for name, commit in refs.items()
            ]

        branches, tags = listed(repository.branches, "heads"), listed(repository.tags, "tags")
        return {"branches": branches, "tags": tags, "converts": [], "pullRequests": []}

    def commits(self, repository: Repository, rev: str) -> list[Json]:
        author = {"authors": [{"user": USER}]}
        return [
            author | {"id": each.id, "title": each.title, "message": each.description, "date": each.date}
            for each in repository.at(rev).history()
        ]

    def tree(self, repository: Repository, rev: str, path: str = "") -> list[Json]:
        return repository.at(rev).tree(path, recursive=self.query.get("recursive", "").lower() in ("true", "1"))

    def paths_info(self, repository: Repository, rev: str) -> list[Json]:
        is_json = self.headers.get("Content-Type", "").startswith("application/json")
        asked = json.loads(self.body) if is_json else parse_qs(self.body.decode())
        entries = {entry["path"]: entry for entry in repository.at(rev).tree("", recursive=True)}
        wanted = [path.strip("/") for path in asked.get("paths", [])]
        return [entries[path] for path in wanted if path in entries]

    def branch(self, repository: Repository, rev: str) -> Json:
        start = json.loads(self.body or "{}").get("startingPoint", "main")
        return self._change(repository, repository.branches, rev, start)

    def tag(self, repository: Repository, rev: str) -> Json:
        name = json.loads(self.body or "{}").get("tag", rev)
        return self._change(repository, repository.tags, name, rev)

    def _change(self, repository: Repository, refs: dict[str, Commit], name: str, target: str) -> Json:
        if self.command == "POST":
            if name in refs:
                raise HubError(409, "", f"Reference already exists: {name}")
            refs[name] = repository.at(target)
        elif refs.pop(name, None) is None:
            raise HubError(404, "RevisionNotFound", f"Invalid rev id: {name}")
        return {}

    # Download

    def resolve(self, repository: Repository, rev: str, path: str) -> tuple[int, bytes, dict[str, str]]:
        commit = repository.at(rev)
        headers = {"X-Repo-Commit": commit.id, "Accept-Ranges": "bytes"}
        if path not in commit.files:
            error = HubError(404, "EntryNotFound", f"{path} does not exist on {rev}")
            error.headers |= headers
            raise error
        data = commit.files[path].data
        headers |= {"ETag": f'"{commit.files[path].etag}"', "Content-Type": "application/octet-stream"}
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not wanted or self.command == "HEAD":
            return 200, data, headers
        first, last = wanted.groups()
        start = int(first) if first else max(len(data) - int(last), 0)
        stop = min(int(last) + 1, len(data)) if first and last else len(data)
        if start >= len(data):
            return 416, b"", headers | {"Content-Range": f"bytes */{len(data)}"}
        part = headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
        return 206, data[start:stop], part

"""A small hub of models on 127.0.0.1: the part of the HTTP interface that `huggingface_hub` uses for repositories."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_aVerySecretTokenOfATest0123456789"

LARGE = (".safetensors", ".png")
"""Names of files that are kept outside git, by their endings."""


@dataclass
class Repository:
    """A repository: the files of each commit, and the commits of the branches."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        """Add a commit to a branch, and return its name."""
        content = json.dumps([[name, hashlib.sha1(data).hexdigest()] for name, data in sorted(files.items())])
        name = hashlib.sha1(f"{len(self.commits)}{content}".encode()).hexdigest()
        self.commits[name], self.branches[branch] = dict(files), name
        return name

    def head(self, branch: str = "main") -> dict[str, bytes]:
        """The files of a branch."""
        return dict(self.commits[self.branches[branch]])

    def find(self, revision: str) -> str | None:
        """The commit that a revision names."""
        return self.branches.get(revision) or (revision if revision in self.commits else None)


class Hub(ThreadingHTTPServer):
    """The hub.

    Attributes:
        repositories: by ``"user/name"``.
        requests: method and path of each.
        refuse: a status with which every request is answered, and its body.
        token: the token that may write.
        tamper: bytes that are sent instead of a file's, by its name.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.refuse: tuple[int, str] | None = None
        self.token = TOKEN
        self.tamper: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def do_PUT(self) -> None:
        self._route()

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.server.refuse:
            status, text = self.server.refuse
            self._json(status, {"error": text}, {"X-Error-Message": text})
        elif given and given != self.server.token:
            self._json(401, {"error": f"Invalid credentials: {given}"}, {"X-Error-Message": f"Invalid: {given}"})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            valid = "pipeline_tag: image-classification" in json.loads(body)["content"]
            self._json(200, {"errors": [] if valid else [{"message": "no front matter"}], "warnings": []})
        elif match := re.fullmatch(r"/lfs/([^/]+/[^/]+)/(\w+)", path):
            self.server.repositories[match[1]].large[match[2]] = body
            self._json(200, {})
        elif match := re.fullmatch(r"/(?:api/models/)?([^/]+/[^/.]+)(?:\.git)?(?:/(.*))?", path):
            repository = self.server.repositories.get(match[1])
            if repository is None or (repository.private and not given):
                self._error(404, "RepoNotFound", "Repository not found")
            elif repository.gated and not given:
                self._error(401, "GatedRepo", "Access to this repository is restricted")
            else:
                self._of(match[1], repository, match[2] or "", body)
        else:
            self._error(404, "EntryNotFound", path)

    def _of(self, name: str, repository: Repository, rest: str, body: bytes) -> None:
        what, _, argument = rest.partition("/")
        if what in ("", "revision"):
            commit = repository.find(argument or "main")
            if commit is None:
                self._error(404, "RevisionNotFound", f"Invalid rev id: {argument}")
                return
            siblings = [self._entry(file, data) for file, data in repository.commits[commit].items()]
            facts = {"id": name, "modelId": name, "sha": commit, "private": repository.private, "tags": []}
            self._json(200, facts | {"siblings": siblings, "downloads": 0, "likes": 0, "gated": repository.gated})
        elif what == "resolve":
            revision, _, file = argument.partition("/")
            commit = repository.find(revision)
            data = repository.commits.get(commit or "", {}).get(file)
            if data is None:
                self._error(404, "EntryNotFound", "Entry not found")
                return
            data = self.server.tamper.get(file, data)
            entry = self._entry(file, data)
            etag = entry["lfs"]["sha256"] if "lfs" in entry else entry["blobId"]
            self._send(200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": commit or ""})
        elif what == "branch":
            repository.branches.setdefault(argument, repository.branches["main"])
            self._json(200, {})
        elif what == "preupload":
            files = [
                {
                    "path": item["path"],
                    "uploadMode": "lfs" if item["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for item in json.loads(body)["files"]
            ]
            self._json(200, {"files": files})
        elif what == "info" and argument == "lfs/objects/batch":
            objects = [
                item | {"actions": {"upload": {"href": f"{self.server.url}/lfs/{name}/{item['oid']}"}}}
                for item in json.loads(body)["objects"]
            ]
            self._json(200, {"transfer": "basic", "objects": objects})
        elif what == "commit":
            self._commit(name, repository, argument, body)
        else:
            self._error(404, "EntryNotFound", rest)

    def _commit(self, name: str, repository: Repository, branch: str, body: bytes) -> None:
        lines = [json.loads(line) for line in body.splitlines()]
        files = dict(repository.commits[repository.branches[branch]])
        for line in lines:
            key, value = line["key"], line["value"]
            if key == "header" and value.get("parentCommit") not in (None, repository.branches[branch]):
                self._json(412, {"error": "The branch has moved"})
                return
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if key == "lfsFile":
                files[value["path"]] = repository.large[value["oid"]]
            if key == "deletedFile":
                del files[value["path"]]
        commit = repository.commit(files, branch)
        self._json(200, {"commitUrl": f"{self.server.url}/{name}/commit/{commit}", "commitOid": commit})

    def _create(self, wanted: dict[str, Any]) -> None:
        name = f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] != "user":
            self._json(403, {"error": f"You may not write there with {self.headers.get('Authorization')}"})
            return
        if name in self.server.repositories:
            self._json(409, {"error": "You already created this model repo", "url": f"{self.server.url}/{name}"})
            return
        repository = self.server.repositories[name] = Repository(private=wanted.get("visibility") == "private")
        repository.commit({".gitattributes": b"*.safetensors filter=lfs\n"})
        self._json(200, {"url": f"{self.server.url}/{name}"})

    def _entry(self, name: str, data: bytes) -> dict[str, Any]:
        git = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": git}
        if name.endswith(LARGE):
            entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 100}
        return entry

    def _error(self, status: int, code: str, text: str) -> None:
        self._json(status, {"error": text}, {"X-Error-Code": code, "X-Error-Message": text})

    def _json(self, status: int, data: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(data).encode(), {"Content-Type": "application/json"} | (headers or {}))

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

"""What the loopback Hub keeps: files, commits, repositories. `hub_server` gives it to the network."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

# What the .gitattributes of a new repository sends through LFS (the part of it that this project can meet).
LFS_SUFFIXES = (".arrow", ".bin", ".gz", ".npy", ".npz", ".parquet", ".safetensors", ".tar", ".zip")


class HubError(Exception):
    """An answer other than success: HTTP status, `X-Error-Code`, message."""

    def __init__(self, status: int, code: str, message: str, **extra: str):
        super().__init__(message)
        self.status, self.body = status, {"error": message, **extra}
        self.headers = {"X-Error-Code": code, "X-Error-Message": message}


@dataclass(frozen=True)
class File:
    """One version of a file: its bytes, and whether LFS keeps them."""

    data: bytes
    lfs: bool

    @cached_property
    def oid(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    @cached_property
    def etag(self) -> str:
        return hashlib.sha256(self.data).hexdigest() if self.lfs else self.oid

    def info(self, path: str) -> dict[str, Any]:
        entry = {"type": "file", "path": path, "size": len(self.data), "oid": self.oid}
        if self.lfs:
            entry["lfs"] = {"oid": self.etag, "size": len(self.data), "pointerSize": 134}
        return entry


@dataclass(frozen=True)
class Commit:
    """A whole tree, and the commit before it."""

    title: str
    description: str
    files: dict[str, File]
    parent: "Commit | None" = None
    date: str = field(default_factory=lambda: f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z")

    @cached_property
    def id(self) -> str:
        tree = [(path, file.oid) for path, file in sorted(self.files.items())]
        content = (self.parent and self.parent.id, self.title, self.description, self.date, tree)
        return hashlib.sha1(repr(content).encode()).hexdigest()

    def history(self) -> Iterator["Commit"]:
        commit: Commit | None = self
        while commit:
            yield commit
            commit = commit.parent

    def tree(self, folder: str, recursive: bool) -> list[dict[str, Any]]:
        """Entries below `folder`: of the whole subtree, or of its first floor."""
        prefix = folder + "/" if folder else ""
        files, folders = [], set()
        for path, file in sorted(self.files.items()):
            inner = path.removeprefix(prefix).split("/") if path.startswith(prefix) else []
            if len(inner) == 1 or (inner and recursive):
                files.append(file.info(path))
            folders |= {prefix + "/".join(inner[:n]) for n in range(1, len(inner)) if recursive or n == 1}
        if folder and not files and not folders:
            raise HubError(404, "EntryNotFound", f"{folder} does not exist on this revision")
        return [{"type": "directory", "path": path, "oid": "0" * 40} for path in sorted(folders)] + files


class Repository:
    """Branches and tags, each naming a commit. `kind` is `models` or `datasets`, `name` is `user/name`."""

    def __init__(self, kind: str, name: str, server_url: str) -> None:
        self.name = name
        self.url = f"{server_url}/{name}" if kind == "models" else f"{server_url}/{kind}/{name}"
        attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES)
        first = Commit("initial commit", "", {".gitattributes": File(attributes.encode(), lfs=False)})
        self.branches = {"main": first}
        self.tags: dict[str, Commit] = {}

    def at(self, revision: str) -> Commit:
        """The commit that a branch, a tag or a commit's id names."""
        heads = {**self.tags, **self.branches}
        if revision in heads:
            return heads[revision]
        for commit in (commit for head in heads.values() for commit in head.history()):
            if commit.id == revision:
                return commit
        raise HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")

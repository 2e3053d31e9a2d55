"""A small real hub: the routes that `huggingface_hub.snapshot_download` asks, over a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "acme/Tiny-Coder-30k-Instruct"


class Hub:
    """Serves one repository from `folder` and remembers what was fetched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fetched: list[str] = []

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/api/models/{owner}/{name}/revision/{revision:path}", self.info),
                Route("/api/models/{owner}/{name}", self.info),
                Route("/api/models/{owner}/{name}/tree/{revision:path}", self.tree),
                Route("/{owner}/{name}/resolve/{revision}/{file:path}", self.resolve, methods=["GET", "HEAD"]),
            ]
        )

    def _refusal(self, request: Request) -> Response | None:
        owner, name = request.path_params["owner"], request.path_params["name"]
        if f"{owner}/{name}" == "acme/Gated-7B":
            return Response(status_code=403, headers={"X-Error-Code": "GatedRepo"})
        if f"{owner}/{name}" != REPOSITORY:
            return Response(status_code=404, headers={"X-Error-Code": "RepoNotFound"})
        if request.path_params.get("revision", "main") not in ("main", COMMIT):
            return Response(status_code=404, headers={"X-Error-Code": "RevisionNotFound"})
        return None

    async def info(self, request: Request) -> Response:
        return self._refusal(request) or JSONResponse({"id": REPOSITORY, "sha": COMMIT, "siblings": []})

    async def tree(self, request: Request) -> Response:
        files = [
            {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": _etag(path)}
            for path in sorted(self.folder.iterdir())
        ]
        return self._refusal(request) or JSONResponse(files)

    async def resolve(self, request: Request) -> Response:
        path = self.folder / request.path_params["file"]
        if not path.is_file():
            return Response(status_code=404, headers={"X-Error-Code": "EntryNotFound"})
        headers = {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": COMMIT}
        if request.method == "HEAD":
            return Response(headers=headers | {"Content-Length": str(path.stat().st_size)})
        self.fetched.append(path.name)
        return Response(path.read_bytes(), headers=headers)


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()

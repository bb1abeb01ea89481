"""The pages' own files, held in memory: style sheets, modules, the icon. Their address carries a digest of them all,
so they may be kept for ever."""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".txt": "text/plain",
}
STATIC = Path(__file__).parent / "static"


class Assets:
    """The files below `static`, read once. Their names are keys of a table, never paths: nothing else can be asked
    for."""

    def __init__(self, folder: Path = STATIC) -> None:
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in TYPES)
        self._files = {path.relative_to(folder).as_posix(): (path.read_bytes(), TYPES[path.suffix]) for path in files}
        digest = hashlib.sha256()
        for name, (content, _) in self._files.items():
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
        self.base = f"/static/{digest.hexdigest()[:12]}"

    async def respond(self, request: Request) -> Response:
        """Answer one file: for ever under the present digest, and only until the next question under another."""
        found = self._files.get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("no such file\n", 404)
        content, kind = found
        current = self.base.endswith(request.path_params["digest"])
        keep = "public, max-age=31536000, immutable" if current else "no-cache"
        return Response(content, media_type=kind, headers={"Cache-Control": keep, "X-Content-Type-Options": "nosniff"})

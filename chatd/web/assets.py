"""The files of `static/`, as browsers get them: from memory, under an address that changes when any of them does.

    /static/{version}/bubble/panel.js

`version` is made of the content of all files, so everything under it may be kept for ever, and modules that import each
other by relative addresses are always of one version. An address of another version (a page that was loaded before an
update, or another node during one) is sent on to the same file of this version: a bubble that opens its panel an hour
later finds one, and everything that the panel imports comes from where it was sent.

Only what was read at the start can be asked for: the answer to a path is a look-up in a dictionary, so there is no
path to climb out of. Files of unknown kinds and hidden ones are left out. Text is compressed once; there are no
ranges.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import time
from pathlib import Path
from types import MappingProxyType

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from chatd.web.bundling import bundle, bundle_sheet
from chatd.web.slimming import SLIMMED, slim

FILES_MAX = 2_000
BYTES_MAX = 32 * 1_048_576
VERSION_CHARACTERS = 16
RELOAD_SECONDS = 0.5

KINDS = MappingProxyType(
    {
        ".css": "text/css; charset=utf-8",
        ".gif": "image/gif",
        ".ico": "image/x-icon",
        ".jpg": "image/jpeg",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".mp3": "audio/mpeg",
        ".png": "image/png",
        ".svg": "image/svg+xml",
        ".txt": "text/plain; charset=utf-8",
        ".webmanifest": "application/manifest+json",
        ".webp": "image/webp",
        ".woff2": "font/woff2",
    }
)
COMPRESSED = frozenset((".css", ".js", ".json", ".svg", ".txt", ".webmanifest"))

# What a page waits for is served with everything that it imports: see `web.bundling`.
BUNDLED = frozenset(("bubble/panel.js", "bubble/session.js", "inbox/inbox.css", "inbox/main.js", "messages.js"))

_ADDRESS = re.compile(rf"([0-9a-f]{{{VERSION_CHARACTERS}}})/(.+)")

# Shops' pages load these from another origin: as modules and sheets (CORS), under COEP (CORP).
SHARED = MappingProxyType({"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"})


class Asset(msgspec.Struct, frozen=True):
    """One file, ready to be sent."""

    kind: str
    etag: str
    plain: bytes
    gzipped: bytes | None


def asset_base(version: str) -> str:
    """Where the files of this version are, with a slash at the end."""
    return f"/static/{version}/"


class Assets:
    """The files below `directory`. With `reload`, changed files are noticed and get a new version, for those who edit
    them; without, the disk is never looked at again."""

    def __init__(self, directory: Path, *, reload: bool = False) -> None:
        self._directory = directory
        self._reload = reload
        self._looked_at = 0.0
        self._loaded: list[tuple[str, int, int]] = []
        self._version = ""
        self._files: dict[str, Asset] = {}
        self._load()

    @property
    def version(self) -> str:
        self._look()
        return self._version

    @property
    def base(self) -> str:
        return asset_base(self.version)

    def find(self, name: str) -> Asset | None:
        """The file of this name, like `bubble/panel.js`."""
        self._look()
        return self._files.get(name)

    def names(self) -> list[str]:
        return sorted(self._files)

    def routes(self) -> list[Route]:
        return [Route("/static/{address:path}", self._serve, methods=["GET"])]

    async def _serve(self, request: Request) -> Response:
        match = _ADDRESS.fullmatch(request.path_params["address"])
        asset = None if match is None else self.find(match[2])
        if match is None or asset is None:
            return Response("there is no such file\n", 404, {**SHARED, "Cache-Control": "no-store"}, "text/plain")
        if match[1] != self._version:
            headers = {**SHARED, "Cache-Control": "no-store", "Location": asset_base(self._version) + match[2]}
            return Response(status_code=307, headers=headers)
        return answer(request, asset, "public, max-age=31536000, immutable")

    # ------------------------------------------------------------------ reading the files

    def _look(self) -> None:
        if not self._reload or time.monotonic() < self._looked_at + RELOAD_SECONDS:
            return
        self._looked_at = time.monotonic()
        if self._stamps() != self._loaded:
            self._load()

    def _paths(self) -> list[Path]:
        return [
            path
            for path in sorted(self._directory.rglob("*"))
            if path.suffix in KINDS
            and path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(self._directory).parts)
        ]

    def _stamps(self) -> list[tuple[str, int, int]]:
        stats = [(str(path), path.stat()) for path in self._paths()]
        return [(name, stat.st_mtime_ns, stat.st_size) for name, stat in stats]

    def _load(self) -> None:
        """Read everything anew. Raises `ValueError` when there is more than a program's own files can be."""
        loaded = self._stamps()
        total = sum(size for _, _, size in loaded)
        if len(loaded) > FILES_MAX or total > BYTES_MAX:
            raise ValueError(
                f"{self._directory} holds {len(loaded):,} files of {total:,} bytes; at most {FILES_MAX:,} files of"
                f" {BYTES_MAX:,} bytes are kept in memory"
            )
        digest = hashlib.sha256()
        files: dict[str, Asset] = {}
        for path in self._paths():
            name = path.relative_to(self._directory).as_posix()
            content = _content(name, path)
            files[name] = asset_of(content, path.suffix)
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
        self._files, self._version, self._loaded = files, digest.hexdigest()[:VERSION_CHARACTERS], loaded


def _content(name: str, path: Path) -> bytes:
    """What is served of a file. Raises `ValueError` for what cannot be joined with what it imports."""
    if name in BUNDLED:
        return (bundle_sheet if path.suffix == ".css" else bundle)(path).encode()
    content = path.read_bytes()
    return slim(name, content.decode()).encode() if name.endswith(SLIMMED) else content


def asset_of(content: bytes, suffix: str) -> Asset:
    """The content as it is sent. Compressed when that makes it smaller."""
    gzipped = gzip.compress(content, 9, mtime=0) if suffix in COMPRESSED else None
    if gzipped is not None and len(gzipped) >= len(content):
        gzipped = None
    return Asset(KINDS[suffix], hashlib.sha256(content).hexdigest()[:24], content, gzipped)


def answer(request: Request, asset: Asset, cache: str) -> Response:
    """The asset in the form that the client takes, or word that it has it already (RFC 9110 section 13.1.2)."""
    gzipped = asset.gzipped is not None and takes_gzip(request.headers.get("accept-encoding", ""))
    # Two forms are two representations, so their strong tags differ (RFC 9110 section 8.8.3.3).
    etag = f'"{asset.etag}-gzip"' if gzipped else f'"{asset.etag}"'
    headers = {**SHARED, "Cache-Control": cache, "ETag": etag, "Vary": "Accept-Encoding"}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if etag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    headers["Content-Type"] = asset.kind
    if gzipped:
        headers["Content-Encoding"] = "gzip"
    return Response(asset.gzipped if gzipped else asset.plain, headers=headers)


def takes_gzip(accept_encoding: str) -> bool:
    """Whether the client takes gzip (RFC 9110 section 12.5.3); q=0 says no."""
    taken: dict[str, bool] = {}
    for part in accept_encoding[:1_000].split(","):
        coding, _, parameter = part.partition(";")
        quality = parameter.strip().lower().removeprefix("q=")
        taken[coding.strip().lower()] = not quality or quality.strip("0.") != ""
    return taken.get("gzip", taken.get("*", False))

"""The files that browsers load: the right ones, of one version, kept for ever, and nothing else of the disk."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from chatd.resources import static_directory
from chatd.web.assets import KINDS, Assets, asset_base, takes_gzip
from tests.door import Door, open_door

FILES = {
    "app.js": '// a comment\nimport { a } from "./lib/a.js";\n' + "console.log(a);\n" * 40,
    "lib/a.js": "export const a = 1;\n",
    "style.css": "body { color: red; }\n" * 40,
    "picture.png": "not really",
    "icon.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
}


@pytest.fixture
def static(tmp_path: Path) -> Path:
    root = tmp_path / "static"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    # What must not be served.
    (tmp_path / "secret.js").write_text("secret")
    (root / ".hidden.js").write_text("secret")
    (root / ".git").mkdir()
    (root / ".git" / "config.js").write_text("secret")
    (root / "notes.md").write_text("secret")
    (root / "page.html").write_text("<script>secret</script>")
    (root / "run.py").write_text("secret")
    return root


@pytest.fixture
async def door(tmp_path: Path, static: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path, assets=Assets(static)) as opened:
        yield opened


async def get(door: Door, name: str, **headers: str) -> httpx2.Response:
    async with door.browser(headers={"accept-encoding": "identity"} | headers) as browser:
        return await browser.get(door.assets.base + name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("app.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("picture.png", "image/png"),
        ("icon.svg", "image/svg+xml"),
    ],
)
async def test_a_file_comes_with_its_kind_and_may_be_kept_for_ever(door: Door, name: str, kind: str) -> None:
    answer = await get(door, name)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == kind
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.content)


async def test_text_is_compressed_for_those_who_take_it(door: Door) -> None:
    async with door.browser() as browser:
        request = browser.build_request("GET", door.assets.base + "style.css", headers={"accept-encoding": "gzip, br"})
        answer = await browser.send(request, stream=True)
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    plain = await get(door, "style.css")
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content)
    assert plain.headers["etag"] != answer.headers["etag"]
    assert "content-encoding" not in (await get(door, "picture.png", **{"accept-encoding": "gzip"})).headers


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ("gzip", True),
        ("GZIP;q=0.5", True),
        ("br, gzip;q=1.0", True),
        ("*", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000, *", False),
        ("*;q=0", False),
        ("*;q=0, gzip", True),
        ("xgzip", False),
        ("," * 5_000 + "gzip", False),
    ],
)
def test_who_takes_gzip(accepted: str, takes: bool) -> None:
    assert takes_gzip(accepted) is takes


async def test_who_has_it_is_told_so(door: Door) -> None:
    etag = (await get(door, "app.js")).headers["etag"]
    for shown in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        answer = await get(door, "app.js", **{"if-none-match": shown})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == etag
    assert (await get(door, "app.js", **{"if-none-match": '"other"'})).status_code == 200


async def test_head_says_what_get_would(door: Door) -> None:
    async with door.browser() as browser:
        url = door.assets.base + "app.js"
        get_, head = await browser.get(url), await browser.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get_.headers["content-length"]
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert (await browser.request(method, url)).status_code == 405


async def test_ranges_are_not_played_with(door: Door) -> None:
    """A header of 10,000 ranges has cost others quadratic time (CVE-2025-62727)."""
    answer = await get(door, "app.js", range="bytes=" + ",".join("0-1" for _ in range(4_000)))
    assert answer.status_code == 200
    assert "content-range" not in answer.headers


@pytest.mark.parametrize(
    "name",
    [
        "../secret.js",
        "..%2fsecret.js",
        "%2e%2e/secret.js",
        "lib/../../secret.js",
        "....//secret.js",
        "..\\secret.js",
        "/etc/passwd",
        "//etc/passwd",
        "app.js%00.png",
        "app.js/",
        "APP.JS",
        "lib",
        "lib/",
        "",
        ".hidden.js",
        ".git/config.js",
        "notes.md",
        "page.html",
        "run.py",
        "nothing.js",
        "a" * 5_000,
    ],
)
async def test_nothing_else_is_there(door: Door, name: str) -> None:
    base = door.assets.base
    async with door.browser() as browser:
        # The client would tidy the path; the application gets it as an attacker sends it.
        request = browser.build_request("GET", base)
        request.url = httpx2.URL(f"http://localhost{base}x").copy_with(raw_path=f"{base}{name}".encode())
        answer = await browser.send(request)
    assert answer.status_code == 404
    assert "secret" not in answer.text


async def test_an_address_of_another_version_leads_to_this_one(door: Door) -> None:
    other = asset_base("0123456789abcdef")
    async with door.browser() as browser:
        answer = await browser.get(f"{other}lib/a.js")
        assert answer.status_code == 307
        assert answer.headers["location"] == f"{door.assets.base}lib/a.js"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["access-control-allow-origin"] == "*", "or the browser does not follow"
        assert (await browser.get(f"{other}gone.js")).status_code == 404
        for version in ("", "x", "0123456789abcdeg", "0123456789ABCDEF", "..", "evil.example"):
            assert (await browser.get(f"/static/{version}/lib/a.js")).status_code == 404


def test_any_change_of_any_file_changes_the_version(static: Path) -> None:
    seen = {Assets(static).version}
    (static / "lib" / "a.js").write_text("export const a = 2;\n")
    seen.add(Assets(static).version)
    (static / "lib" / "b.js").write_text("export const a = 2;\n")
    seen.add(Assets(static).version)
    (static / "lib" / "b.js").rename(static / "lib" / "c.js")
    seen.add(Assets(static).version)
    assert len(seen) == 4
    assert Assets(static).version == Assets(static).version
    # What is not served says nothing.
    (static / "notes.md").write_text("other")
    assert Assets(static).version in seen


def test_changes_are_noticed_when_asked_for_and_only_then(static: Path) -> None:
    fixed, reloading = Assets(static), Assets(static, reload=True)
    assert fixed.version == reloading.version
    (static / "app.js").write_text("changed();\n")
    os.utime(static / "app.js", (1, 1))
    reloading._looked_at = 0.0  # as if the last look were long ago
    assert reloading.version != fixed.version
    found = reloading.find("app.js")
    assert found is not None and b"changed" in found.plain


def test_comments_stay_at_home(static: Path) -> None:
    found = Assets(static).find("app.js")
    assert found is not None
    assert b"comment" not in found.plain
    assert b"import{a}" in found.plain


def test_more_than_a_program_can_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatd.web.assets.BYTES_MAX", 10)
    (tmp_path / "a.js").write_text("0123456789ab")
    with pytest.raises(ValueError, match="kept in memory"):
        Assets(tmp_path)


def test_everything_that_our_files_refer_to_is_there() -> None:
    """Modules and sheets ask for others by relative addresses; each of them must be served."""
    assets = Assets(static_directory())
    assert re.fullmatch(r"/static/[0-9a-f]{16}/", assets.base)
    missing = []
    for name in assets.names():
        found = assets.find(name)
        assert found is not None
        if not name.endswith(".js"):
            continue
        for address in re.findall(r"""(?:from|import\()\s*["'](\.[^"'$]+)["']""", found.plain.decode()):
            wanted = os.path.normpath(Path(name).parent / address)
            if assets.find(wanted) is None:
                missing.append(f"{name} asks for {address}")
    assert missing == []


def test_no_kind_of_file_can_be_a_page() -> None:
    """A page under our own address would run with the rights of the inbox."""
    assert not {".html", ".htm", ".xhtml", ".xml", ".pdf"} & set(KINDS)

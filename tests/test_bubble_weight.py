"""What the bubble costs a shop's page: before the click at most 10 KB in at most 2 requests, at most 40 KB in all.

Counted are the bytes that chatd's answers hold, for a browser that takes gzip. Before the click somebody new gets one
file; who has written before gets the connection too, so that replies show as a number. What is loaded later still (the
emoji picker, when it is opened) has its own line. A KB is 1,000 bytes.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import httpx2
import pytest

from chatd.i18n import LOCALES
from chatd.web.bundling import imports_of
from tests.door import a_shop, open_door

STATIC = Path(__file__).parent.parent / "static"
BUBBLE = STATIC / "bubble"
EMBED = BUBBLE / "embed.js"
PANEL = BUBBLE / "panel.js"
SESSION = BUBBLE / "session.js"
EMOJI = BUBBLE / "emoji.js"

BEFORE_THE_CLICK_BYTES_MAX = 10_000
BEFORE_THE_CLICK_REQUESTS_MAX = 2
IN_ALL_BYTES_MAX = 40_000
IN_ALL_REQUESTS_MAX = 7
LATER_BYTES_MAX = 2_000

SOMEBODY_NEW = frozenset({EMBED})
SOMEBODY_KNOWN = frozenset({EMBED, SESSION})

_SHEET = re.compile(r"loadSheet\(\"([^\"]+)\"\)")


class Served:
    """The sizes of files as `browser` gets them. The script's address is the shop's, and holds its settings."""

    def __init__(self, browser: httpx2.AsyncClient, script: str, base: str) -> None:
        self._browser = browser
        self._script = script
        self._base = base

    async def table(self, paths: Iterable[Path]) -> dict[str, int]:
        return {path.relative_to(STATIC).as_posix(): await self._bytes_of(path) for path in sorted(paths)}

    async def _bytes_of(self, path: Path) -> int:
        address = self._script if path == EMBED else self._base + path.relative_to(STATIC).as_posix()
        answer = await self._browser.get(address, headers={"accept": "*/*", "accept-encoding": "gzip"})
        assert answer.status_code == 200, address
        assert answer.headers["content-encoding"] == "gzip", address
        return int(answer.headers["content-length"])


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A shop with much to say, at a chatd with a long address."""
    async with open_door(tmp_path, base_url="https://chat.a-shop-of-some-name.example") as door:
        greeting = "Hi! Ask us anything about our goods, about sizes, or about your order."
        shop = await a_shop(door.store, name="A shop with quite a long name", greeting=greeting, colour="#4a7d13")
        await door.directory.refresh()
        async with door.browser() as browser:
            yield Served(browser, f"/bubble/{shop.key}.js", door.assets.base)


def behind_the_click() -> set[Path]:
    """The two entries, and the style sheets that their modules fetch."""
    entries = (PANEL, SESSION)
    sheets = {
        (path.parent / name).resolve()
        for entry in entries
        for path in imports_of(entry)
        for name in _SHEET.findall(path.read_text(encoding="utf-8"))
    }
    return {*entries, *sheets}


@pytest.mark.parametrize("visitor", [SOMEBODY_NEW, SOMEBODY_KNOWN], ids=["new", "known"])
async def test_before_the_click_it_is_light(served: Served, visitor: frozenset[Path]) -> None:
    assert not re.search(r"^(?:import|export)\b", EMBED.read_text(encoding="utf-8"), re.MULTILINE)
    table = await served.table(visitor)
    assert sum(table.values()) <= BEFORE_THE_CLICK_BYTES_MAX, table
    assert len(table) <= BEFORE_THE_CLICK_REQUESTS_MAX


@pytest.mark.parametrize("locale", LOCALES)
async def test_everything_with_one_language_is_light(served: Served, locale: str) -> None:
    table = await served.table(behind_the_click() | {EMBED, BUBBLE / "locales" / f"{locale}.js"})
    assert sum(table.values()) <= IN_ALL_BYTES_MAX, table
    assert len(table) <= IN_ALL_REQUESTS_MAX


async def test_what_comes_later_is_light(served: Served) -> None:
    table = await served.table(imports_of(EMOJI))
    assert sum(table.values()) <= LATER_BYTES_MAX, table


def test_who_only_waits_for_a_reply_does_not_load_what_draws_it() -> None:
    assert {path.name for path in imports_of(SESSION)} == {"client.js", "cart.js", "session.js"}


def test_all_of_it_is_fetched_side_by_side() -> None:
    """The launcher names what the panel waits for, so that nothing waits for the file that asks for it."""
    listed = re.search(r"BEHIND_THE_CLICK = \[(.*?)\]", EMBED.read_text(encoding="utf-8"), re.DOTALL)
    assert listed is not None
    named = {(BUBBLE / name).resolve() for name in re.findall(r"\"([^\"]+)\"", listed.group(1))}
    assert named == behind_the_click()


def test_the_two_entries_share_no_module() -> None:
    """What were in both would be fetched and run twice."""
    panel, session = (set(imports_of(entry)) for entry in (PANEL, SESSION))
    assert not panel & session


@pytest.mark.parametrize("path", sorted(BUBBLE.rglob("*.js")), ids=lambda path: path.name)
def test_no_file_grows_beyond_reading(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400

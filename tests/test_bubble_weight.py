"""What the bubble costs a shop's page: before the click at most 10 KB in at most 2 requests, at most 40 KB in all.

Counted as a browser gets it: each file as it is served (without comments, with what it imports inside it), compressed
by gzip. What is loaded later still (the emoji picker, when it is opened) has its own line.
"""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from chatd.i18n import LOCALES
from chatd.web.bundling import bundle, imports_of
from chatd.web.slimming import slim

STATIC = Path(__file__).parent.parent / "static"
BUBBLE = STATIC / "bubble"
EMBED = BUBBLE / "embed.js"

KB = 1_024
BEFORE_THE_CLICK_BYTES_MAX = 10 * KB
IN_ALL_BYTES_MAX = 40 * KB
LATER_BYTES_MAX = 2 * KB
REQUESTS_AFTER_THE_CLICK_MAX = 6

SETTINGS = json.dumps(
    {
        "shop": "a-shop-with-quite-a-long-key",
        "socket": "wss://chat.example.com/v1/socket/a-shop-with-quite-a-long-key",
        "assets": "https://chat.example.com/static/0123456789abcdef/",
        "name": "A shop with quite a long name",
        "colour": "#0f766e",
        "greeting": "Hi! Ask us anything about our goods, about sizes, or about your order.",
        "locale": "en",
        "position": "right",
        "ask_first": False,
        "labels": {"open": "Chat with us", "close": "Close the chat", "failed": "The chat could not be loaded."},
    }
)

ENTRIES = (BUBBLE / "panel.js", BUBBLE / "session.js")
_SHEET = re.compile(r"loadSheet\(\"([^\"]+)\"\)")


def served(path: Path) -> bytes:
    text = bundle(path) if path in ENTRIES else slim(path.name, path.read_text(encoding="utf-8"))
    if path == EMBED:
        assert text.count("/*CHATD_SETTINGS*/null") == 1, "the server has one place to put the shop's settings"
        text = text.replace("/*CHATD_SETTINGS*/null", SETTINGS)
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def weight(paths: set[Path]) -> int:
    return sum(len(served(path)) for path in paths)


def table(paths: set[Path]) -> str:
    return "\n".join(f"{len(served(path)):7,} {path.relative_to(STATIC)}" for path in sorted(paths))


def behind_the_click() -> set[Path]:
    """The two entries, and the style sheets that their modules fetch."""
    sheets = {
        (path.parent / name).resolve()
        for entry in ENTRIES
        for path in imports_of(entry)
        for name in _SHEET.findall(path.read_text(encoding="utf-8"))
    }
    return {*ENTRIES, *sheets}


def test_before_the_click_there_is_one_light_file() -> None:
    assert not re.search(r"^(?:import|export)\b", EMBED.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(served(EMBED)) <= BEFORE_THE_CLICK_BYTES_MAX


@pytest.mark.parametrize("locale", LOCALES)
def test_everything_with_one_language_is_light(locale: str) -> None:
    everything = behind_the_click() | {EMBED, BUBBLE / "locales" / f"{locale}.js"}
    assert weight(everything) <= IN_ALL_BYTES_MAX, table(everything)
    assert len(everything) - 1 <= REQUESTS_AFTER_THE_CLICK_MAX, table(everything)


def test_what_comes_later_is_light() -> None:
    later = set(imports_of(BUBBLE / "emoji.js"))
    assert weight(later) <= LATER_BYTES_MAX, table(later)


def test_all_of_it_is_fetched_side_by_side() -> None:
    """The launcher names what the panel waits for, so that nothing waits for the file that asks for it."""
    listed = re.search(r"BEHIND_THE_CLICK = \[(.*?)\]", EMBED.read_text(encoding="utf-8"), re.DOTALL)
    assert listed is not None
    named = {(BUBBLE / name).resolve() for name in re.findall(r"\"([^\"]+)\"", listed.group(1))}
    assert named == behind_the_click()


def test_the_two_entries_share_no_module() -> None:
    """What were in both would be fetched and run twice."""
    panel, session = (set(imports_of(entry)) for entry in ENTRIES)
    assert not panel & session


@pytest.mark.parametrize("path", sorted(BUBBLE.rglob("*.js")), ids=lambda path: path.name)
def test_no_file_grows_beyond_reading(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400

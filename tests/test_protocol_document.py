"""docs/protocol.md is complete enough to write a client from it alone: everything in the code stands in it, and nothing
else does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chatd.domain import commands, events
from chatd.errors import ChatError, every_error
from chatd.wire.codes import CloseCode
from chatd.wire.frames import SUBPROTOCOLS, VERSION, Hello, Ping

DOCUMENT = (Path(__file__).parent.parent / "docs" / "protocol.md").read_text("utf-8")
RFC_CODES_BELOW = 4000


def section(number: int) -> str:
    found = re.search(rf"^## {number}\. .*?(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/protocol.md has no section {number}"
    return found.group(0)


def subsection(text: str, title: str) -> str:
    found = re.search(rf"^### {title}\n.*?(?=^### |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/protocol.md has no part {title!r}"
    return found.group(0)


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, heads and rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for number, row in enumerate(cells) if not set(row[0]) <= set("- ") and not _is_head(lines, number)]


def _is_head(lines: list[str], number: int) -> bool:
    return number + 1 < len(lines) and set(lines[number + 1]) <= set("|- ")


def quoted(cell: str) -> list[str]:
    """The names in backticks, without what a colon or a bracket says of them."""
    return re.findall(r"`([a-z_]+)`", cell)


def tag(kind: type) -> str:
    return str(kind.__struct_config__.tag)  # type: ignore[attr-defined]


def fields_of(kind: type) -> set[str]:
    return set(kind.__struct_fields__)  # type: ignore[attr-defined]


def test_every_command_query_and_signal_with_its_fields_and_who_may_say_it() -> None:
    said: dict[str, tuple[set[str], set[str]]] = {}
    for names, who, fields, *_ in rows(section(3)):
        for name in quoted(names):
            sides = {"customer", "staff"} if who == "all" else set(who.split(", "))
            # What stands in brackets or after a colon explains a field.
            said[name] = (sides, set(quoted(re.sub(r"\([^)]*\)|`[\[{].*?[\]}]`", "", fields))))

    expected: dict[str, tuple[set[str], set[str]]] = {"ping": ({"customer", "staff"}, fields_of(Ping))}
    customer = commands.CUSTOMER_COMMANDS + commands.CUSTOMER_QUERIES + commands.CUSTOMER_SIGNALS
    staff = commands.STAFF_COMMANDS + commands.STAFF_QUERIES + commands.STAFF_SIGNALS
    for side, kinds in (("customer", customer), ("staff", staff)):
        for kind in kinds:
            sides, _ = expected.setdefault(tag(kind), (set(), fields_of(kind)))
            sides.add(side)
    assert said == expected


def test_queries_and_signals_are_marked_as_such() -> None:
    for names, *_ in rows(section(3)):
        for name in quoted(names):
            kinds = {tag(kind): kind for kind in (*commands.CUSTOMER_QUERIES, *commands.STAFF_QUERIES)}
            assert ("(query)" in names) == (name in kinds)
            signals = {tag(kind) for kind in (*commands.CUSTOMER_SIGNALS, *commands.STAFF_SIGNALS)}
            assert ("(signal)" in names) == (name in signals)


def test_every_event_with_its_flags_and_fields() -> None:
    said: dict[str, tuple[bool, bool, set[str]]] = {}
    for names, public, in_thread, fields in rows(subsection(section(4), "Events")):
        for name in quoted(names):
            said[name] = (public == "yes", bool(in_thread), set(quoted(re.sub(r":.*", "", fields))) | _listed(fields))
    common = fields_of(events.Event)
    expected = {tag(kind): (kind.public, kind.in_thread, fields_of(kind) - common) for kind in events.EVENT_TYPES}
    assert said == expected


def _listed(fields: str) -> set[str]:
    """Fields may be explained in between (`by`: `customer` or `shop`, `position`); the values are no fields."""
    known = {name for kind in events.EVENT_TYPES for name in fields_of(kind)} - fields_of(events.Event)
    return {name for name in quoted(fields.split(";")[0]) if name in known}


def test_every_error_and_whether_it_is_temporary() -> None:
    said = {name: temporary == "yes" for names, temporary, _ in rows(section(5)) for name in quoted(names)}
    assert said == {error.code: error.temporary for error in every_error() if error is not ChatError}


def test_every_close_code() -> None:
    said = {int(code): name.strip("`") for code, name, _ in rows(section(6))}
    assert said == {int(code): code.name.lower() for code in CloseCode if code >= RFC_CODES_BELOW}
    for code in CloseCode:
        if code < RFC_CODES_BELOW and code not in (CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.INTERNAL_ERROR):
            assert re.search(rf"\b{int(code)}\b", section(6)), f"{code.name} ({int(code)}) is not told"
    assert all(code.come_back == (4000 <= code <= 4499) for code in CloseCode if code >= RFC_CODES_BELOW)


def test_every_field_of_the_hello() -> None:
    table = {name for names, *_ in rows(section(2)) for name in quoted(names)}
    assert table == fields_of(Hello)


@pytest.mark.parametrize("name", [*SUBPROTOCOLS, f'"version": {VERSION}'])
def test_versions_and_subprotocols(name: str) -> None:
    assert name in DOCUMENT

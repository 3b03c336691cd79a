"""The browser's constants and types are those of the code: `static/wire.js` is what would be generated now."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from chatd.domain import commands, events
from chatd.domain.conversations import PREVIEW_CHARACTERS
from chatd.domain.limits import Limits
from chatd.errors import ChatError, every_error
from chatd.wire import generate
from chatd.wire.codes import CloseCode
from chatd.wire.frames import SUBPROTOCOLS, VERSION

STATIC = Path(__file__).parent.parent / "static"


def test_the_committed_file_is_fresh() -> None:
    assert generate.main(["--check"]) == 0, "run: python -m chatd.wire.generate"


def test_the_same_code_gives_the_same_file() -> None:
    assert generate.generate() == generate.generate()


def test_a_stale_file_is_told_and_mended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    destination = tmp_path / "wire.js"
    assert generate.main(["--check", "--to", str(destination)]) == 1
    assert "run python -m chatd.wire.generate" in capsys.readouterr().err
    assert generate.main(["--to", str(destination)]) == 0
    assert generate.main(["--check", "--to", str(destination)]) == 0
    destination.write_text(destination.read_text("utf-8") + "\n", "utf-8")
    assert generate.main(["--check", "--to", str(destination)]) == 1


@pytest.mark.node
async def test_the_browser_reads_what_the_code_says(node_path: str) -> None:
    """Not by comparing text: a module that node has loaded says it."""
    script = "import * as wire from './static/wire.js'; console.log(JSON.stringify(wire));"
    process = await asyncio.create_subprocess_exec(
        node_path,
        "--input-type=module",
        "--eval",
        script,
        cwd=STATIC.parent,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    wire = json.loads(output)
    assert wire["VERSION"] == VERSION
    assert wire["SUBPROTOCOLS"] == list(SUBPROTOCOLS)
    assert wire["LIMITS"] == {name: getattr(Limits(), name) for name in Limits.__struct_fields__}
    assert wire["CLOSE_CODES"] == {code.name.lower(): int(code) for code in CloseCode}
    assert wire["ERRORS"] == {
        error.code: {"temporary": error.temporary} for error in every_error() if error is not ChatError
    }
    assert wire["EVENTS"] == {
        kind.__struct_config__.tag: {"public": kind.public, "in_thread": kind.in_thread} for kind in events.EVENT_TYPES
    }
    for name, customer, staff in (
        ("COMMANDS", commands.CUSTOMER_COMMANDS, commands.STAFF_COMMANDS),
        ("QUERIES", commands.CUSTOMER_QUERIES, commands.STAFF_QUERIES),
        ("SIGNALS", commands.CUSTOMER_SIGNALS, commands.STAFF_SIGNALS),
    ):
        kinds: set[type] = {*customer, *staff}
        assert wire[name] == {
            kind.__struct_config__.tag: {"customer": kind in customer, "staff": kind in staff}  # type: ignore[attr-defined]
            for kind in kinds
        }


def test_the_client_speaks_this_version() -> None:
    """`client.js` imports nothing, so what it needs of the constants is written there a second time."""
    client = (STATIC / "client.js").read_text("utf-8")
    assert f"version: {VERSION}," in client
    assert '["chatd.v1.json"]' in client
    assert "chatd.v1.json" in SUBPROTOCOLS
    for name in ("mark_seen", "mark_delivered", "update_cart", "send_message", "introduce"):
        assert f'"{name}"' in client
        assert name in {kind.__struct_config__.tag for kind in commands.CUSTOMER_COMMANDS}


def test_the_preview_is_cut_where_the_server_cuts_it() -> None:
    assert f"export const PREVIEW_CHARACTERS = {PREVIEW_CHARACTERS};" in (STATIC / "state.js").read_text("utf-8")

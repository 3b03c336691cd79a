"""The browser's modules that touch no DOM, under node: each file of `tests/js` is one test here."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests" / "js").rglob("*.test.js"))


@pytest.mark.node
@pytest.mark.parametrize("name", FILES)
async def test_modules_under_node(name: str, node_path: str) -> None:
    process = await asyncio.create_subprocess_exec(
        node_path,
        "--test",
        "--test-reporter=spec",
        name,
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(120):
        output, _ = await process.communicate()
    assert process.returncode == 0, f"node --test {name}\n{output.decode(errors='replace')}"


def test_there_are_modules_to_test() -> None:
    assert FILES, "tests/js holds no *.test.js"

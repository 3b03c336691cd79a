"""docs/faults.md names tests. They exist."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

DOCUMENT = (ROOT / "docs" / "faults.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:browser/)?test_\w+\.py)::(\w+)`", DOCUMENT)))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_named_test_exists(file: str, name: str) -> None:
    text = (ROOT / "tests" / file).read_text()
    assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{file} has no {name}"


def test_every_fault_names_a_test() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and not line.startswith("| fault")]
    assert len(rows) > 25
    for row in rows:
        assert "::" in row or "every test of a single process" in row, row

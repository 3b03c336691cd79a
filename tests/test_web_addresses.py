"""What of a reply becomes a link in its mail: the same as in the chat. `tests/js/links.test.js` holds the browser to
the same file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.notify.web_addresses import segments_of

GOLDEN = json.loads((Path(__file__).parent / "golden" / "web_addresses.json").read_text("utf-8"))["cases"]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["text"][:30])
def test_addresses_are_those_of_the_golden_cases(case: dict[str, Any]) -> None:
    found = [[segment.text, segment.href] for segment in segments_of(case["text"]) if segment.href]
    assert found == case["links"]


@given(st.lists(st.sampled_from(["https://", "www.", "a.example", "/", "(", ")", ".", "@", " ", "[", "\u202e", "x"])))
def test_nothing_of_the_text_is_lost(pieces: list[str]) -> None:
    text = "".join(pieces)
    segments = segments_of(text)
    assert "".join(segment.text for segment in segments) == text
    assert all(segment.href in ("", segment.text, f"https://{segment.text}") for segment in segments)

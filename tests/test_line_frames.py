"""What crosses the line between a forwarder and the leader comes out as it went in, or is told to be broken."""

from __future__ import annotations

import struct
from typing import get_args

import msgspec
import pytest

from chatd.dispatch import line_frames
from chatd.dispatch.door import HANDLERS, RECORDERS
from chatd.dispatch.line_frames import BrokenLine, FrameReader, SettleJournal, Wish
from chatd.errors import NotFound, Temporary, TooFast, every_error


def test_everything_that_can_be_submitted_can_be_passed_on() -> None:
    assert {*HANDLERS, *RECORDERS, SettleJournal} == {*get_args(Wish)}


def test_a_refusal_that_cannot_be_said_is_a_refusal_all_the_same() -> None:
    refusal = line_frames.refusal_of(NotFound("nobody is called \ud800"))
    assert type(line_frames.error_of(refusal)) is NotFound


def test_every_refusal_crosses_the_line_as_it_is() -> None:
    for kind in every_error():
        error = kind("a sentence", retry_after_ms=5) if kind is TooFast else kind("a sentence", count=3)
        again = line_frames.error_of(line_frames.refusal_of(error))
        assert (type(again), again.message, again.facts) == (kind, "a sentence", error.facts)
    assert type(line_frames.error_of(("of a later version", "a sentence", {}))) is Temporary


@pytest.mark.parametrize("size", [1, 3, 7, 4_096])
def test_frames_are_whole_however_they_come(size: int) -> None:
    sent = [msgspec.msgpack.encode("x" * length) for length in (0, 1, 5, 300, 0, 70_000, 2)]
    stream = b"".join(struct.pack("!I", len(one)) + one for one in sent)
    reader = FrameReader(100_000)
    found = [bytes(one) for at in range(0, len(stream), size) for one in reader.feed(stream[at : at + size])]
    assert found == sent


def test_a_length_beyond_the_bound_is_broken_at_once() -> None:
    with pytest.raises(BrokenLine):
        FrameReader(100).feed(struct.pack("!I", 101))

"""How fast a client may go: what is beyond it is refused with an honest time to come back, and only who goes on
regardless is cut off."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.domain.commands import LoadHistory, MarkSeen, SendMessage, SetActive, SetTyping
from chatd.domain.limits import Limits
from chatd.wire.codes import CloseCode
from chatd.wire.frames import Codec
from chatd.wire.protocol import REFUSED_MAX, SIGNALS_PER_COMMAND, Close, Reply, State
from tests.peers import ID, PING, Peer, both_codecs, closed_with, sample

MOST = Limits().commands_per_window_max
WINDOW = Limits().command_window_seconds


def fill(peer: Peer, kind: str = "send_message", most: int = MOST) -> None:
    for _ in range(most):
        assert not isinstance(peer.say(sample(kind)), Reply | Close)


def wait_of(peer: Peer, outcome: object) -> int:
    """The milliseconds that a refusal asks for."""
    assert isinstance(outcome, Reply)
    error = peer.told(outcome)
    assert (error["code"], error["id"], error["temporary"]) == ("too_fast", ID, True)
    assert error["facts"]["commands_max"] == peer.protocol._limits.commands_per_window_max
    assert str(error["facts"]["retry_after_ms"]) in error["message"]
    wait = error["facts"]["retry_after_ms"]
    assert isinstance(wait, int) and wait > 0
    return wait


@both_codecs
@pytest.mark.parametrize("kind", ["send_message", "mark_seen", "update_cart", "load_history"])
def test_commands_and_queries_are_counted_together_up_to_the_bound(codec: Codec, kind: str) -> None:
    peer = Peer(codec)
    fill(peer, most=MOST // 2)
    fill(peer, kind, most=MOST - MOST // 2)
    wait_of(peer, peer.say(sample(kind)))
    wait_of(peer, peer.say(sample("send_message")))
    assert peer.protocol.state is State.OPEN


@given(
    st.floats(0, 1e9),
    st.floats(0.001, 3_600),
    st.integers(1, 50),
    st.lists(st.floats(0, 1), min_size=1, max_size=60),
)
def test_who_waits_as_long_as_told_is_admitted(start: float, window: float, most: int, pauses: list[float]) -> None:
    """Wherever in the window the refusal came, whatever the clock says, and however often one was refused before."""
    peer = Peer(commands_per_window_max=most, command_window_seconds=window)
    peer.now = start
    for pause in itertools.islice(itertools.cycle(pauses), 2 * most + 1):
        peer.now += pause * window / (2 * most)
        outcome = peer.say(sample("send_message"))
        if isinstance(outcome, Reply):
            wait = wait_of(peer, outcome)
            assert wait <= window * 1_000 + 1, "longer than a whole window"
            peer.now += wait / 1_000
            assert isinstance(peer.say(sample("send_message")), SendMessage)


def test_the_window_is_used_up_and_full_again_at_its_end() -> None:
    peer = Peer()
    for _ in range(100):
        fill(peer)
        peer.now += wait_of(peer, peer.say(sample("send_message"))) / 1_000
    assert peer.protocol.state is State.OPEN, "who does as told may go on for ever"


def test_a_refused_command_does_not_make_the_wait_longer() -> None:
    peer = Peer()
    fill(peer)
    waits = []
    for _ in range(5):
        waits.append(wait_of(peer, peer.say(sample("send_message"))))
        peer.now += 1.0
    assert all(earlier - later in (999, 1_000, 1_001) for earlier, later in itertools.pairwise(waits))


# ---------------------------------------------------------------- signals and pings


@both_codecs
def test_typing_in_two_tabs_never_uses_up_the_right_to_send(codec: Codec) -> None:
    peer = Peer(codec)
    for _ in range(MOST * SIGNALS_PER_COMMAND):
        assert isinstance(peer.say(sample("set_typing")), SetTyping)
    fill(peer)


def test_sending_does_not_use_up_the_right_to_be_alive() -> None:
    peer = Peer()
    fill(peer)
    assert peer.told(peer.say(PING)) == {"type": "pong"}
    assert isinstance(peer.say(sample("set_active")), SetActive)


@pytest.mark.parametrize("message", [PING, sample("set_typing"), sample("set_active")])
def test_signals_and_pings_beyond_their_bound_are_dropped_until_the_window_ends(message: dict[str, Any]) -> None:
    peer = Peer()
    for _ in range(MOST * SIGNALS_PER_COMMAND):
        assert peer.say(message) is not None
    assert peer.say(message) is None
    peer.now += WINDOW
    assert peer.say(message) is not None


# ---------------------------------------------------------------- floods


@both_codecs
@pytest.mark.parametrize("message", [sample("send_message"), sample("load_history"), sample("set_typing"), PING])
def test_a_flood_is_cut_off_for_good(codec: Codec, message: dict[str, Any]) -> None:
    peer = Peer(codec)
    outcomes = [peer.say(message) for _ in range(MOST * SIGNALS_PER_COMMAND + REFUSED_MAX + 1)]
    closes = [outcome for outcome in outcomes if isinstance(outcome, Close)]
    assert len(closes) == 1 and closed_with(closes[0]) is CloseCode.FLOODING
    assert not CloseCode.FLOODING.come_back
    assert peer.say(message) is None
    peer.now += 3_600
    assert peer.say(message) is None


def test_a_flood_that_goes_on_over_the_windows_is_cut_off_too() -> None:
    peer = Peer()
    for _ in range(1_000):
        outcome = peer.say(sample("send_message"))
        if isinstance(outcome, Close):
            assert closed_with(outcome) is CloseCode.FLOODING
            return
        peer.now += 0.1
    raise AssertionError("ten frames a second for a hundred seconds, and nobody minded")


@pytest.mark.parametrize("state", [State.HELLO, State.WELCOMING, State.OPEN])
def test_pings_of_the_framing_are_a_flood_too(state: State) -> None:
    peer = Peer(state=state)
    bound = MOST * SIGNALS_PER_COMMAND + REFUSED_MAX
    closes = [peer.protocol.receive_control(peer.now) for _ in range(bound + 1)]
    assert closes[:-1] == [None] * bound and closed_with(closes[-1]) is CloseCode.FLOODING
    assert peer.protocol.receive_control(peer.now) is None


def test_a_ping_every_second_is_answered_for_ever() -> None:
    peer = Peer()
    for _ in range(10_000):
        assert peer.protocol.receive_control(peer.now) is None
        peer.now += 1


def test_somebody_who_is_a_little_too_fast_now_and_then_is_never_taken_for_a_flood() -> None:
    """An inbox that stays open for weeks: a bulk of answers, a few refusals, each tried again when told."""
    peer = Peer()
    for _ in range(REFUSED_MAX // 4):
        fill(peer)
        waits = [wait_of(peer, peer.say(sample("send_message"))) for _ in range(5)]
        peer.now += waits[-1] / 1_000
        assert isinstance(peer.say(sample("mark_seen")), MarkSeen)
        peer.now += 2 * WINDOW


def test_what_is_malformed_costs_nothing_of_the_window() -> None:
    peer = Peer()
    for _ in range(5):
        assert peer.refused({"type": "nonsense"}) == ("malformed_frame", None)
    fill(peer)


def test_the_clock_of_a_machine_that_has_just_started_is_as_good_as_any() -> None:
    peer = Peer()
    peer.now = 0.0
    fill(peer)
    wait_of(peer, peer.say(sample("send_message")))
    peer.now = WINDOW
    assert isinstance(peer.say(sample("load_history")), LoadHistory)

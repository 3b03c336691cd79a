"""Whose address it is, how many are in, and how often something may be tried."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.web.addresses import AddressCounts, address_group, client_address
from chatd.web.rates import Rate, RateLimiter

# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "client"),
    [
        ("192.0.2.1", [], 0, "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9"], 0, "192.0.2.1"),
        ("10.0.0.1", ["203.0.113.9"], 1, "203.0.113.9"),
        ("10.0.0.1", ["spoof, 203.0.113.9"], 1, "203.0.113.9"),
        ("10.0.0.1", ["spoof", "203.0.113.9"], 1, "203.0.113.9"),
        ("10.0.0.1", ["spoof, 203.0.113.9, 10.0.0.2"], 2, "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9"], 2, "10.0.0.1"),
        ("10.0.0.1", [], 1, "10.0.0.1"),
        ("10.0.0.1", ["nonsense"], 1, "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9:4711"], 1, "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], 1, "2001:db8::1"),
        ("10.0.0.1", ["2001:DB8:0::1"], 1, "2001:db8::1"),
        ("::ffff:192.0.2.1", [], 0, "192.0.2.1"),
        ("fe80::1%eth0", [], 0, "fe80::1"),
        (None, [], 0, ""),
        (None, ["203.0.113.9"], 1, "203.0.113.9"),
    ],
)
def test_whose_address_it_is(peer: str | None, forwarded: list[str], proxies: int, client: str) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    assert client_address(peer, [(b"host", b"a"), *headers], proxies) == client


@given(st.lists(st.text(max_size=40), max_size=4))
def test_nothing_that_a_client_says_moves_its_address(said: list[str]) -> None:
    values = [text.encode("utf-8", "surrogatepass") for text in said]
    headers = [(b"x-forwarded-for", value) for value in values]
    assert client_address("192.0.2.1", headers, 0) == "192.0.2.1"
    assert client_address("10.0.0.1", [*headers, (b"x-forwarded-for", b"192.0.2.1")], 1) == "192.0.2.1"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
    ],
)
def test_who_counts_as_one_place(one: str, other: str, same: bool) -> None:
    assert (address_group(one) == address_group(other)) is same


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "2001:db8::1", "2001:db8::2", ""]), st.booleans()), max_size=60))
def test_the_counts_are_exact(moves: list[tuple[str, bool]]) -> None:
    counts = AddressCounts(3)
    inside: list[str] = []
    for address, comes in moves:
        if comes:
            group = address_group(address) if address else ""
            expected = not address or sum(address_group(one) == group for one in inside if one) < 3
            assert counts.enter(address) is expected
            if expected:
                inside.append(address)
        elif address in inside:
            inside.remove(address)
            counts.leave(address)
    for address in inside:
        counts.leave(address)
    assert len(counts) == 0


# ---------------------------------------------------------------- rates


def test_a_burst_is_allowed_then_one_at_a_time_and_the_wait_is_exact() -> None:
    limiter = RateLimiter(Rate(burst=3, seconds=30.0))
    now = 1_000.0
    for _ in range(3):
        assert limiter.wait_seconds("mia", now) == 0
        limiter.take("mia", now)
    wait = limiter.wait_seconds("mia", now)
    assert wait == pytest.approx(10.0)
    assert limiter.wait_seconds("mia", now + wait - 0.001) > 0
    assert limiter.wait_seconds("mia", now + wait) == 0
    assert limiter.wait_seconds("leo", now) == 0, "another key"
    limiter.forget("mia")
    assert limiter.wait_seconds("mia", now) == 0


def test_trying_on_while_refused_does_not_prolong_the_wait() -> None:
    limiter = RateLimiter(Rate(burst=2, seconds=20.0))
    for _ in range(50):
        limiter.take("mia", 0.0)
    assert limiter.wait_seconds("mia", 0.0) == pytest.approx(10.0)


def test_who_has_gone_is_forgotten_and_who_must_still_wait_is_not() -> None:
    limiter = RateLimiter(Rate(burst=1, seconds=10.0))
    limiter.take("a long wait", 0.0)
    most = 0
    for number in range(20_000):
        limiter.take(str(number), number / 1_000)
        most = max(most, len(limiter))
        if number < 9_999:
            assert limiter.wait_seconds("a long wait", number / 1_000) > 0
    # A thousand come each second and matter for ten: so many, and as many again that are not cleared away yet.
    assert most <= 20_001
    limiter.take("much later", 1_000.0)
    assert len(limiter) == 1


def test_a_flood_of_keys_takes_bounded_memory_and_does_not_wash_out_the_newest() -> None:
    limiter = RateLimiter(Rate(burst=1, seconds=1_000.0), keys_max=100)
    for number in range(10_000):
        limiter.take(str(number), float(number) / 1_000)
        assert len(limiter) <= 100
    assert limiter.wait_seconds("9999", 10.0) > 0

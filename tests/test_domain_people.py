"""Names, actors and what is known of a customer."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatd.domain.events import Author, CustomerCard
from chatd.domain.limits import Limits
from chatd.domain.people import Actor, check_name, check_text, introduced, system_actor
from chatd.errors import ChatError, InvalidInput, NotPermitted, TooLarge

LIMITS = Limits()


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Mia", "Mia"),
        ("  Mia   Lindqvist ", "Mia Lindqvist"),
        ("Mia\r\nBcc: all@example.com", "Mia Bcc: all@example.com"),  # one line, whatever it is put into
        ("Mia\u2028Lindqvist\u00a0", "Mia Lindqvist"),
        ("Zoe\u0308", "Zo\u00eb"),  # composed, so that search finds it
        ("\u212bsa", "\u00c5sa"),
        ("李小龙", "李小龙"),
        ("\u05d3\u05d5\u05d3\u200f", "\u05d3\u05d5\u05d3\u200f"),  # the mark that Hebrew names hold
        ("नेहा\u200dशर्मा", "नेहा\u200dशर्मा"),  # a joiner is part of how a name is written
        ("👩‍🚀", "👩‍🚀"),
        ("O'Brien <b>", "O'Brien <b>"),  # showing it safely is not the name's business
        ("", ""),
        ("   ", ""),
        ("x" * 120, "x" * 120),
    ],
)
def test_a_name_is_one_line_trimmed_and_composed(typed: str, kept: str) -> None:
    assert check_name(typed, LIMITS) == kept


@pytest.mark.parametrize(
    ("typed", "error", "why"),
    [
        ("x" * 121, TooLarge, "name is 121 characters, the limit is 120"),
        ("\u0958" * 120, TooLarge, "name is 240 characters, the limit is 120"),  # each becomes two when composed
        ("a\0b", InvalidInput, "NUL"),
        ("half \ud83d", InvalidInput, "half a character"),
        ("a\x07b", InvalidInput, "control character"),
        ("a\x1b[31mb", InvalidInput, "control character"),
        ("a\x7fb", InvalidInput, "control character"),
        ("\u202egro.live", InvalidInput, "turns the direction"),
        ("a\u2066b", InvalidInput, "turns the direction"),
        ("\u200b\u200b", InvalidInput, "no character that can be seen"),
        ("\u200d", InvalidInput, "no character that can be seen"),
        ("\u0301", InvalidInput, "no character that can be seen"),
    ],
)
def test_what_is_no_name_is_refused_with_the_reason(typed: str, error: type[ChatError], why: str) -> None:
    with pytest.raises(error, match=why) as caught:
        check_name(typed, LIMITS)
    assert type(caught.value) is error and caught.value.facts["what"] == "name"


@given(st.text(max_size=130))
@example("\u0344" * 40)
def test_whatever_passes_as_a_name_is_one_bounded_line_and_passes_again(typed: str) -> None:
    try:
        name = check_name(typed, LIMITS)
    except InvalidInput:
        return
    assert len(name) <= LIMITS.name_characters_max
    assert name == unicodedata.normalize("NFC", name) == name.strip()
    assert len(name.splitlines()) <= 1
    assert check_name(name, LIMITS) == name
    name.encode()


# ---------------------------------------------------------------- any text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50))
def test_any_text_that_can_be_written_down_passes(text: str) -> None:
    check_text(text, what="text", characters_max=50)


@given(st.text(max_size=5), st.characters(categories=["Cs"]), st.text(max_size=5))
def test_half_a_character_anywhere_is_refused(before: str, half: str, after: str) -> None:
    with pytest.raises(InvalidInput, match="text holds half a character") as caught:
        check_text((before + half + after).replace("\0", ""), what="text", characters_max=50)
    caught.value.message.encode()


@pytest.mark.parametrize("length", [0, 1, 49, 50])
def test_a_bound_counts_characters(length: int) -> None:
    check_text("😀" * length, what="text", characters_max=50)


def test_beyond_the_bound_the_numbers_are_told() -> None:
    with pytest.raises(TooLarge) as caught:
        check_text("😀" * 1_051, what="text", characters_max=1_050)
    assert caught.value.message == "text is 1,051 characters, the limit is 1,050"
    assert caught.value.facts == {"what": "text", "characters": 1_051, "characters_max": 1_050}


# ---------------------------------------------------------------- actors


@pytest.mark.parametrize(
    ("kind", "is_customer", "said_by"),
    [
        ("visitor", True, "customer"),
        ("member", True, "customer"),
        ("staff", False, "staff"),
        ("operator", False, "system"),
        ("integration", False, "system"),
        ("system", False, "system"),
    ],
)
def test_how_an_actor_is_known_to_everybody(kind: Any, is_customer: bool, said_by: Any) -> None:
    actor = Actor(kind=kind, shop="s", id="a1", name="Mia", permissions=frozenset({"chat"}))
    assert actor.is_customer is is_customer
    assert actor.author == Author(kind=said_by, id="a1", name="Mia")


def test_an_actor_has_the_permissions_that_they_were_given_and_no_others() -> None:
    agent = Actor(kind="staff", shop="s", id="a1", permissions=frozenset({"chat", "orders"}))
    agent.require("chat")
    agent.require("orders")
    for actor in (agent, Actor(kind="visitor", shop="s", id="v"), system_actor("s")):
        with pytest.raises(NotPermitted, match="this needs the permission 'balance'") as caught:
            actor.require("balance")
        assert caught.value.facts == {"permission": "balance"}


# ---------------------------------------------------------------- cards

VISITOR = CustomerCard(id="c", kind="visitor", name="Mia", email="mia@example.com")
VERIFIED = CustomerCard(id="c", kind="member", name="Mia", email="mia@example.com", verified=True)


@pytest.mark.parametrize(
    ("name", "email", "expected"),
    [
        (None, None, ("Mia", "mia@example.com")),
        ("Leo", None, ("Leo", "mia@example.com")),
        (None, "leo@example.com", ("Mia", "leo@example.com")),
        ("", "", ("", "")),
    ],
)
def test_what_was_left_out_stays_and_what_is_verified_stays_too(
    name: str | None, email: str | None, expected: tuple[str, str]
) -> None:
    after = introduced(VISITOR, name=name, email=email)
    assert (after.name, after.email) == expected
    assert (after.id, after.kind, after.verified) == ("c", "visitor", False)
    assert introduced(VERIFIED, name=name, email=email) == VERIFIED

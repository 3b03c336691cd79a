"""Carts: what is told of their changes (feature C1), and that whatever a page sends can be shown."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatd.domain.carts import NAME_CHARACTERS_TOLD, check_cart, differences, told_title
from chatd.domain.commands import Cart, CartLine, UpdateCart
from chatd.domain.conversations import decide_cart
from chatd.domain.events import CartChange, CartChanged
from chatd.domain.limits import Limits
from chatd.domain.people import Actor
from chatd.errors import ChatError, InvalidInput, NotPermitted, TooLarge

LIMITS = Limits()
NOW = 1_763_790_000_000
MIA = Actor(kind="visitor", shop="s", id="mia")


def line(title: str = "Blue cup", quantity: int = 1, key: str | None = None, **fields: Any) -> CartLine:
    return CartLine(
        id=key or title or "no title", title=title, quantity=quantity, price=fields.pop("price", 100), **fields
    )


def cart(*lines: CartLine) -> Cart:
    return Cart(currency="EUR", subtotal=sum(one.price * one.quantity for one in lines), lines=list(lines))


# ---------------------------------------------------------------- the rule of 41 characters


@pytest.mark.parametrize(
    ("title", "told"),
    [
        ("x" * 40, "x" * 40),
        ("x" * 41, None),
        ("å" * 40, "å" * 40),  # 80 bytes
        ("杯" * 40, "杯" * 40),  # 120 bytes
        ("😀" * 40, "😀" * 40),  # 160 bytes, 80 of JavaScript's units
        ("😀" * 41, None),
        ("e\u0301" * 20, "e\u0301" * 20),  # a letter and its accent are two
        ("e\u0301" * 20 + "x", None),
        (" " * 30 + "x" * 40 + "\n\t ", "x" * 40),  # of the trimmed name
        ("x" * 20 + " " + "x" * 20, None),  # white space inside counts
        ("x", "x"),
        ("", None),
        (" \u2003 ", None),
    ],
)
def test_a_name_shorter_than_41_characters_is_told_and_a_longer_one_is_not(title: str, told: str | None) -> None:
    assert told_title(title) == told


@given(st.text(max_size=60))
def test_the_rule_counts_characters_and_nothing_else(title: str) -> None:
    told = told_title(title)
    trimmed = title.strip()
    assert told == (trimmed if 1 <= len(trimmed) < 41 else None)
    assert told is None or len(told) <= NAME_CHARACTERS_TOLD


# ---------------------------------------------------------------- differences


def change(kind: Any, title: str | None, quantity: int, was: int) -> CartChange:
    return CartChange(kind=kind, title=title, quantity=quantity, was=was)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, cart(line("cup")), []),  # where things stand, not something that happened
        (cart(), cart(), []),
        (cart(), cart(line("cup", 2)), [change("added", "cup", 2, 0)]),
        (cart(line("cup", 2)), cart(), [change("removed", "cup", 0, 2)]),
        (cart(line("cup", 1)), cart(line("cup", 3)), [change("quantity", "cup", 3, 1)]),
        (cart(line("cup", 3)), cart(line("cup", 1)), [change("quantity", "cup", 1, 3)]),
        (cart(line("cup"), line("bowl")), cart(line("bowl"), line("cup")), []),  # another order is no change
        (cart(line("cup")), cart(line("cup", price=200)), []),  # nor is a price
        (cart(line("cup", key="v1")), cart(line("Cup, blue", key="v1")), []),  # nor a name
        (
            cart(line("cup", 1), line("bowl", 1)),
            cart(line("jug", 1), line("cup", 2)),
            [change("added", "jug", 1, 0), change("quantity", "cup", 2, 1), change("removed", "bowl", 0, 1)],
        ),
        (cart(), cart(line("x" * 41)), [change("added", None, 1, 0)]),
        (cart(line("x" * 41)), cart(), [change("removed", None, 0, 1)]),
        (cart(line("x" * 41)), cart(line("x" * 41, 2)), [change("quantity", None, 2, 1)]),
        (cart(line("cup", key="v1")), cart(line("cup", key="v2")), [
            change("added", "cup", 1, 0),
            change("removed", "cup", 0, 1),
        ]),
    ],
)  # fmt: skip
def test_what_a_shopkeeper_would_say_happened(before: Cart | None, after: Cart, expected: list[CartChange]) -> None:
    assert differences(before, after) == expected


carts = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 5), max_size=8).flatmap(
    lambda quantities: st.permutations([line(title, quantity) for title, quantity in quantities.items()]).map(
        lambda lines: cart(*lines)
    )
)


@given(carts, carts)
def test_the_differences_applied_to_what_was_give_what_is(before: Cart, after: Cart) -> None:
    quantities = {one.title: one.quantity for one in before.lines}
    for told in differences(before, after):
        assert told.title is not None
        assert quantities.get(told.title, 0) == told.was, "it says what was there before"
        assert told.kind == ("added" if told.was == 0 else "removed" if told.quantity == 0 else "quantity")
        if told.quantity:
            quantities[told.title] = told.quantity
        else:
            del quantities[told.title]
    assert quantities == {one.title: one.quantity for one in after.lines}


@given(carts)
def test_a_cart_does_not_differ_from_itself(one: Cart) -> None:
    assert differences(one, one) == []


# ---------------------------------------------------------------- what a page sends


@pytest.mark.parametrize(
    ("lines", "error", "what"),
    [
        ([line(key=str(number)) for number in range(101)], TooLarge, "the cart has 101 lines, the limit is 100"),
        ([line("x" * 301)], TooLarge, "cart title is 301 characters, the limit is 300"),
        ([line("a\0b")], InvalidInput, "cart title holds a NUL"),
        ([line("\ud83d", key="v1")], InvalidInput, "cart title holds half a character"),
        ([line(key="a\0b")], InvalidInput, "cart line id holds a NUL"),
        ([line(key="v1"), line(key="v1")], InvalidInput, "two cart lines have the id 'v1'"),
        ([line(url="javascript:alert(1)")], InvalidInput, "cart url must begin with https:// or http://"),
        ([line(url="data:text/html,x")], InvalidInput, "cart url must begin with"),
        ([line(url=" https://shop.example")], InvalidInput, "cart url must begin with"),
        ([line(url="//evil.example")], InvalidInput, "cart url must begin with"),
        ([line(url="")], InvalidInput, "cart url must begin with"),
        ([line(picture="javascript:alert(1)")], InvalidInput, "cart picture must begin with"),
        ([line(url="https://shop.example/" + "x" * 2_000)], TooLarge, "cart url is 2,021 characters"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_refused_with_the_reason(
    lines: list[CartLine], error: type[ChatError], what: str
) -> None:
    with pytest.raises(error, match=what) as caught:
        check_cart(cart(*lines), LIMITS)
    assert type(caught.value) is error


def test_what_can_be_shown_passes_up_to_the_bounds() -> None:
    check_cart(cart(), LIMITS)
    check_cart(cart(*[line("x" * 300, key=str(number)) for number in range(100)]), LIMITS)
    check_cart(cart(line("", url="http://shop.example", picture="https://shop.example/x.png")), LIMITS)


# ---------------------------------------------------------------- the rule of the conversation


def decide(before: Cart | None, now: Cart, actor: Actor = MIA, conversation: str | None = "k1") -> list[Any]:
    command = UpdateCart(id="client-0001", cart=now)
    return decide_cart(before, conversation, actor, command, limits=LIMITS, now=NOW)


def test_a_change_is_told_to_staff_with_the_whole_cart_and_never_to_the_customer() -> None:
    (event,) = decide(cart(line("cup")), cart(line("cup", 2)))
    assert isinstance(event, CartChanged)
    assert event.cart == cart(line("cup", 2)) and event.changes == [change("quantity", "cup", 2, 1)]
    assert event.stands_in_thread and not event.public


def test_the_first_cart_is_known_without_a_line_in_the_thread() -> None:
    (event,) = decide(None, cart(line("cup")))
    assert event.changes == [] and not event.stands_in_thread


def test_the_same_cart_again_from_another_tab_is_nothing() -> None:
    assert decide(cart(line("cup")), cart(line("cup"))) == []


def test_before_there_is_a_conversation_nobody_hears_it_but_nonsense_is_refused() -> None:
    assert decide(None, cart(line("cup")), conversation=None) == []
    with pytest.raises(InvalidInput):
        decide(None, cart(line(url="javascript:x")), conversation=None)


@pytest.mark.parametrize("kind", ["staff", "operator", "integration", "system"])
def test_only_a_customers_page_tells_their_cart(kind: Any) -> None:
    with pytest.raises(NotPermitted):
        decide(None, cart(), Actor(kind=kind, shop="s", id="x", permissions=frozenset({"chat"})))

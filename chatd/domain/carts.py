"""What a cart is, and what is told of its changes."""

from __future__ import annotations

from chatd.domain.commands import Cart, CartLine
from chatd.domain.events import CartChange
from chatd.domain.limits import Limits
from chatd.domain.people import check_text
from chatd.errors import InvalidInput, TooLarge

NAME_CHARACTERS_TOLD = 40
"""Feature C1: a product name shorter than 41 characters is part of the line, a longer one is not. Counted in characters
of the trimmed name, never in bytes."""


def told_title(title: str) -> str | None:
    """The product's name as it may stand in an event line, or None when it is too long (C1)."""
    trimmed = title.strip()
    return trimmed if trimmed and len(trimmed) <= NAME_CHARACTERS_TOLD else None


def check_cart(cart: Cart, limits: Limits) -> None:
    """The cart comes from a page and proves nothing; it only has to be showable. Raises `TooLarge`, `InvalidInput`."""
    if len(cart.lines) > limits.cart_lines_max:
        raise TooLarge(
            f"the cart has {len(cart.lines)} lines, the limit is {limits.cart_lines_max}",
            what="cart.lines",
            lines=len(cart.lines),
            lines_max=limits.cart_lines_max,
        )
    seen: set[str] = set()
    for line in cart.lines:
        check_text(line.title, what="cart title", characters_max=limits.cart_title_characters_max)
        check_text(line.id, what="cart line id", characters_max=200)
        for name, url in (("url", line.url), ("picture", line.picture)):
            if url is None:
                continue
            check_text(url, what=f"cart {name}", characters_max=limits.url_characters_max)
            # Anything else (javascript:, data:) would be a way into the inbox of whoever clicks it.
            if not url.startswith(("https://", "http://")):
                raise InvalidInput(f"cart {name} must begin with https:// or http://", what=f"cart {name}")
        if line.id in seen:
            raise InvalidInput(f"two cart lines have the id {line.id!r}", what="cart line id")
        seen.add(line.id)


def differences(before: Cart | None, after: Cart) -> list[CartChange]:
    """What a shopkeeper would say happened between two carts, in the order of the lines. The first cart that is known
    is where things stand, not something that happened: it has no differences."""
    if before is None:
        return []
    old: dict[str, CartLine] = {line.id: line for line in before.lines}
    new: dict[str, CartLine] = {line.id: line for line in after.lines}
    changes: list[CartChange] = []
    for line in after.lines:
        was = old.get(line.id)
        if was is None:
            changes.append(CartChange(kind="added", title=told_title(line.title), quantity=line.quantity, was=0))
        elif was.quantity != line.quantity:
            changes.append(
                CartChange(kind="quantity", title=told_title(line.title), quantity=line.quantity, was=was.quantity)
            )
    for line in before.lines:
        if line.id not in new:
            changes.append(CartChange(kind="removed", title=told_title(line.title), quantity=0, was=line.quantity))
    return changes

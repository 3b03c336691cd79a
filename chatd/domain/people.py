"""Who acts. Every command and query carries its actor, and every look-up goes through it: there is no "get by id"."""

from __future__ import annotations

import contextlib
import re
import unicodedata
from typing import Literal

import msgspec

from chatd.domain.addresses import check_email
from chatd.domain.events import Author, CustomerCard
from chatd.domain.limits import Limits
from chatd.errors import InvalidInput, NotPermitted, TooLarge

Role = Literal["owner", "admin", "agent", "read_only"]
Permission = Literal["chat", "orders", "balance", "settings", "staff"]


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Someone who may issue commands in one shop, as the credentials have shown; nothing of it comes from a frame.

    `id` is the customer's or staff's id. A visitor's id follows from their token, so it is known before anything is
    stored about them. `channel` is the medium they write from.
    """

    kind: Literal["visitor", "member", "staff", "operator", "integration", "system"]
    shop: str
    id: str
    name: str = ""
    permissions: frozenset[str] = frozenset()
    conversation: str | None = None  # a reply link opens this conversation only
    channel: Literal["chat", "email"] = "chat"
    locale: str = ""

    @property
    def is_customer(self) -> bool:
        return self.kind in ("visitor", "member")

    @property
    def author(self) -> Author:
        kind: Literal["customer", "staff", "system"] = (
            "customer" if self.is_customer else "staff" if self.kind == "staff" else "system"
        )
        return Author(kind=kind, id=self.id, name=self.name)

    def require(self, permission: Permission) -> None:
        """Raises `NotPermitted` unless this is staff with the permission."""
        if permission not in self.permissions:
            raise NotPermitted(f"this needs the permission {permission!r}", permission=permission)


def system_actor(shop: str) -> Actor:
    """chatd itself, for what follows from time and circumstances rather than from a person's wish."""
    return Actor(kind="system", shop=shop, id="system")


_WHITE = re.compile(r"\s+")
# Embeddings, overrides and isolates (UAX #9): in a list, a mail's header or a log, what follows the name would turn
# with it. The marks U+200E and U+200F, which names in Hebrew and Arabic do hold, act on their own place only.
_TURNS_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")


def check_text(text: str, *, what: str, characters_max: int) -> None:
    """Any text of a person: within its bound, and storable everywhere. Raises `TooLarge` or `InvalidInput`."""
    if len(text) > characters_max:
        raise TooLarge(
            f"{what} is {len(text):,} characters, the limit is {characters_max:,}",
            what=what,
            characters=len(text),
            characters_max=characters_max,
        )
    if "\x00" in text:
        raise InvalidInput(f"{what} holds a NUL character", what=what)
    try:
        text.encode()  # in C: looking at each character here would cost more than all else that a message does
    except UnicodeEncodeError:
        raise InvalidInput(f"{what} holds half a character (a lone surrogate)", what=what) from None


def check_name(name: str, limits: Limits) -> str:
    """A person's name as it will be shown: one line, trimmed, in the composed form (NFC) so that search finds it.
    Empty, or with something to see. Raises `TooLarge`, `InvalidInput`."""
    check_text(name, what="name", characters_max=limits.name_characters_max)
    name = unicodedata.normalize("NFC", _WHITE.sub(" ", name)).strip()
    categories = {unicodedata.category(character) for character in name}
    if "Cc" in categories:
        raise InvalidInput("name holds a control character", what="name")
    if _TURNS_DIRECTION.search(name):
        raise InvalidInput("name holds a character that turns the direction of the text around it", what="name")
    if name and not any(category[0] in "LNPS" for category in categories):
        raise InvalidInput("name has no character that can be seen", what="name")
    # A few characters become more than one in this form.
    check_text(name, what="name", characters_max=limits.name_characters_max)
    return name


def vouched(customer: str, *, name: str, email: str, limits: Limits) -> CustomerCard:
    """The card of a member as the shop gives it. Members choose their names at the shop, so what cannot be shown or
    mailed is left out; who they are is certain all the same."""
    shown, mailed = "", ""
    with contextlib.suppress(InvalidInput):
        shown = check_name(name, limits)
    if email:
        with contextlib.suppress(InvalidInput):
            mailed = check_email(email)
    return CustomerCard(id=customer, kind="member", name=shown, email=mailed, verified=True)


def introduced(card: CustomerCard, *, name: str | None, email: str | None) -> CustomerCard:
    """The card after an introduction. What a member's shop has vouched for is not overwritten by typing."""
    if card.verified:
        return card
    return msgspec.structs.replace(
        card, name=card.name if name is None else name, email=card.email if email is None else email
    )

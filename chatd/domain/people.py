"""Who acts. Every command and query carries its actor, and every look-up goes through it: there is no "get by id"."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

import msgspec

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
    # A surrogate can only be half of a character here: such text cannot be written as UTF-8.
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(f"{what} holds half a character (a lone surrogate)", what=what)


def check_name(name: str, limits: Limits) -> str:
    """A person's name as it will be shown: one line, trimmed, in the composed form (NFC) so that search finds it."""
    check_text(name, what="name", characters_max=limits.name_characters_max)
    name = unicodedata.normalize("NFC", _WHITE.sub(" ", name)).strip()
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise InvalidInput("name holds a control character", what="name")
    return name


def introduced(card: CustomerCard, *, name: str | None, email: str | None) -> CustomerCard:
    """The card after an introduction. What a member's shop has vouched for is not overwritten by typing."""
    if card.verified:
        return card
    return msgspec.structs.replace(
        card, name=card.name if name is None else name, email=card.email if email is None else email
    )

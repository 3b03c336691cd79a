"""Whose address a request comes from, and how many connections each has open.

`client_address` trusts exactly as many entries of `X-Forwarded-For` as the operator says there are proxies of theirs in
front, counted from the right, where each proxy adds the address that it saw. Whatever the client itself wrote stands
further left and is never looked at, so rotating it gains nothing. `Forwarded` (RFC 7239) is not read: one source of
truth, and no proxy writes it unasked.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

ADDRESS_CHARACTERS_MAX = 100  # brackets, a zone and a port included
IPV6_PREFIX_BITS = 64  # what a household or a rented server gets, and may walk through at will


def client_address(peer: str | None, headers: Iterable[tuple[bytes, bytes]], trusted_proxies: int) -> str:
    """The address of whoever sent the request, in one normal form. `peer` is the other end of the TCP connection;
    `headers` have lower-case names. Empty when there is no address to know (a Unix socket without proxies)."""
    direct = normal_address(peer or "") or ""
    if trusted_proxies <= 0:
        return direct
    seen: list[bytes] = []
    for name, value in headers:
        if name == b"x-forwarded-for":
            seen += value.split(b",")
    # Fewer entries than proxies: this came from inside, past a proxy. Then nothing in it was written by one we know.
    if len(seen) < trusted_proxies:
        return direct
    return normal_address(seen[-trusted_proxies].decode("latin-1").strip()) or direct


def normal_address(given: str) -> str | None:
    """An IP address as text that compares; None when it is none. A port, brackets and an IPv6 zone are dropped, and an
    IPv4 address inside an IPv6 one is taken out."""
    return _normal_address(given) if len(given) <= ADDRESS_CHARACTERS_MAX else None


@lru_cache(maxsize=1_024)
def _normal_address(given: str) -> str | None:
    text = given
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:  # 192.0.2.1:5000
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def address_group(address: str) -> str:
    """What counts as one place: an IPv4 address, or the /64 network of an IPv6 address."""
    if ":" not in address:
        return address
    bits = int(IPv6Address(address)) >> (128 - IPV6_PREFIX_BITS)
    return f"{IPv6Address(bits << (128 - IPV6_PREFIX_BITS))}/{IPV6_PREFIX_BITS}"


class AddressCounts:
    """How many are in, for each address group. Exact: whoever entered must leave, once. It holds one entry for each
    group that is in, and nothing about those who left."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._in: dict[str, int] = {}

    def enter(self, address: str) -> bool:
        """Whether there is room for one more from here. An unknown address is always let in: it has no place to count
        by, and behind a Unix socket everybody would share one."""
        if not address:
            return True
        group = address_group(address)
        count = self._in.get(group, 0)
        if count >= self._most:
            return False
        self._in[group] = count + 1
        return True

    def leave(self, address: str) -> None:
        if not address:
            return
        group = address_group(address)
        count = self._in[group] - 1
        if count:
            self._in[group] = count
        else:
            del self._in[group]

    def of(self, address: str) -> int:
        return self._in.get(address_group(address), 0) if address else 0

    def __len__(self) -> int:
        return len(self._in)

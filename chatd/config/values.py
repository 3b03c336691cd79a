"""From the text of one environment variable to the value of one setting.

`convert` gives the typed value in its normal form or raises `ValueError`, with a reason where there is more to say than
what was expected; `expected` says that in words. No file, no environment, no other setting is looked at.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec

from chatd.config.settings import SECRET_CHARACTERS_MIN, absolute, addresses_in, kind_of, meta_of, type_of


def expected(name: str) -> str:
    """The end of the sentence "expected …"."""
    meta = meta_of(name)
    if meta.extra and "expected" in meta.extra:
        return str(meta.extra["expected"])
    plain = kind_of(name)
    if typing.get_origin(plain) is Literal:
        return "one of " + ", ".join(typing.get_args(plain))
    kind = "a whole number" if plain is int else "a number"
    return f"{kind} from {meta.ge} to {meta.le}"


def convert(name: str, given: str) -> Any:
    """The typed value. Raises `ValueError`, with a reason when there is more to say than what was expected."""
    kind = kind_of(name)
    if kind is Path:
        return Path(given)
    if kind is str or isinstance(kind, types.GenericAlias):
        check = _CHECKS.get(name)
        return check(given) if check else given
    if typing.get_origin(kind) is Literal:
        given = given.lower()
    try:
        value = msgspec.convert(given, type_of(name), strict=False)
    except msgspec.ValidationError:
        raise ValueError from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    return value


def _address(given: str, schemes: tuple[str, ...]) -> SplitResult:
    parts = urlsplit(given)
    if parts.scheme.lower() not in schemes:
        raise ValueError(f"it starts with {' or '.join(scheme + '://' for scheme in schemes)}")
    _ = parts.port  # raises ValueError when it is no number up to 65535
    return parts


def _check_base_url(given: str) -> str:
    """Normal form of an origin (RFC 6454 section 6.2): lower case and no default port, as browsers
    send it."""
    parts = _address(given, ("http", "https"))
    if (
        parts.username
        or parts.password
        or parts.path not in ("", "/")
        or parts.query
        or parts.fragment
        or not parts.hostname
    ):
        raise ValueError
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, {"http": 80, "https": 443}[parts.scheme.lower()]) else f":{parts.port}"
    return f"{parts.scheme.lower()}://{host}{port}"


def _check_database_url(given: str) -> str:
    """Of PostgreSQL's address (libpq, 34.1.1.2) only so much is looked at that a slip of the pen is told here; there
    may be several hosts, and the rest is for the driver."""
    scheme, _, rest = given.partition("://")
    if scheme.lower() in ("postgresql", "postgres"):
        hosts, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
        if not (slash and path):
            raise ValueError("it names a database, behind the host and a /")
        for host in hosts.rpartition("@")[2].split(","):
            port = re.fullmatch(r"(?:\[[0-9a-fA-F:.%]+\]|[^:\[\]]*)(?::(\d{1,5}))?", host)
            if port is None or not 0 < int(port[1] or 5432) < 65_536:
                raise ValueError("each host is a name or an address, with or without :port")
        return f"postgresql://{rest}"
    if not given.startswith("sqlite:///") or given == "sqlite:///":
        raise ValueError("it starts with sqlite:/// or postgresql://")
    return f"sqlite:///{absolute(given.removeprefix('sqlite:///'))}"


def _check_redis_url(given: str) -> str:
    found = [_address(one, ("redis", "rediss", "unix")) for one in addresses_in(given)]
    for parts in found:
        if not (parts.path if parts.scheme.lower() == "unix" else parts.hostname):
            raise ValueError("it names a host, or for unix:// a path")
    if len(found) > 1 and (found[0].scheme.lower() == "unix" or len({parts.scheme.lower() for parts in found}) > 1):
        raise ValueError("several addresses are those of a cluster: all redis://, or all rediss://")
    return given


def _check_secret(given: str) -> str:
    if len(given) < SECRET_CHARACTERS_MIN:
        raise ValueError
    return given


def _check_hosts(given: str) -> tuple[str, ...]:
    hosts = tuple(host for part in given.split(",") if (host := part.strip().lower()))
    if any("/" in host or ":" in host or " " in host or "*" in host for host in hosts):
        raise ValueError
    return hosts


def _check_mail_address(given: str) -> str:
    local, at, host = given.rpartition("@")
    if not (local and at and host) or any(character in given for character in " \t\r\n\0<>,;") or "@" in local:
        raise ValueError
    return given


_CHECKS: types.MappingProxyType[str, Callable[[str], Any]] = types.MappingProxyType(
    {
        "base_url": _check_base_url,
        "database_url": _check_database_url,
        "redis_url": _check_redis_url,
        "secret": _check_secret,
        "allowed_hosts": _check_hosts,
        "mail_from_fallback": _check_mail_address,
    }
)

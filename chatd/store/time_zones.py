"""The time zones that shops live in, by their names in the IANA database: https://www.iana.org/time-zones.

Promises: a name that was accepted can be used on this machine; one that another machine knew and this one does not
means UTC, so that a mail goes out in any case. The names are those of the system's database, or else of the package
`tzdata`.
"""

from __future__ import annotations

import difflib
import os
from datetime import UTC, tzinfo
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from chatd.errors import InvalidInput

UTC_NAME = "UTC"
NAME_CHARACTERS_MAX = 64
_LOCALTIME = Path("/etc/localtime")


def check_time_zone(given: str) -> str:
    """The name as the database spells it. Raises `InvalidInput`, with the nearest name that there is."""
    known = {name.lower(): name for name in available_timezones()} | {"utc": UTC_NAME}
    name = known.get(given.strip().lower())
    if name is None:
        near = difflib.get_close_matches(given.strip().lower()[:NAME_CHARACTERS_MAX], known, n=1)
        meant = f"; did you mean {known[near[0]]}?" if near else "; expected one like Europe/Stockholm"
        raise InvalidInput(f"{given[:NAME_CHARACTERS_MAX]!r} is no time zone{meant}", what="time_zone")
    return name


@lru_cache(maxsize=1_000)  # there are fewer names
def time_zone(name: str) -> tzinfo:
    """The zone of this name; UTC for one that this machine does not know."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def machine_time_zone() -> str:
    """That of this machine, as `TZ` or the link /etc/localtime names it; UTC when neither does."""
    named = os.environ.get("TZ", "").removeprefix(":")
    if not named and _LOCALTIME.is_symlink():
        named = str(_LOCALTIME.resolve()).partition("/zoneinfo/")[2]
    try:
        return check_time_zone(named)
    except InvalidInput:
        return UTC_NAME

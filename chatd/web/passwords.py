"""Passwords: which are taken, how they are kept, and checking them beside the loop.

Argon2id with the parameters of the OWASP Password Storage Cheat Sheet (m = 19 MiB, t = 2, p = 1): some 30 ms of one
core for each guess at a stolen table, and never more than 19 MiB at work, since one thread does them all. A storm of
logins waits for that thread and nobody else does; what would wait too long is refused.

Rules after NIST SP 800-63B section 5.1.1.2: length and a list of what everybody tries first, nothing about digits or
signs. Any character counts, in a form (NFKC) in which the same password typed on another keyboard is the same.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import unicodedata
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from chatd.errors import InvalidInput, Temporary, TooLarge

CHARACTERS_MIN = 10
CHARACTERS_MAX = 200
WAITING_MAX = 32  # about a second's work

# The most used ones that are long enough, from lists of leaked passwords; shorter ones are refused anyway.
COMMON = frozenset(
    (
        "0123456789",
        "0987654321",
        "1111111111",
        "1122334455",
        "123123123123",
        "1234512345",
        "1234567890",
        "12345678910",
        "123456789a",
        "1q2w3e4r5t",
        "1q2w3e4r5t6y",
        "1qaz2wsx3edc",
        "9876543210",
        "abcdefghij",
        "administrator",
        "changeme123",
        "iloveyou123",
        "letmein123",
        "password01",
        "password12",
        "password123",
        "password1234",
        "password12345",
        "passw0rd123",
        "qazwsxedcrfv",
        "qwerty12345",
        "qwerty123456",
        "qwertyuiop",
        "welcome123",
        "zxcvbnm123",
    )
)


def _hasher() -> PasswordHasher:
    return PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


def check_password(password: str, *, about: Iterable[str] = ()) -> None:
    """Whether a password may be chosen. `about` is what an attacker knows of the person and tries first. Raises
    `InvalidInput` or `TooLarge`; the sentence never repeats the password."""
    normal = _normal(password)
    if len(normal) < CHARACTERS_MIN:
        raise InvalidInput(f"the password is too short; expected at least {CHARACTERS_MIN} characters", what="password")
    if len(normal) > CHARACTERS_MAX:
        raise TooLarge(f"the password is longer than {CHARACTERS_MAX} characters", what="password")
    if any(character in normal for character in "\0\r\n") or any("\ud800" <= one <= "\udfff" for one in normal):
        raise InvalidInput("the password holds a character that cannot be typed everywhere", what="password")
    folded = normal.casefold()
    if folded in COMMON or len(set(folded)) < 4:
        raise InvalidInput("this password is among the first that are tried; choose another one", what="password")
    if any(known and known.casefold() in folded and len(known) * 2 > len(folded) for known in about):
        raise InvalidInput("this password is made of a name or an address; choose another one", what="password")


def hash_password(password: str) -> str:
    """What is stored of a password. Takes some 30 ms; on the loop, use `Passwords`."""
    return _hasher().hash(_normal(password))


def _nobodys_hash(hasher: PasswordHasher) -> str:
    """A hash under today's parameters that no known password has: checking against it takes the time of a real one."""

    def random(count: int) -> str:
        return base64.b64encode(secrets.token_bytes(count)).rstrip(b"=").decode()

    parameters = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${parameters}${random(hasher.salt_len)}${random(hasher.hash_len)}"


class Passwords:
    """Checks passwords in a thread of its own. `close` at the end."""

    def __init__(self) -> None:
        self._hasher = _hasher()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chatd-passwords")
        self._waiting = 0
        self._nobodys = _nobodys_hash(self._hasher)

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether this is the password. `None` stands for somebody who does not exist, and takes as long. Raises
        `Temporary` when too many are waiting."""
        if self._waiting >= WAITING_MAX:
            raise Temporary("too many logins at once; try again")
        self._waiting += 1
        try:
            right = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._verify, password_hash or self._nobodys, password
            )
        finally:
            self._waiting -= 1
        return right and bool(password_hash)

    def _verify(self, password_hash: str, password: str) -> bool:
        # What is too long was never chosen, and need not be normalized; it still takes its time.
        if len(password) > CHARACTERS_MAX or any("\ud800" <= one <= "\udfff" for one in password):
            password = ""
        try:
            return self._hasher.verify(password_hash, _normal(password))
        except (VerifyMismatchError, VerificationError, InvalidHashError):
            return False

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether it was made with weaker parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    async def hash(self, password: str) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._thread, hash_password, password)

    def close(self) -> None:
        """Forget what is waiting."""
        self._thread.shutdown(wait=False, cancel_futures=True)

"""Passwords: which are taken, how they are kept, and what checking them costs whom."""

from __future__ import annotations

import asyncio
import statistics
import time
import unicodedata

import pytest

from chatd.errors import InvalidInput, Temporary, TooLarge
from chatd.web.passwords import COMMON, Passwords, check_password, hash_password
from tests.door import PASSWORD, hash_of


async def test_an_unknown_address_takes_as_long_as_a_wrong_password() -> None:
    passwords = Passwords()
    known = hash_of(PASSWORD)

    async def seconds(password_hash: str | None) -> float:
        taken = []
        for _ in range(7):
            began = time.process_time()  # of this process alone, however busy the machine is
            assert not await passwords.verify(password_hash, "wrong horse battery")
            taken.append(time.process_time() - began)
        return statistics.median(taken)

    wrong, unknown = await seconds(known), await seconds(None)
    passwords.close()
    # Without the work for nobody, it would be a hundredth.
    assert 0.4 < unknown / wrong < 2.5


async def test_a_storm_of_logins_stalls_nobody_and_is_bounded() -> None:
    passwords = Passwords()
    known = hash_of(PASSWORD)
    storm = [asyncio.create_task(passwords.verify(known, PASSWORD)) for _ in range(60)]
    longest = 0.0
    before = time.perf_counter()
    while not all(task.done() for task in storm):
        await asyncio.sleep(0.002)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    results = [task.exception() for task in storm]
    passwords.close()
    assert sum(error is None for error in results) == 32
    assert all(error is None or isinstance(error, Temporary) for error in results)
    assert longest < 0.2, "the loop stood still"


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery",
        "ÅÄÖåäöæøß€",
        "密码密码安全吗这很安全",
        "🔑🐴🔋📎🔑🐴🔋📎🏠🌲",
        "long " * 40,
        "spaces are fine ",
    ],
)
async def test_any_long_password_is_taken_and_kept_exactly(password: str) -> None:
    check_password(password)
    passwords = Passwords()
    kept = hash_password(password)
    assert kept.startswith("$argon2id$")
    assert await passwords.verify(kept, password)
    assert not await passwords.verify(kept, password + "x")
    assert not await passwords.verify(kept, password[:-1])
    passwords.close()


@pytest.mark.parametrize(
    "password",
    [
        "",
        "tiny",
        "a" * 30,
        "ababababab",
        "password123",
        "QWERTYUIOP",
        "nine char",
        "x" * 201,
        "with\nbreak here",
        "a\0" * 10,
    ],
)
def test_passwords_that_are_guessed_first_or_cannot_be_typed_are_refused(password: str) -> None:
    with pytest.raises((InvalidInput, TooLarge)) as refused:
        check_password(password)
    assert not password or password not in refused.value.message


def test_a_password_made_of_ones_own_address_is_refused() -> None:
    with pytest.raises(InvalidInput, match="name or an address"):
        check_password("Mia@nordlys.example1", about=["mia@nordlys.example", "Mia"])
    check_password("mia likes long walks", about=["mia@nordlys.example", "Mia"])


def test_every_common_password_on_the_list_would_be_long_enough() -> None:
    assert all(len(password) >= 10 for password in COMMON)


async def test_the_same_letters_typed_another_way_are_the_same_password() -> None:
    passwords = Passwords()
    composed = "Ångström är här"
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    assert await passwords.verify(hash_password(composed), decomposed)
    passwords.close()


@pytest.mark.parametrize("password_hash", ["", "x", "$argon2id$broken", "plain"])
async def test_a_damaged_hash_lets_nobody_in(password_hash: str) -> None:
    passwords = Passwords()
    for password in ("", password_hash, PASSWORD, "\ud800"):
        assert not await passwords.verify(password_hash, password)
    passwords.close()

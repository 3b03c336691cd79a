"""Shops and staff as they are kept: what is refused, what ends a login, and who sees whose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chatd.domain.addresses import check_email
from chatd.errors import ChatError, Conflict, InvalidInput, NotFound, StoreUnavailable, TooLarge
from chatd.store import shops, staff
from chatd.store.contract import Store
from chatd.store.shops import ShopDirectory, check_origin, new_shop
from tests.door import NOW, a_shop, execute, opened_store, rows, somebody, until

pytestmark = pytest.mark.usefixtures("database")

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened_store(tmp_path) as opened:
        yield opened


# ---------------------------------------------------------------- shops


async def test_a_shop_is_found_as_it_was_added(store: Store) -> None:
    added = await a_shop(
        store, origins=["https://Shop.Example", "http://localhost:8080"], greeting="  Hej!  ", locale="sv"
    )
    assert added.origins == ("https://shop.example", "http://localhost:8080")
    assert added.greeting == "Hej!"
    assert await store.read(lambda tx: shops.find_shop_by_key(tx, added.key)) == added
    assert await store.read(lambda tx: shops.find_shop(tx, added.id)) == added
    assert await store.read(shops.list_shops) == [added]


async def test_no_two_shops_share_a_secret_a_key_or_a_history() -> None:
    first, second = (new_shop(name="A", now=NOW) for _ in range(2))
    for field in ("id", "key", "epoch", "identity_secret"):
        assert getattr(first, field) != getattr(second, field)
    assert len(bytes.fromhex(first.identity_secret)) == 32


async def test_a_key_is_given_once(store: Store) -> None:
    await a_shop(store, key="demo")
    with pytest.raises(Conflict, match="'demo'"):
        await a_shop(store, key="demo")


async def test_a_shop_does_not_show_its_secret_in_a_log_line() -> None:
    shop = new_shop(name="A", now=NOW)
    assert shop.identity_secret not in repr(shop)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://shop.example", "https://shop.example"),
        ("HTTPS://Shop.Example/", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("https://shop.example:8443", "https://shop.example:8443"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://[::1]:5000", "http://[::1]:5000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(given: str, kept: str) -> None:
    assert check_origin(given) == kept


@pytest.mark.parametrize(
    "given",
    [
        "",
        "*",
        "null",
        "shop.example",
        "//shop.example",
        "ftp://shop.example",
        "javascript://shop.example",
        "https://*.shop.example",
        "https://shop.example/path",
        "https://shop.example?",
        "https://shop.example#",
        "https://me@shop.example",
        "https://shop.example:0",
        "https://shop.example:99999",
        "https://shop.example`",
        "https://shop.example\\@evil.example",
        "https://shop.example evil",
        "https://",
        "https://-shop.example",
        "https://shop.example.",
    ],
)
def test_what_is_no_exact_origin_is_refused(given: str) -> None:
    with pytest.raises(InvalidInput, match="expected scheme, host and port"):
        check_origin(given)


@pytest.mark.parametrize(
    "given",
    [
        "mia",
        "mia@",
        "@shop.example",
        "mia@shop",
        "mia@shop.example\r\nBcc: all@evil.example",
        "mia@shop.example,eve@evil.example",
        "Mia <mia@shop.example>",
        "mia@shop.example\0",
        "mia@@shop.example",
        "mia@shop..example",
        "mia @shop.example",
        "x" * 250 + "@shop.example",
    ],
)
def test_an_address_that_could_be_two_or_end_a_header_is_refused(given: str) -> None:
    with pytest.raises(InvalidInput):
        check_email(given)


@pytest.mark.parametrize(
    "fields",
    [
        {"colour": "red"},
        {"colour": "#fff"},
        {"colour": "#0f766e;}*{background:url(//evil.example)}"},
        {"name": "  "},
        {"name": "a\0b"},
        {"name": "x" * 121},
        {"locale": "xx"},
        {"ask_first": "yes"},
        {"origins": ["https://ok.example", "evil"]},
        {"origins": [f"https://s{n}.example" for n in range(51)]},
        {"greeting": "x" * 501},
        {"identity_secret": "mine"},
        {"epoch": "mine"},
        {"head": 0},
    ],
)
async def test_a_refused_change_changes_nothing(store: Store, fields: dict[str, Any]) -> None:
    shop = await a_shop(store)
    with pytest.raises((InvalidInput, TooLarge)):
        await store.write(lambda tx: shops.change_shop(tx, shop.id, NOW + 1, **({"name": "Other"} | fields)))
    assert await store.read(lambda tx: shops.find_shop(tx, shop.id)) == shop


async def test_a_change_touches_only_its_fields_and_its_shop(store: Store) -> None:
    shop, other = await a_shop(store), await a_shop(store, name="Other")
    changed = await store.write(lambda tx: shops.change_shop(tx, shop.id, NOW + 5, colour="#ABCDEF"))
    assert (changed.colour, changed.name, changed.changed_at) == ("#abcdef", shop.name, NOW + 5)
    assert await store.read(lambda tx: shops.find_shop(tx, shop.id)) == changed
    assert await store.read(lambda tx: shops.find_shop(tx, other.id)) == other
    with pytest.raises(NotFound):
        await store.write(lambda tx: shops.change_shop(tx, "nobody", NOW, name="A"))


# ---------------------------------------------------------------- the directory


async def test_the_directory_knows_what_was_there_and_learns_what_changes(store: Store) -> None:
    shop = await a_shop(store, origins=["https://a.example"])
    directory = ShopDirectory(store)
    assert await directory.refresh() is True
    assert directory.by_key(shop.key) == directory.by_id(shop.id) == shop
    assert directory.by_key(shop.id) is None
    assert directory.by_key("") is None
    assert await directory.refresh() is False, "nothing had changed"

    # Also when the clock stands still or goes back.
    await store.write(lambda tx: shops.change_shop(tx, shop.id, NOW - DAY_MS, origins=["https://b.example"]))
    added = await a_shop(store, name="Later", now=NOW + 1)
    assert await directory.refresh() is True
    found = directory.by_id(shop.id)
    assert found is not None and found.origins == ("https://b.example",)
    assert directory.by_key(added.key) == added
    assert directory.all() == [found, added]


async def test_the_directory_answers_while_the_store_is_down_and_goes_on_after(tmp_path: Path) -> None:
    async with opened_store(tmp_path) as store:
        shop = await a_shop(store)

        class Flaky:
            down = False
            asked = 0

            async def read(self, job: Any) -> Any:
                self.asked += 1
                if self.down:
                    raise StoreUnavailable("not read")
                return await store.read(job)

        flaky = Flaky()
        directory = ShopDirectory(flaky, refresh_seconds=0.01)  # type: ignore[arg-type]
        await directory.refresh()
        task = asyncio.create_task(directory.keep_fresh())
        flaky.down = True
        asked = flaky.asked
        renamed = await store.write(lambda tx: shops.change_shop(tx, shop.id, NOW + 1, name="New"))
        await until(lambda: flaky.asked > asked + 2)
        assert directory.by_key(shop.key) == shop
        flaky.down = False
        await until(lambda: directory.by_key(shop.key) == renamed)
        task.cancel()


# ---------------------------------------------------------------- staff


async def test_staff_log_in_with_their_address_in_any_case(store: Store) -> None:
    shop = await a_shop(store)
    mia = await somebody(store, shop, email="Mia@Nordlys.Example")
    assert mia.email == "mia@nordlys.example"
    assert await store.read(lambda tx: staff.find_by_email(tx, " MIA@nordlys.example ")) == (mia, "hash")
    assert await store.read(lambda tx: staff.find_by_email(tx, "nobody@nordlys.example")) is None
    assert await store.read(lambda tx: staff.find_by_email(tx, "")) is None


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"role": "root"}, InvalidInput),
        ({"role": ""}, InvalidInput),
        ({"name": " "}, InvalidInput),
        ({"email": "mia"}, InvalidInput),
        ({"password_hash": ""}, InvalidInput),
        ({"email": "MIA@nordlys.example"}, Conflict),
    ],
)
async def test_staff_that_cannot_be_are_refused(store: Store, fields: dict[str, str], error: type[ChatError]) -> None:
    shop = await a_shop(store)
    await somebody(store, shop)
    with pytest.raises(error):
        await somebody(store, shop, **({"email": "leo@nordlys.example"} | fields))
    assert len(await store.read(lambda tx: staff.list_staff(tx, shop.id))) == 1


async def test_staff_of_a_shop_that_is_not_there(store: Store) -> None:
    with pytest.raises(NotFound):
        await somebody(store, new_shop(name="A", now=NOW))


@pytest.mark.parametrize(
    ("role", "permissions"),
    [
        ("owner", {"chat", "orders", "balance", "settings", "staff"}),
        ("admin", {"chat", "orders", "balance", "settings", "staff"}),
        ("agent", {"chat", "orders"}),
        ("read_only", set()),
        ("a role of a later version", set()),
        ("", set()),
    ],
)
def test_what_a_role_permits(role: str, permissions: set[str]) -> None:
    assert staff.permissions_of(role) == permissions


async def test_one_shop_does_not_see_or_change_the_staff_of_another(store: Store) -> None:
    ours, theirs = await a_shop(store), await a_shop(store, name="Theirs")
    mia = await somebody(store, ours)
    await somebody(store, theirs, email="eve@theirs.example")
    assert await store.read(lambda tx: staff.find_staff(tx, theirs.id, mia.id)) is None
    assert [person.email for person in await store.read(lambda tx: staff.list_staff(tx, theirs.id))] == [
        "eve@theirs.example"
    ]
    with pytest.raises(NotFound):
        await store.write(lambda tx: staff.set_password(tx, theirs.id, mia.id, "other"))
    with pytest.raises(NotFound):
        await store.write(lambda tx: staff.remove_staff(tx, theirs.id, mia.id, NOW))
    assert await store.read(lambda tx: staff.find_by_email(tx, mia.email)) == (mia, "hash")


async def test_new_staff_begin_with_everything_read(store: Store) -> None:
    shop, other = await a_shop(store), await a_shop(store, name="Other")
    for owner, name, incoming in ((shop, "c1", 7), (shop, "c2", 0), (other, "c3", 3)):
        customer = f"customer of {name}"
        await execute(
            store,
            "INSERT INTO customers (shop_id, id, kind, name, email, locale, created_at)"
            " VALUES (:shop, :customer, 'visitor', '', '', '', 0)",
            shop=owner.id,
            customer=customer,
        )
        await execute(
            store,
            "INSERT INTO conversations (shop_id, id, customer_id, kind, state, started_at, incoming, last_number,"
            " last_at, last_author, last_text)"
            " VALUES (:shop, :name, :customer, 'shop', 'open', 0, :incoming, 1, 0, '{}', '')",
            shop=owner.id,
            name=name,
            customer=customer,
            incoming=incoming,
        )
    mia = await somebody(store, shop)
    read = await rows(store, "SELECT shop_id, staff_id, conversation_id, incoming_seen FROM reads ORDER BY 3")
    assert read == [(shop.id, mia.id, "c1", 7), (shop.id, mia.id, "c2", 0)]


async def test_a_removed_person_is_out_and_their_address_free_again(store: Store) -> None:
    shop = await a_shop(store)
    mia = await somebody(store, shop)
    leo = await somebody(store, shop, email="leo@nordlys.example", role="agent")
    await store.write(lambda tx: staff.add_session(tx, leo, "leo's", now=NOW, expires_at=NOW + DAY_MS))
    assert await store.write(lambda tx: staff.remove_staff(tx, shop.id, leo.id, NOW)) == ["leo's"]
    assert await store.read(lambda tx: staff.find_by_email(tx, leo.email)) is None
    assert await store.read(lambda tx: staff.find_session(tx, "leo's", now=NOW, idle_ms=DAY_MS)) is None
    assert await store.read(lambda tx: staff.list_staff(tx, shop.id)) == [mia]
    with pytest.raises(NotFound):
        await store.write(lambda tx: staff.remove_staff(tx, shop.id, leo.id, NOW))
    again = await somebody(store, shop, email="leo@nordlys.example")
    assert again.id != leo.id


async def test_a_shop_keeps_an_owner(store: Store) -> None:
    shop = await a_shop(store)
    mia = await somebody(store, shop)
    await somebody(store, shop, email="ana@nordlys.example", role="admin")
    with pytest.raises(Conflict, match="at least one owner"):
        await store.write(lambda tx: staff.remove_staff(tx, shop.id, mia.id, NOW))
    await somebody(store, shop, email="leo@nordlys.example")
    await store.write(lambda tx: staff.remove_staff(tx, shop.id, mia.id, NOW))


# ---------------------------------------------------------------- sessions


class Logins:
    """The sessions of one person, as the login uses them."""

    def __init__(self, store: Store, person: staff.Staff) -> None:
        self.store = store
        self.person = person

    async def begin(self, token_hash: str, *, now: int = NOW, until: int = NOW + DAY_MS) -> None:
        await self.store.write(lambda tx: staff.add_session(tx, self.person, token_hash, now=now, expires_at=until))

    async def touch(self, token_hash: str, at: int) -> bool:
        return await self.store.write(lambda tx: staff.touch_session(tx, token_hash, at))

    async def good(self, token_hash: str, at: int = NOW, idle_ms: int = HOUR_MS) -> bool:
        found = await self.store.read(lambda tx: staff.find_session(tx, token_hash, now=at, idle_ms=idle_ms))
        assert found is None or found.staff == self.person
        return found is not None


@pytest.fixture
async def logins(store: Store) -> Logins:
    return Logins(store, await somebody(store, await a_shop(store)))


async def test_a_session_is_good_until_it_expires_or_is_idle(logins: Logins) -> None:
    await logins.begin("s")
    assert await logins.good("s", NOW)
    assert await logins.good("s", NOW + HOUR_MS - 1)
    assert not await logins.good("s", NOW + HOUR_MS), "idle"
    # In use all the time, it still ends when it expires.
    for at in range(NOW, NOW + DAY_MS, HOUR_MS // 2):
        assert await logins.good("s", at)
        await logins.touch("s", at)
    assert not await logins.good("s", NOW + DAY_MS), "expired"


@pytest.mark.parametrize("token_hash", ["", "S", "t", "s'--", "%"])
async def test_what_is_no_session_is_none(logins: Logins, token_hash: str) -> None:
    await logins.begin("s")
    assert not await logins.good(token_hash)


async def test_a_session_is_touched_at_most_once_a_minute_and_never_backwards(logins: Logins) -> None:
    await logins.begin("s")
    times = (NOW, NOW + 60_000, NOW + 60_001, NOW + 61_000, NOW - HOUR_MS)
    assert [await logins.touch("s", at) for at in times] == [False, False, True, False, False]


async def test_a_new_password_ends_the_logins_made_with_the_old_one(logins: Logins) -> None:
    mia, store = logins.person, logins.store
    await logins.begin("s1")
    await logins.begin("s2")
    ended = await store.write(lambda tx: staff.set_password(tx, mia.shop, mia.id, "new"))
    assert sorted(ended) == ["s1", "s2"]
    assert not await logins.good("s1")
    assert await store.read(lambda tx: staff.find_by_email(tx, mia.email)) == (mia, "new")


async def test_better_parameters_for_the_same_password_end_nothing(logins: Logins) -> None:
    mia = logins.person
    await logins.begin("s1")
    await logins.store.write(lambda tx: staff.replace_password_hash(tx, mia.shop, mia.id, "better"))
    assert await logins.good("s1")


async def test_expired_sessions_are_swept_out_by_the_next_login(logins: Logins) -> None:
    await logins.begin("old", until=NOW + 1)
    await logins.begin("new", now=NOW + 1)
    assert await rows(logins.store, "SELECT token_hash FROM staff_sessions") == [("new",)]


async def test_logging_out_ends_this_session_and_no_other(logins: Logins) -> None:
    await logins.begin("s1")
    await logins.begin("s2")
    assert await logins.store.write(lambda tx: staff.end_session(tx, "s1")) is True
    assert await logins.store.write(lambda tx: staff.end_session(tx, "s1")) is False
    assert await logins.good("s2")

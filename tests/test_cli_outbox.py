"""The operator and the outbox: what `chatd outbox` shows of a real database, and what staff hear of what it does."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from chatd.__main__ import main
from chatd.config import read_settings
from chatd.domain.notices import MailRow
from chatd.store import migrations, outbox
from chatd.store.sqlite import SQLiteStore
from tests.outbox import LEASE_MS, QUIET_MS, OutboxWorld

Run = Callable[..., Result]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"CHATD_DATA_DIRECTORY": str(tmp_path)}


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    def call(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner(env=environ).invoke(main, ["outbox", *arguments], input=stdin, prog_name="chatd")

    return call


@pytest.fixture
def mails(environ: dict[str, str]) -> dict[str, str]:
    """The numbers of three mails, by what became of them: one is queued, one was put off, one was refused."""
    settings = read_settings(environ)
    migrations.migrate(settings)

    async def happen() -> dict[str, str]:
        store = SQLiteStore(settings.database_path)
        await store.open()
        try:
            world = await OutboxWorld.open(store)

            async def queued(email: str) -> MailRow:
                thread = await world.customer(email=email)
                world.online.discard(thread.customer)
                mail = await world.reply(thread)
                assert mail is not None
                return mail

            async def settled(email: str, outcome: str, reason: str) -> str:
                mail = await queued(email)
                world.now += QUIET_MS
                now, owner = world.now, f"of {email}"
                claimed = await store.write(
                    lambda tx: outbox.claim_due(tx, now=now, owner=owner, lease_ms=LEASE_MS, limit=9)
                )
                assert [one.id for one in claimed] == [mail.id]
                await store.write(
                    lambda tx: outbox.settle(
                        tx,
                        shop_id=world.shop.id,
                        mail_id=mail.id,
                        owner=owner,
                        outcome=outcome,  # type: ignore[arg-type]
                        reason=reason,
                        now=now,
                        next_due=now + 3_600_000,
                    )
                )
                return mail.id

            failed = await settled("gone@example.com", "failed", "550 5.1.1 no such mailbox")
            retrying = await settled("full@example.com", "retrying", "452 4.2.2 mailbox\nfull, come back later")
            return {"failed": failed, "retrying": retrying, "queued": (await queued("mia@example.com")).id}
        finally:
            await store.close()

    return asyncio.run(happen())


def told(environ: dict[str, str]) -> list[tuple[str, str]]:
    """What staff hear of mails, as the log has it: event and mail."""
    with sqlite3.connect(read_settings(environ).database_path) as database:
        records = [msgspec.json.decode(row[0]) for row in database.execute("SELECT record FROM events ORDER BY number")]
    return [(record["type"], record["mail"]) for record in records if record["type"].startswith("mail_")]


def test_the_list_shows_what_is_still_to_go_and_with_all_what_is_over(run: Run, mails: dict[str, str]) -> None:
    lines = run("list").output.splitlines()
    assert lines[0].split() == ["MAIL", "STATE", "TO", "DUE", "TRIES", "REASON"]
    assert {line.split()[0]: line.split()[1:3] for line in lines[1:]} == {
        mails["queued"]: ["queued", "mia@example.com"],
        mails["retrying"]: ["retrying", "full@example.com"],
    }
    assert any(line.endswith("1      452 4.2.2 mailbox full, come back later") for line in lines)
    everything = run("list", "--all").output
    assert all(mail in everything for mail in mails.values())
    short = run("list", "--most", "1").output
    assert len(short.splitlines()) == 3
    assert "There are more" in short


def test_a_mail_that_was_given_up_is_tried_again_and_staff_see_it(
    run: Run, mails: dict[str, str], environ: dict[str, str]
) -> None:
    assert run("retry", mails["failed"]).output == "1 mail will be tried now.\n"
    assert mails["failed"] in run("list").output
    assert told(environ) == [("mail_queued", mails["failed"])]


def test_all_that_was_put_off_is_tried_now(run: Run, mails: dict[str, str], environ: dict[str, str]) -> None:
    def due() -> str:
        [line] = [line for line in run("list").output.splitlines() if mails["retrying"] in line]
        return " ".join(line.split()[3:5])

    before = due()
    assert run("retry", "--all").output == "1 mail will be tried now.\n"
    assert due() != before
    assert told(environ) == [], "staff know already that it is being tried"


def test_a_dropped_mail_is_never_sent_and_staff_see_it(
    run: Run, mails: dict[str, str], environ: dict[str, str]
) -> None:
    refused = run("drop", mails["queued"], stdin="n\n")
    assert refused.exit_code == 1
    assert mails["queued"] in run("list").output
    assert "1 mail dropped." in run("drop", mails["queued"], stdin="y\n").output
    assert run("drop", "--yes", mails["retrying"]).exit_code == 0
    assert run("list").output == "Nothing is to be sent. (What is over: --all)\n"
    assert told(environ) == [("mail_withdrawn", mails["queued"]), ("mail_withdrawn", mails["retrying"])]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("retry", "nosuch"), "there is no mail nosuch"),
        (("drop", "--yes", "nosuch"), "there is no mail nosuch"),
        (("retry",), "or say --all"),
        (("retry", "--all", "nosuch"), "or say --all"),
        (("list", "--shop", "other"), "there is no shop with the key 'other'"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    run: Run, mails: dict[str, str], command: tuple[str, ...], words: str
) -> None:
    result = run(*command)
    assert result.exit_code in (1, 2)
    assert words in result.stderr


def test_what_is_over_can_neither_be_dropped_nor_tried(run: Run, mails: dict[str, str]) -> None:
    run("drop", "--yes", mails["queued"])
    assert f"mail {mails['queued']} is withdrawn" in run("retry", mails["queued"]).stderr
    assert f"mail {mails['failed']} is failed" in run("drop", "--yes", mails["failed"]).stderr

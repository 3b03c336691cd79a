"""`chatd outbox`: the mails of a shop that are still to go, and those that are over; try one now, or never send it.

What is changed here is told like everything else: staff see it on the message. A chatd that runs meanwhile hears of it
within half a minute, by the checks that it makes in any case.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from chatd.cli.common import Commands, examples, now_ms, print_table, settings_of_environment, the_shop, use_store
from chatd.config import Settings
from chatd.dispatch.door import Dispatch
from chatd.dispatch.work import Circumstances
from chatd.domain.commands import DropMail, Fact, RetryMail
from chatd.domain.notices import MailRow
from chatd.store import outbox
from chatd.store.contract import Store, Transaction

SHOWN = 50
SHOWN_MAX = 10_000
REASON_CHARACTERS = 60

_shop = click.option("--shop", "key", metavar="KEY", help="The shop's key. May be left out while there is only one.")


@click.group(cls=Commands, name="outbox", short_help="Mails that are still to go: list, try now, drop.")
def outbox_commands() -> None:
    """The mails of a shop: those still to go, and those that are over."""


@outbox_commands.command(
    "list",
    short_help="What is still to be sent, next due first.",
    epilog=examples("chatd outbox list", "chatd outbox list --shop nordlys", "chatd outbox list --all"),
)
@_shop
@click.option("--all", "everything", is_flag=True, help="Those that are over as well, newest first.")
@click.option("--most", type=click.IntRange(1, SHOWN_MAX), default=SHOWN, show_default=True, help="So many lines.")
def list_(key: str | None, everything: bool, most: int) -> None:
    """What is still to be sent, next due first, with the number that the other commands take. Times are in UTC.

    \b
    waiting    the customer is online and may see the reply by themselves
    queued     goes out when it is due
    sending    is being handed to the mail server
    retrying   the mail server did not take it; it is tried again when it is due
    sent, failed, withdrawn    over
    """

    async def use(store: Store) -> list[MailRow]:
        async def job(tx: Transaction) -> list[MailRow]:
            shop = await the_shop(tx, key)
            # One more than is shown, to know whether there are more.
            return await outbox.list_mails(tx, shop_id=shop.id, unsettled=not everything, limit=most + 1)

        return await store.read(job)

    found = use_store(use, settings=settings_of_environment())
    if not found:
        click.echo("There is no mail yet." if everything else "Nothing is to be sent. (What is over: --all)")
        return
    print_table(
        [_line(mail) for mail in found[:most]],
        header=("MAIL", "STATE", "TO", "DUE" if not everything else "WHEN", "TRIES", "REASON"),
    )
    if len(found) > most:
        click.echo(f"There are more; see --most (now {most}).")


def _line(mail: MailRow) -> tuple[str, ...]:
    when = mail.due_at if mail.settled_at is None else mail.settled_at
    at = datetime.fromtimestamp(when / 1_000, UTC).strftime("%Y-%m-%d %H:%M")
    reason = " ".join(mail.reason.split())
    if len(reason) > REASON_CHARACTERS:
        reason = reason[: REASON_CHARACTERS - 1] + "…"
    return mail.id, mail.state, mail.email, at, str(mail.attempts), reason


@outbox_commands.command(
    "retry",
    short_help="Try MAILS now instead of when they are due.",
    epilog=examples("chatd outbox retry 019ab3c5d7e9f0a1b2c3d4e5", "chatd outbox retry --all --shop nordlys"),
)
@click.argument("mails", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that waits for another try. Not what was given up.")
@_shop
def retry(mails: tuple[str, ...], everything: bool, key: str | None) -> None:
    """Try MAILS now instead of when they are due, also those that were given up: they have all their tries again."""
    if bool(mails) == everything:
        raise click.UsageError("Name mails as `chatd outbox list` does, or say --all.")
    done = _carry_out(key, [RetryMail(mail=mail) for mail in mails] if mails else None)
    click.echo(f"{_mails(done)} will be tried now." if done else "Nothing waits for another try.")


@outbox_commands.command(
    "drop",
    epilog=examples("chatd outbox drop 019ab3c5d7e9f0a1b2c3d4e5", "chatd outbox drop --yes 019ab3c5d7e9f0a1b2c3d4e5"),
)
@click.argument("mails", nargs=-1, required=True)
@_shop
@click.option("--yes", is_flag=True, help="Do not ask.")
def drop(mails: tuple[str, ...], key: str | None, yes: bool) -> None:
    """Never send MAILS. The replies stay in the conversation, and staff see that no mail goes out."""
    if not yes:
        click.confirm(f"Never send {_mails(len(mails))}?", abort=True)
    click.echo(f"{_mails(_carry_out(key, [DropMail(mail=mail) for mail in mails]))} dropped.")


def _mails(count: int) -> str:
    return f"{count} mail{'' if count == 1 else 's'}"


def _carry_out(key: str | None, wishes: Sequence[Fact] | None) -> int:
    """Through the door through which everything changes; None: try whatever waits for another try. Returns how many.
    Raises `ChatError` at the first that cannot be; those before it are done."""
    settings = settings_of_environment()

    async def use(store: Store) -> int:
        async def job(tx: Transaction) -> tuple[str, list[MailRow]]:
            shop = (await the_shop(tx, key)).id
            return shop, await outbox.list_mails(tx, shop_id=shop, unsettled=True, limit=SHOWN_MAX)

        shop, unsettled = await store.read(job)
        if wishes is None:
            todo: Sequence[Fact] = [RetryMail(mail=mail.id) for mail in unsettled if mail.state == "retrying"]
        else:
            todo = wishes
        dispatch = Dispatch(store, lambda _shop, _publications: None, _circumstances(settings))
        for wish in todo:
            await dispatch.record(shop, wish)
        return len(todo)

    return use_store(use, settings=settings)


def _circumstances(settings: Settings) -> Circumstances:
    """Of a command beside the server: who is online is known there alone, and no wish about mails asks for it."""
    return Circumstances(limits=settings.limits(), is_online=lambda _shop, _customer, _here: False, clock=now_ms)

"""`chatd staff`: let people in, give them a new password, take them out.

A password is typed twice without being shown, or read from standard input, or made up here; never an argument, where
the shell's history and everybody's process list would keep it.
"""

from __future__ import annotations

import secrets
import sys

import click

from chatd.cli.common import Commands, examples, now_ms, print_table, settings_of_environment, the_shop, use_store
from chatd.errors import NotFound
from chatd.store.contract import Store, Transaction
from chatd.store.shops import Shop
from chatd.store.staff import ROLES, Staff, add_staff, find_by_email, list_staff, remove_staff, set_password
from chatd.web.passwords import check_password, hash_password


@click.group(cls=Commands, name="staff")
def staff_commands() -> None:
    """Who may work in a shop's inbox."""


_shop = click.option("--shop", "key", metavar="KEY", help="The shop's key. May be left out while there is only one.")
_generate = click.option("--generate", is_flag=True, help="Make up a password and print it.")
_stdin = click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")


def _password(generate: bool, from_stdin: bool, *about: str) -> str:
    """A password that `web.passwords` accepts. Raises `InvalidInput` for one that is too weak. `about` is what
    an attacker knows of the person."""
    if generate and from_stdin:
        raise click.UsageError("--generate and --password-stdin exclude each other.")
    if generate:
        password = secrets.token_urlsafe(12)
        click.echo(f"password: {password}")
        return password
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt="Again")
    else:
        raise click.UsageError("There is no terminal to ask for a password; use --password-stdin or --generate.")
    check_password(password, about=about)
    return password


async def _the_person(tx: Transaction, email: str) -> Staff:
    found = await find_by_email(tx, email)
    if found is None:
        raise NotFound(f"nobody logs in with {email}; see: chatd staff list")
    return found[0]


@staff_commands.command(
    "add",
    epilog=examples(
        "chatd staff add leo@nordlys.example --name Leo --role owner",
        "chatd staff add ana@nordlys.example --name Ana --shop nordlys --generate",
        "pass show chat/ana | chatd staff add ana@nordlys.example --name Ana --password-stdin",
    ),
)
@click.argument("email")
@click.option("--name", required=True, help="What customers and colleagues see.")
@click.option("--role", type=click.Choice(list(ROLES)), default="agent", show_default=True, help="What they may do.")
@_shop
@_generate
@_stdin
def add(email: str, name: str, role: str, key: str | None, generate: bool, password_stdin: bool) -> None:
    """Let somebody in, who logs in with EMAIL."""
    settings = settings_of_environment()
    password_hash = hash_password(_password(generate, password_stdin, email, name))

    async def use(store: Store) -> tuple[Shop, Staff]:
        async def job(tx: Transaction) -> tuple[Shop, Staff]:
            shop = await the_shop(tx, key)
            person = await add_staff(
                tx, shop=shop.id, email=email, name=name, role=role, password_hash=password_hash, now=now_ms()
            )
            return shop, person

        return await store.write(job)

    shop, person = use_store(use, settings=settings)
    click.echo(f"{person.name} ({person.role}) may work for {shop.name}.")
    click.echo(f"Log in with {person.email} at {settings.base_url}/")


@staff_commands.command("list", epilog=examples("chatd staff list", "chatd staff list --shop nordlys"))
@_shop
def list_(key: str | None) -> None:
    """Everybody who works for a shop."""

    async def use(store: Store) -> list[Staff]:
        async def job(tx: Transaction) -> list[Staff]:
            return await list_staff(tx, (await the_shop(tx, key)).id)

        return await store.read(job)

    people = use_store(use, settings=settings_of_environment())
    print_table([(person.email, person.name, person.role) for person in people], header=("E-MAIL", "NAME", "ROLE"))


@staff_commands.command(
    "password",
    epilog=examples("chatd staff password leo@nordlys.example", "chatd staff password leo@nordlys.example --generate"),
)
@click.argument("email")
@_generate
@_stdin
def password(email: str, generate: bool, password_stdin: bool) -> None:
    """Give somebody a new password. Every login made with the old one ends."""
    settings = settings_of_environment()
    password_hash = hash_password(_password(generate, password_stdin, email))

    async def use(store: Store) -> tuple[Staff, int]:
        async def job(tx: Transaction) -> tuple[Staff, int]:
            person = await _the_person(tx, email)
            return person, len(await set_password(tx, person.shop, person.id, password_hash))

        return await store.write(job)

    person, ended = use_store(use, settings=settings)
    click.echo(f"{person.name} has a new password; {ended} {'login' if ended == 1 else 'logins'} ended.")


@staff_commands.command("remove", epilog=examples("chatd staff remove ana@nordlys.example"))
@click.argument("email")
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(email: str, yes: bool) -> None:
    """Take somebody out. What they said stays, with their name. A shop keeps its last owner."""
    settings = settings_of_environment()
    if not yes:
        click.confirm(f"Take {email} out?", abort=True)

    async def use(store: Store) -> Staff:
        async def job(tx: Transaction) -> Staff:
            person = await _the_person(tx, email)
            await remove_staff(tx, person.shop, person.id, now_ms())
            return person

        return await store.write(job)

    person = use_store(use, settings=settings)
    click.echo(f"{person.name} can no longer log in.")

"""`chatd shop`: make shops, show what belongs on their pages, change their settings."""

from __future__ import annotations

from typing import Any

import click

from chatd.cli.common import Commands, examples, now_ms, print_table, settings_of_environment, the_shop, use_store
from chatd.config import Settings
from chatd.i18n import LOCALES
from chatd.store.contract import Store, Transaction
from chatd.store.shops import DEFAULT_COLOUR, Shop, add_shop, change_shop, check_origin, list_shops, new_shop
from chatd.store.time_zones import machine_time_zone


@click.group(cls=Commands, name="shop")
def shop_commands() -> None:
    """Make, show and change shops."""


def snippet(settings: Settings, shop: Shop) -> str:
    """The one tag that puts the bubble on a page."""
    return f'<script async src="{settings.base_url}/bubble/{shop.key}.js"></script>'


def policy(settings: Settings) -> str:
    """What a page with a Content-Security-Policy adds to it."""
    base = settings.base_url
    socket = base.replace("http", "ws", 1)  # https becomes wss
    return f"script-src {base}; connect-src {base} {socket}"


def _show(settings: Settings, shop: Shop) -> None:
    rows = (
        ("name", shop.name),
        ("key", shop.key),
        ("e-mail", shop.email or "(none: set one with --email, so that replies can be mailed)"),
        ("origins", ", ".join(shop.origins) or "(none: add the shop's address with --origin)"),
        ("colour", shop.colour),
        ("greeting", shop.greeting or "(none)"),
        ("language", shop.locale),
        ("time zone", shop.time_zone),
        ("asks first", "name and e-mail before the first message" if shop.ask_first else "after the first message"),
    )
    for name, value in rows:
        click.echo(f"{name:<11} {value}")
    click.echo()
    click.secho("Put this on every page of the shop, once:", bold=True)
    click.echo(f"  {snippet(settings, shop)}")
    click.echo()
    click.echo("If the pages have a Content-Security-Policy, add to it:")
    click.echo(f"  {policy(settings)}")


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    """Those options that were given."""
    return {name: value for name, value in values.items() if value is not None}


_email = click.option("--email", metavar="ADDRESS", help="The shop's own address; replies are mailed from it.")
_colour = click.option("--colour", metavar="#RRGGBB", help=f"Colour of the bubble. [default: {DEFAULT_COLOUR}]")
_greeting = click.option("--greeting", metavar="TEXT", help="What the bubble says before the first message.")
_locale = click.option(
    "--locale", type=click.Choice(LOCALES), help="Language of the bubble and the mails. [default: en]"
)
_time_zone = click.option(
    "--time-zone",
    metavar="ZONE",
    help="In which the shop's mails tell times, as Europe/Stockholm. [default: that of this machine]",
)
_ask_first = click.option(
    "--ask-first/--ask-later", default=None, help="Ask for name and e-mail before the first message. [default: later]"
)


@shop_commands.command(
    "add",
    epilog=examples(
        "chatd shop add 'Nordlys pottery' --email hello@nordlys.example --origin https://nordlys.example",
        "chatd shop add Tea --key tea --origin https://tea.example --origin https://www.tea.example --locale sv",
    ),
)
@click.argument("name")
@click.option("--key", help="3 to 64 of a-z, 0-9 and -; public, part of the script's address. [default: a random one]")
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Scheme, host and port of the shop's pages, as https://shop.example. May be given again for each address.",
)
@_email
@_colour
@_greeting
@_locale
@_time_zone
@_ask_first
def add(name: str, key: str | None, origins: tuple[str, ...], **options: Any) -> None:
    """Make a shop called NAME, and print what to put on its pages."""
    settings = settings_of_environment()
    fields = {"time_zone": machine_time_zone(), **_fields(options)}
    shop = new_shop(name=name, now=now_ms(), key=key, origins=origins, **fields)

    async def use(store: Store) -> Shop:
        async def job(tx: Transaction) -> Shop:
            return await add_shop(tx, shop)

        return await store.write(job)

    _show(settings, use_store(use, settings=settings, make=True))
    click.echo()
    click.echo("Next, let somebody in:")
    click.echo(f"  chatd staff add leo@example.com --name Leo --role owner --shop {shop.key}")


@shop_commands.command("list", epilog=examples("chatd shop list"))
def list_() -> None:
    """All shops: key, name, address, origins."""

    async def use(store: Store) -> list[Shop]:
        return await store.read(list_shops)

    shops = use_store(use, settings=settings_of_environment())
    print_table(
        [(shop.key, shop.name, shop.email or "-", ", ".join(shop.origins) or "-") for shop in shops],
        header=("KEY", "NAME", "E-MAIL", "ORIGINS"),
    )


@shop_commands.command(
    "show", epilog=examples("chatd shop show", "chatd shop show tea", "chatd shop show tea --identity-secret")
)
@click.argument("key", required=False)
@click.option(
    "--identity-secret", is_flag=True, help="Print only the secret with which the shop's backend signs its members."
)
def show(key: str | None, identity_secret: bool) -> None:
    """One shop's settings, and what to put on its pages. KEY may be left out while there is only one."""
    settings = settings_of_environment()

    async def use(store: Store) -> Shop:
        async def job(tx: Transaction) -> Shop:
            return await the_shop(tx, key)

        return await store.read(job)

    shop = use_store(use, settings=settings)
    if identity_secret:
        click.echo(shop.identity_secret)
    else:
        _show(settings, shop)


@shop_commands.command(
    "set",
    epilog=examples(
        "chatd shop set tea --email hello@tea.example --colour '#7c3aed'",
        "chatd shop set tea --add-origin https://shop.tea.example",
        "chatd shop set tea --greeting '' --ask-first",
        "chatd shop set tea --time-zone Europe/Stockholm",
    ),
)
@click.argument("key", required=False)
@click.option("--name", help="What customers see the shop called.")
@click.option("--add-origin", "added", multiple=True, metavar="ORIGIN", help="One more address of the shop's pages.")
@click.option("--remove-origin", "removed", multiple=True, metavar="ORIGIN", help="An address that is no longer one.")
@_email
@_colour
@_greeting
@_locale
@_time_zone
@_ask_first
def set_(key: str | None, added: tuple[str, ...], removed: tuple[str, ...], **options: Any) -> None:
    """Change what is named and leave the rest. A running chatd follows within seconds. An empty text clears."""
    settings = settings_of_environment()
    fields = _fields(options)
    if not (fields or added or removed):
        raise click.UsageError("Say what to change, for example --email hello@tea.example.")

    async def use(store: Store) -> Shop:
        async def job(tx: Transaction) -> Shop:
            shop = await the_shop(tx, key)
            if added or removed:
                gone = {check_origin(origin) for origin in removed}
                fields["origins"] = [origin for origin in (*shop.origins, *added) if origin not in gone]
            return await change_shop(tx, shop.id, now_ms(), **fields)

        return await store.write(job)

    _show(settings, use_store(use, settings=settings))

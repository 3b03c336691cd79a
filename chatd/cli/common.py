"""What the commands share: where settings come from, one way to use the store, refusals in plain words."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from chatd.config import Settings, SettingsError, read_settings, unknown_variables
from chatd.errors import ChatError, Conflict, NotFound
from chatd.store import migrations
from chatd.store.contract import Store, Transaction
from chatd.store.opening import make_store, place_of
from chatd.store.shops import Shop, find_shop_by_key, list_shops

T = TypeVar("T")


class Commands(click.Group):
    """A group whose commands may raise what the rest of chatd raises; a person sees one sentence, not a stack."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.ClickException("\n       ".join(error.problems)) from None
        except ChatError as error:
            raise click.ClickException(error.message) from None


def examples(*lines: str) -> str:
    """The end of a help page. `\\b` keeps click from joining the lines."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def settings_of_environment() -> Settings:
    """The settings, with a warning about variables that are none of them."""
    for name in unknown_variables(os.environ):
        click.secho(f"{name} is no setting of chatd; see: chatd config", fg="yellow", err=True)
    return read_settings()


def now_ms() -> int:
    return int(time.time() * 1000)


def use_store(use: Callable[[Store], Awaitable[T]], *, settings: Settings, make: bool = False) -> T:
    """Run `use` on the open store. With `make` a database that is not there yet is made. Raises `Conflict` when it is
    of another version: a command must not migrate under the feet of a running server."""
    report = migrations.check(settings)
    if report.before is None:
        if not make:
            raise NotFound(f"{_nothing_in(settings)} yet; begin with: chatd shop add")
        migrations.migrate(settings)
    elif report.changed:
        raise Conflict("the database is of an older version; run: chatd migrate")

    async def run() -> T:
        store = make_store(settings)
        await store.open()
        try:
            return await use(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _nothing_in(settings: Settings) -> str:
    if settings.uses_postgres:
        return f"there is nothing of chatd's in the {place_of(settings)}"
    return f"there is no database in {settings.database_path.parent}"


async def the_shop(tx: Transaction, key: str | None) -> Shop:
    """The shop of this key, or the only one there is. Raises `NotFound`, and `Conflict` when one must be named."""
    if key is not None:
        found = await find_shop_by_key(tx, key)
        if found is None:
            raise NotFound(f"there is no shop with the key {key!r}; see: chatd shop list")
        return found
    shops = await list_shops(tx)
    if not shops:
        raise NotFound("there is no shop yet; begin with: chatd shop add")
    if len(shops) > 1:
        raise Conflict(f"there are {len(shops)} shops; say which with --shop and one of: {_keys(shops)}")
    return shops[0]


def _keys(shops: list[Shop]) -> str:
    shown = ", ".join(shop.key for shop in shops[:5])
    return shown if len(shops) <= 5 else f"{shown}, … (chatd shop list)"


def print_table(rows: list[tuple[str, ...]], *, header: tuple[str, ...]) -> None:
    """Columns under their names, each as wide as its widest value."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(click.style(line, bold=True) if row is header else line)

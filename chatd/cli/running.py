"""`chatd serve`, `chatd demo`, `chatd migrate`: the programs themselves."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click
import uvloop

from chatd.cli.common import examples, settings_of_environment
from chatd.cli.logs import write_logs
from chatd.cli.workers import WORKERS_MAX, shared_socket, supervise
from chatd.config import Settings, variable_of
from chatd.store import migrations
from chatd.store.opening import place_of


def _run(program: Coroutine[Any, Any, None]) -> None:
    """To its end, on the loop that chatd is made for. A taken port or a missing right is one sentence for a person."""
    try:
        uvloop.run(program)
    except OSError as error:
        raise click.ClickException(str(error)) from None


def _require_port(settings: Settings) -> None:
    """Said before anything is opened, and in words: what uvicorn says of a taken port is a log line. Raises
    `ClickException`."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, number) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise click.ClickException(
            f"chatd cannot listen on {settings.host}:{settings.port} ({(error.strerror or str(error)).lower()}). "
            f"Stop what listens there, or set {variable_of('host')} and {variable_of('port')}."
        ) from None


@click.command(
    "serve",
    short_help="Serve shops and staff until stopped.",
    epilog=examples(
        "chatd serve",
        "CHATD_BASE_URL=https://chat.example.com CHATD_HOST=0.0.0.0 CHATD_PORT=8080 chatd serve",
        "CHATD_REDIS_URL=redis://127.0.0.1:6379 chatd serve --workers 4",
    ),
)
@click.option(
    "--workers",
    type=click.IntRange(1, WORKERS_MAX),
    default=1,
    show_default=True,
    help="Processes that share the port; more than one need Redis.",
)
@click.option("--as-worker", is_flag=True, hidden=True, help="One of several; standard input is the supervisor's pipe.")
def serve_command(workers: int, as_worker: bool) -> None:
    """Serve shops and staff until stopped. Ctrl+C or SIGTERM ends it in good order.

    The database is made at the first start and brought up to date at later ones, with a copy made first. Settings come
    from the environment; `chatd config` lists them and `chatd doctor` says whether this machine is ready.
    """
    settings = settings_of_environment()
    write_logs(settings)
    if as_worker:
        from chatd.web.server import serve

        # A worker that takes another's place may be of a version that was installed since its supervisor began. If the
        # database is of a newer one, because that serves beside this supervisor, `store.sqlite_writer` sees to it.
        with contextlib.suppress(migrations.WrongSchema):
            _migrate(settings)
        with shared_socket(settings.host, settings.port) as shared:
            _run(serve(settings, shared, sys.stdin.fileno()))
        return
    if workers > 1 and not settings.redis_url:
        raise click.ClickException(
            f"several workers hear each other through Redis; set {variable_of('redis_url')}, for example to "
            "redis://127.0.0.1:6379, or serve with one worker."
        )
    _require_port(settings)
    if workers > 1:
        _migrate(settings)
        with shared_socket(settings.host, settings.port) as reserving:
            _run(supervise(settings, workers, reserving.getsockname()[1]))
        return
    from chatd.web.server import serve  # a second of imports, which the other commands need not wait for

    _migrate(settings)
    _run(serve(settings))


def _migrate(settings: Settings) -> None:
    report = migrations.migrate(settings)
    if report.copy_path is not None:
        click.echo(f"The database was brought up to date; a copy of the old one is {report.copy_path}", err=True)


@click.command(
    "demo",
    short_help="A shop, the inbox and the mails, all on this machine.",
    epilog=examples(
        "chatd demo",
        "chatd demo --fresh",
        "CHATD_SMTP_HOST=mail.example.com CHATD_MAIL_FROM_FALLBACK=me@example.com chatd demo    # mails really go out",
    ),
)
@click.option("--fresh", is_flag=True, help="Forget what earlier demos left behind and start over.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("var/demo"),
    show_default=True,
    help="Where the demo keeps its things.",
)
@click.option("--port", default=8000, show_default=True, help="Where the inbox listens.")
@click.option("--shop-port", default=8001, show_default=True, help="Where the demo shop listens.")
@click.option("--mail-port", default=8002, show_default=True, help="Where the outgoing mail is shown.")
def demo_command(fresh: bool, directory: Path, port: int, shop_port: int, mail_port: int) -> None:
    """Show everything at once: a shop with the bubble, the inbox, and the mails that go out.

    Prints three addresses and a login. A port that is taken is replaced by the next free one. Everything stays on this
    machine and is kept until --fresh.
    """
    from chatd.demo.run import DemoPorts, alone, demo_settings, forget, run_demo

    with alone(directory):
        if fresh:
            forget(directory)
        settings, ports = demo_settings(directory, DemoPorts(inbox=port, shop=shop_port, mail=mail_port), os.environ)
        write_logs(settings)
        _run(run_demo(settings, ports))


@click.command(
    "migrate",
    short_help="Bring the database up to date, with a copy made first.",
    epilog=examples("chatd migrate --check", "chatd migrate"),
)
@click.option("--check", is_flag=True, help="Only say what would be done; exit code 1 when there is something to do.")
def migrate_command(check: bool) -> None:
    """Bring the database to the schema of this version, with a copy made first. `chatd serve` does it by itself.

    Of PostgreSQL no copy is made: it undoes a step that fails. Back it up with pg_dump as you do anyway.
    """
    settings = settings_of_environment()
    report = migrations.check(settings) if check else migrations.migrate(settings)
    database = place_of(settings)
    if not report.changed:
        click.echo(f"{database} is up to date (revision {report.after}).")
    elif check:
        click.echo(
            f"{database} is at revision {report.before or 'none: it is not there yet'}; needed is {report.after}."
        )
        click.echo("Run: chatd migrate")
        raise click.exceptions.Exit(1)
    elif report.before is None:
        click.echo(f"{database} was made (revision {report.after}).")
    else:
        click.echo(f"{database} went from revision {report.before} to {report.after}.")
        if report.copy_path is not None:
            click.echo(f"A copy of what it was: {report.copy_path}")

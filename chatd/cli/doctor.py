"""`chatd doctor`: is this machine ready, and if not, what is to be done."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import click

from chatd.cli import checks, database_checks
from chatd.cli.checks import Finding
from chatd.cli.common import examples
from chatd.config import Settings, SettingsError, read_settings, unknown_variables

MARKS = {
    "good": click.style("ok  ", fg="green"),
    "note": click.style("note", fg="yellow"),
    "bad": click.style("BAD ", fg="red"),
}


@click.command(
    "doctor",
    short_help="Is this machine ready, and if not, what is to be done.",
    epilog=examples("chatd doctor", "chatd doctor --quiet && systemctl restart chatd"),
)
@click.option("--quiet", is_flag=True, help="Print only what needs doing.")
def doctor_command(quiet: bool) -> None:
    """Check settings, data folder, database, disk, secret, base URL, open files, topics, mail server, Redis and shops.

    Nothing is changed and no mail is sent. Each line that is not ok says what to do. Exit code 1 when something is bad,
    0 when there are at most notes.
    """
    findings = list(examine())
    for finding in findings:
        if quiet and finding.level == "good":
            continue
        click.echo(f"{MARKS[finding.level]}  {finding.what}")
        if finding.todo:
            click.echo(f"      -> {finding.todo}")
    bad = sum(finding.level == "bad" for finding in findings)
    if bad:
        click.echo(f"\n{bad} {'thing needs' if bad == 1 else 'things need'} mending before customers come.", err=True)
        raise click.exceptions.Exit(1)


def examine() -> Iterator[Finding]:
    """All findings about this environment. Without settings that make sense there is nothing else to look at."""
    for name in unknown_variables(os.environ):
        yield Finding("note", f"{name} is no setting of chatd", "look for a slip of the pen; chatd config lists all")
    try:
        settings = read_settings(make_secret=False)
    except SettingsError as error:
        for problem in error.problems:
            yield Finding("bad", problem, "mend the environment; chatd config lists all settings")
        return
    yield Finding("good", "the settings make sense")
    yield from checks.check_data_directory(settings)
    yield from database_checks.check_database(settings)
    yield from checks.check_secret(settings)
    yield from checks.check_base_url(settings)
    yield from checks.check_files()
    yield from checks.check_topics(settings)
    yield from asyncio.run(_ask_around(settings))


async def _ask_around(settings: Settings) -> list[Finding]:
    found = await asyncio.gather(
        checks.check_reachable(settings),
        checks.check_mail(settings),
        checks.check_redis(settings),
        checks.check_shops(settings),
    )
    return [finding for group in found for finding in group]

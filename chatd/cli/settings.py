"""`chatd config`: every setting with its value, where that came from, and what it means."""

from __future__ import annotations

import os
import shutil
import textwrap

import click

from chatd.cli.common import examples
from chatd.config import Settings, SettingsError, read_settings, table, unknown_variables


def markdown(settings: Settings) -> str:
    """The table of the README: names, defaults and meanings, and no value of anybody's machine."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for row in table(settings, {}):
        lines.append(f"| `{row.variable}` | {f'`{row.default}`' if row.default else ''} | {row.description} |")
    return "\n".join(lines)


@click.command(
    "config",
    short_help="Every setting, its value and where that came from.",
    epilog=examples(
        "chatd config",
        "CHATD_PORT=9000 chatd config",
        "chatd config --markdown    # as in the README",
    ),
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Variables, defaults and meanings as a Markdown table.")
def config_command(as_markdown: bool) -> None:
    """Show every setting: its variable, value, where that came from, and what it means. Secrets are hidden.

    Settings are environment variables. Nothing is read from files but the signing secret, and nothing is written.
    """
    if as_markdown:
        click.echo(markdown(Settings()))
        return
    try:
        settings = read_settings(make_secret=False)
    except SettingsError as error:
        raise click.ClickException("\n       ".join(error.problems)) from None
    width = max(60, min(shutil.get_terminal_size().columns, 120))
    for row in table(settings, os.environ):
        value = row.value or "(empty)"
        click.echo(f"{click.style(row.variable, bold=True)} = {value}  {click.style(f'[{row.source}]', dim=True)}")
        click.echo(textwrap.indent(textwrap.fill(row.description, width - 4), "    "))
    for name in unknown_variables(os.environ):
        click.secho(f"{name} is no setting of chatd", fg="yellow", err=True)

"""`chatd`, or `python -m chatd`: the command line as a whole. The commands are in `chatd.cli`."""

from __future__ import annotations

import click

from chatd import __version__
from chatd.cli.backup import backup_command
from chatd.cli.common import Commands, examples
from chatd.cli.doctor import doctor_command
from chatd.cli.outbox import outbox_commands
from chatd.cli.running import demo_command, migrate_command, serve_command
from chatd.cli.settings import config_command
from chatd.cli.shops import shop_commands
from chatd.cli.staff import staff_commands
from chatd.cli.topics import topics_commands


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "chatd demo                               # see everything, on this machine",
        "chatd shop add 'My shop' --origin https://shop.example --email hello@shop.example",
        "chatd staff add leo@shop.example --name Leo --role owner",
        "chatd doctor && chatd serve",
    ),
)
@click.version_option(__version__, message="chatd %(version)s")
def main() -> None:
    """Live chat for online shops: a bubble on the storefront, an inbox for the staff, mail for those who left."""


for command in (
    serve_command,
    demo_command,
    migrate_command,
    backup_command,
    shop_commands,
    staff_commands,
    outbox_commands,
    topics_commands,
    doctor_command,
    config_command,
):
    main.add_command(command)


if __name__ == "__main__":
    main(prog_name="chatd")

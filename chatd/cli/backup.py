"""`chatd backup`: a whole copy of the database, also while chatd runs."""

from __future__ import annotations

from pathlib import Path

import click

from chatd.cli.common import examples, settings_of_environment
from chatd.errors import InvalidInput
from chatd.store.backup import back_up


@click.command(
    "backup",
    short_help="A whole copy of the database, also while chatd runs.",
    epilog=examples("chatd backup /backups/chatd-monday.db", 'chatd backup "/backups/chatd-$(date +%F).db"'),
)
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
def backup_command(target: Path) -> None:
    """Copy the SQLite database to the new file TARGET while chatd runs, check the copy, and say how large it is.

    To restore, stop chatd, put the copy in the database's place, remove the files ending in -wal and -shm beside it,
    and start. Keep `secret.key` of the data folder, too: without it everybody is logged out, and visitors begin anew.
    """
    settings = settings_of_environment()
    if settings.uses_postgres:
        raise InvalidInput("the database is PostgreSQL; back it up with pg_dump")
    size = back_up(settings.database_path, target)
    click.echo(f"{target}: {size / 1_000_000:.1f} MB, whole and checked")

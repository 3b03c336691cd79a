"""Starting a server as a process of its own, on a core of its own, and ending it whatever happens.

With two cores or more the server gets the first that this process may use, and the clients the second: each then has
the same machine in every run, and the one does not slow the other down. With one core both share it, and the report
says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

LOCAL = "127.0.0.1"
START_SECONDS = 60.0
LOOK_SECONDS = 0.05
END_SECONDS = 20.0
LINES_KEPT = 40


class NotStarted(Exception):
    """The server did not come up; says what it said last."""


def cores() -> tuple[int, int] | None:
    """One for the server, another for the clients; None where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else None


@contextlib.contextmanager
def pinned_to(core: int | None) -> Iterator[None]:
    """This thread, and every process that it starts, inside the block."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_open_files() -> int:
    """As many open files as this process may have, for itself and what it starts; each connection is one on both
    sides. Returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return 1_000_000 if hard == resource.RLIM_INFINITY else hard


def free_port() -> int:
    """For servers that cannot let the system choose one. Somebody else may take it before they do."""
    with socket.socket() as probe:
        probe.bind((LOCAL, 0))
        port: int = probe.getsockname()[1]
        return port


def port_in(line: str) -> int:
    """The port at the end of an address in what a server has said."""
    found = re.findall(r"(?<![\d.])\d{2,5}(?![\d.])", line)
    if not found:
        raise NotStarted(f"there is no port in {line!r}")
    return int(found[-1])


@contextlib.asynccontextmanager
async def serving(
    command: Sequence[str],
    *,
    environ: Mapping[str, str],
    core: int | None,
    sign: str | None = None,
    port: int | None = None,
    times: int = 1,
) -> AsyncIterator[tuple[int, str]]:
    """The process inside the block: its id, and the line in which it says `sign`, for the last of so many times. One
    that says nothing is known by its `port`, and the line is empty. Ended by SIGTERM and, if it does not go, by
    SIGKILL. Raises `NotStarted`."""
    assert (sign is None) != (port is None), "known by what it says or by its port"
    with pinned_to(core):
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=dict(environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except OSError as error:
            raise NotStarted(f"{command[0]} cannot be run: {error}") from None
    lines: deque[str] = deque(maxlen=LINES_KEPT)
    reading: asyncio.Task[None] | None = None
    found = ""
    try:
        if sign is not None:
            for _ in range(times):
                found = await _read_until(process, sign, lines)
        reading = asyncio.create_task(_read_on(process, lines))
        if port is not None:
            await _until_listens(process, port, lines)
        yield process.pid, found
    finally:
        await _end(process)
        if reading is not None:
            await reading


async def _until_listens(process: asyncio.subprocess.Process, port: int, lines: deque[str]) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection(LOCAL, port)
                except OSError:
                    await asyncio.sleep(LOOK_SECONDS)
                else:
                    writer.close()
                    return
    except TimeoutError:
        lines.append(f"(nothing on port {port} within {START_SECONDS:g} s)")
    raise NotStarted("the server did not start:\n  " + "\n  ".join(lines or ["(it said nothing)"]))


async def _read_until(process: asyncio.subprocess.Process, sign: str, lines: deque[str]) -> str:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            while raw := await process.stdout.readline():
                line = raw.decode(errors="replace").rstrip()
                lines.append(line)
                if sign in line:
                    return line
    except TimeoutError:
        lines.append(f"(no {sign!r} within {START_SECONDS:g} s)")
    raise NotStarted("the server did not start:\n  " + "\n  ".join(lines or ["(it said nothing)"]))


async def _read_on(process: asyncio.subprocess.Process, lines: deque[str]) -> None:
    """A server whose output nobody reads stands still when the pipe is full."""
    assert process.stdout is not None
    while raw := await process.stdout.readline():
        lines.append(raw.decode(errors="replace").rstrip())


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

"""When open files run out: newcomers are told, those inside stay, nothing spins."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chatd.web.admission import connections_that_fit
from tests.door import Client, Server

FEW_FILES = """
import resource, sys
files = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
from tests.fronts import House
from tests.door import UVICORN
import uvicorn
many = int(sys.argv[1]) or None
house = House(connections_per_address_max=10_000, handshake_timeout_seconds=30.0, connections_max=many)
config = uvicorn.Config(house.app, port=0, **UVICORN)
server = uvicorn.Server(config)
import asyncio
async def main():
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await task
with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize(
    ("connections_max", "files"),
    [(0, 64), (10_000, 64), (0, 256)],
    ids=["bounded", "out of files", "bounded, with 256 files"],
)
def test_when_files_run_out_those_inside_stay_and_the_processor_rests(connections_max: int, files: int) -> None:
    """With the bound that the front works out for itself, newcomers are told; without, accept() fails. Either way
    nobody inside notices, nothing spins, and room that is made is used."""
    process = subprocess.Popen(
        [sys.executable, "-c", FEW_FILES, str(connections_max), str(files)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parent.parent,
    )
    newcomers: list[Client] = []
    try:
        assert process.stdout is not None
        server = Server(int(process.stdout.readline()))
        inside = server.connect()
        newcomers.append(inside)
        assert inside.get().answer().status == 200
        newcomers += [server.connect() for _ in range(files + 40)]
        assert inside.get().answer().status == 200
        before = _processor_seconds(process.pid)
        time.sleep(1.5)
        assert _processor_seconds(process.pid) - before < 0.5, "it spins"
        assert inside.get().answer().status == 200
        for client in newcomers[1:]:
            client.close()
        deadline = time.monotonic() + 10
        status = 0
        while status != 200 and time.monotonic() < deadline:
            with contextlib.suppress(OSError, EOFError), server.connect() as again:
                status = again.get().answer().status
        assert status == 200, "room that was made is not used"
    finally:
        for client in newcomers:
            client.close()
        process.terminate()
        process.wait(20)
        process.stdout.close()  # type: ignore[union-attr]


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_the_bound_leaves_files_for_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, fit in ((1_024, 960), (64, 32), (1, 1), (resource.RLIM_INFINITY, 1_000_000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=soft: (limit, limit))
        assert connections_that_fit() == fit

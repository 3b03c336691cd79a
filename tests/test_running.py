"""`chatd serve` and `chatd demo` as programs: they start, say what to open, answer, and end in good order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

START_SECONDS = 30.0
END_SECONDS = 20.0
IDLE_KIBIBYTES_MAX = 100_000


@contextlib.asynccontextmanager
async def program(*arguments: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m chatd …` inside the block; ended, by force if it must be, when the block is left."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "chatd",
        *arguments,
        env={**os.environ, **environ},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def read_until(process: asyncio.subprocess.Process, sign: str) -> str:
    """What the program prints, up to and with the line that contains the sign."""
    assert process.stdout
    text = ""
    async with asyncio.timeout(START_SECONDS):
        while sign not in text:
            line = await process.stdout.readline()
            assert line, f"the program ended without saying {sign!r}:\n{text}"
            text += line.decode()
    return text


async def end(process: asyncio.subprocess.Process, number: signal.Signals) -> tuple[int, str]:
    """Ask the program to end; its exit code and what it said last."""
    process.send_signal(number)
    async with asyncio.timeout(END_SECONDS):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def get(url: str) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def resident_kibibytes(process: asyncio.subprocess.Process) -> int:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found.group(1))


# ---------------------------------------------------------------- serve


async def test_serve_makes_its_database_answers_and_ends_at_sigterm(tmp_path: Path) -> None:
    [port] = free_ports(1)
    async with program("serve", CHATD_DATA_DIRECTORY=str(tmp_path), CHATD_PORT=str(port)) as process:
        await read_until(process, "listens on")
        status, body = await get(f"http://127.0.0.1:{port}/health")
        assert (status, json.loads(body)["status"]) == (200, "ok")
        assert (tmp_path / "chatd.db").exists()
        assert resident_kibibytes(process) < IDLE_KIBIBYTES_MAX, "an idle server takes less than 100 MB"
        code, _ = await end(process, signal.SIGTERM)
        assert code == 0


async def test_a_taken_port_is_one_sentence_and_not_a_stack(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with program("serve", CHATD_DATA_DIRECTORY=str(tmp_path), CHATD_PORT=str(port)) as process:
            async with asyncio.timeout(START_SECONDS):
                output, _ = await process.communicate()
    assert process.returncode == 1
    assert f"127.0.0.1:{port}" in output.decode()
    assert "Traceback" not in output.decode()


# ---------------------------------------------------------------- demo


def addresses(text: str) -> list[str]:
    return re.findall(r"http://localhost:\d+", text)


def demo_arguments(folder: Path, ports: list[int]) -> list[str]:
    inbox, shop, mail = map(str, ports)
    return ["demo", "--directory", str(folder), "--port", inbox, "--shop-port", shop, "--mail-port", mail]


async def test_the_demo_prints_three_addresses_and_a_login_and_all_answer(tmp_path: Path) -> None:
    inbox, shop, mail = ports = free_ports(3)
    async with program(*demo_arguments(tmp_path, ports)) as process:
        text = await read_until(process, "Ctrl+C")
        assert addresses(text) == [f"http://localhost:{port}" for port in (shop, inbox, mail)]
        assert "leo@nordlys.example" in text
        assert "password" in text
        for url in addresses(text):
            status, body = await get(url)
            assert status == 200, url
            assert "<html" in body
        page = (await get(f"http://localhost:{shop}/products/dawn-mug"))[1]
        bubble = re.search(r'<script async src="([^"]+)"', page)
        assert bubble
        status, script = await get(bubble.group(1))
        assert status == 200
        assert "chatd" in script
        code, last = await end(process, signal.SIGINT)
        assert code == 0
        assert "Traceback" not in last


async def test_the_demo_keeps_what_was_there_until_fresh_and_moves_off_taken_ports(tmp_path: Path) -> None:
    ports = free_ports(3)
    folder = tmp_path / "demo"
    async with program(*demo_arguments(folder, ports)) as process:
        await read_until(process, "Ctrl+C")
        await end(process, signal.SIGINT)
    secret = (folder / "secret.key").read_text()
    (folder / "notes.txt").write_text("not the demo's")

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[1]))
        taken.listen()
        async with program(*demo_arguments(folder, ports)) as process:
            text = await read_until(process, "Ctrl+C")
            shop = addresses(text)[0]
            assert shop != f"http://localhost:{ports[1]}"
            assert (await get(shop))[0] == 200
            # A second demo in the same folder would take the first one's database away from under it.
            async with program(*demo_arguments(folder, [0, 0, 0]), "--fresh") as second:
                output, _ = await second.communicate()
            assert second.returncode == 1
            assert "runs in" in output.decode()
            await end(process, signal.SIGINT)
    assert (folder / "secret.key").read_text() == secret

    async with program(*demo_arguments(folder, ports), "--fresh") as process:
        await read_until(process, "Ctrl+C")
        await end(process, signal.SIGINT)
    assert (folder / "secret.key").read_text() != secret
    assert (folder / "notes.txt").exists(), "--fresh removed what was not the demo's"


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["demo", "--help"]])
async def test_the_module_is_the_command(arguments: list[str]) -> None:
    async with program(*arguments) as process:
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    assert "chatd" in output.decode()

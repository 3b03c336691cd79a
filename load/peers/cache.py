"""Where other systems are installed: `var/peers` of the checkout, a folder each, never among chatd's own dependencies.

Each function returns at once when what it is asked for is there already, and raises `Unavailable` with the reason when
it cannot be had: no network, no such tool, another machine than the packages are for. They wait for installers: call
them in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

CACHE = Path(__file__).parents[2] / "var" / "peers"
INSTALL_SECONDS = 600.0


class Unavailable(Exception):
    """This system cannot be had here; says why."""


def python_with(*requirements: str) -> Path:
    """An interpreter with these packages."""

    def install(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *requirements])

    return _installed(f"python-{requirements[0].partition('>')[0]}", requirements, install) / "bin" / "python"


def node_with(*packages: str) -> Path:
    """A folder with these packages in its `node_modules`. node itself must be on the PATH."""
    found = _tool("node"), _tool("npm")

    def install(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "package.json").write_text('{"private": true}\n', encoding="utf-8")
        _run([found[1], "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages], folder)

    return _installed("node", packages, install)


def debian_with(package: str) -> Path:
    """A folder into which a Debian package and what it depends on are unpacked. Nothing is installed on the machine:
    no service is started, no user made, and no rights are needed."""
    apt, dpkg = _tool("apt-get"), _tool("dpkg-deb")

    def install(folder: Path) -> None:
        archives = folder / "archives"
        (archives / "partial").mkdir(parents=True)
        options = ["-o", f"Dir::Cache::archives={archives}", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="]
        _run([apt, "install", "--yes", "--no-install-recommends", "--download-only", *options, package])
        debs = sorted(archives.glob("*.deb"))
        if not any(deb.name.startswith(f"{package}_") for deb in debs):
            # Installed on the machine already, so there was nothing to fetch.
            raise Unavailable(f"apt-get did not bring {package}; is it installed on this machine?")
        for deb in debs:
            _run([dpkg, "--extract", str(deb), str(folder / "root")])
        shutil.rmtree(archives)

    return _installed(package, (package,), install) / "root"


def python_version(python: Path, package: str) -> str:
    """Of a package that `python_with` has installed."""
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return _run([str(python), "-c", code]).strip()


def node_version(folder: Path, package: str) -> str:
    """Of a package that `node_with` has installed."""
    about = json.loads((folder / "node_modules" / package / "package.json").read_text(encoding="utf-8"))
    return str(about["version"])


def _installed(name: str, what: Sequence[str], install: Callable[[Path], None]) -> Path:
    """The folder of this name, made anew when it is not whole or holds something else. Several runs may ask at once."""
    folder = CACHE / name
    wanted = "\n".join(what)
    CACHE.mkdir(parents=True, exist_ok=True)
    with _locked(CACHE / f"{name}.lock"):
        mark = folder / "installed.txt"
        if not mark.exists() or mark.read_text(encoding="utf-8") != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            install(folder)
            mark.write_text(wanted, encoding="utf-8")
    return folder


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"there is no {name} on this machine")
    return found


def _run(command: Sequence[str], folder: Path | None = None) -> str:
    environ = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - the commands are the ones above
            command, cwd=folder, env=environ, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{Path(command[0]).name} did not run: {error}") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{Path(command[0]).name} failed: {' | '.join(said[-3:]) or 'it said nothing'}")
    return done.stdout

"""What all tests share: where programs are that a test drives, and the rule about skips.

`CHATD_TEST_NO_SKIPS=1` turns every skip into a failure, so that a run that tested half cannot look like one that
tested all. `CHATD_TEST_CHROMIUM` names another Chromium than the one on the PATH. Hypothesis tries the same examples
in every run, so that a commit that passed once passes again; `CHATD_TEST_EXAMPLES=5000` has it look for new ones, so
many of each property, and what it finds it keeps and tries first the next time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from chatd.config import Settings, variable_of
from tests.databases import DATABASE, URL_FILE, PostgresServer, running_postgres

ROOT = Path(__file__).parent.parent

# Hypothesis would fail an example that takes 200 ms. On a machine that is busy that says nothing about the code.
EXAMPLES = os.environ.get("CHATD_TEST_EXAMPLES")
settings.register_profile(
    "chatd",
    deadline=None,
    max_examples=int(EXAMPLES or 40),
    derandomize=EXAMPLES is None,
)
settings.load_profile("chatd")

# Tests of one of these share something that is scarce (a browser's memory, a server); each goes through one process.
ONE_PROCESS = ("browser", "postgres")


def skips_are_forbidden() -> bool:
    return bool(os.environ.get("CHATD_TEST_NO_SKIPS"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for name in ONE_PROCESS:
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.xdist_group(name))


def _forbid_skip(report: Any) -> None:
    """An expected failure (xfail) is reported as skipped too, and stays what it is."""
    if report.skipped and skips_are_forbidden() and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{reason}\nSkips are forbidden here (CHATD_TEST_NO_SKIPS is set)."


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test sees the defaults, whatever the shell it was started from has set."""
    for name in Settings.__struct_fields__:
        monkeypatch.delenv(variable_of(name), raising=False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the run, made for the first test that asks."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer, tmp_path: Path) -> str:
    """An empty database with chatd's tables, on which everything opened in `tmp_path` works."""
    postgres.empty()
    url = postgres.url(DATABASE)
    (tmp_path / URL_FILE).write_text(url)
    return url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> str:
    """Runs the test on SQLite and on PostgreSQL (tests/databases.py)."""
    if request.param == "postgres":
        request.getfixturevalue("postgres_url")
    return str(request.param)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """A Chromium to drive; a test that asks for it is skipped where there is none."""
    named = os.environ.get("CHATD_TEST_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        pytest.skip("no Chromium; run: sudo apt-get install chromium")
    return found


@pytest.fixture(scope="session")
def node_path() -> str:
    """A node to run the browser's modules with; a test that asks for it is skipped where there is none."""
    found = shutil.which("node")
    if not found:
        pytest.skip("no node; run: sudo apt-get install nodejs")
    return found

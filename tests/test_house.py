"""The house stands: imports go one way, pure parts stay pure, no state hides in a module, no file is a burden.

Whoever builds a feature is told by name and line when it leans the wrong way.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import LINES_MAX, breaches

ROOT = Path(__file__).parent.parent


def test_the_house_stands() -> None:
    found = breaches(ROOT)
    assert not found, "the house rules are broken:\n  " + "\n  ".join(found)


# A rule that never fires is no rule: each is shown a small tree that breaks it, and one that is right beside it.
BAD = {
    "upward import": ("chatd/domain/people.py", "from chatd.store import log\n", "domain imports chatd.store"),
    "upward import, relative": ("chatd/store/log.py", "from ..web import app\n", "store imports chatd.web"),
    "upward import of a whole part": (
        "chatd/wire/frames.py",
        "from chatd import dispatch\n",
        "wire imports chatd.dispatch",
    ),
    "upward import in a function": (
        "chatd/live/hub.py",
        "def late() -> None:\n    import chatd.notify.courier\n",
        "live imports chatd.notify.courier",
    ),
    "neighbours": ("chatd/live/hub.py", "from chatd.store.log import append\n", "side by side"),
    "leaf with knowledge": ("chatd/metrics.py", "from chatd.store import log\n", "metrics is a leaf"),
    "config beyond the limits": ("chatd/config/a.py", "from chatd.domain.people import x\n", "config is a leaf"),
    "part without a place": ("chatd/helpers.py", "import chatd.errors\n", "no part of the house"),
    "clock in the domain": ("chatd/domain/people.py", "import time\n", "imports time"),
    "loop in the wire": ("chatd/wire/protocol.py", "from asyncio import sleep\n", "imports asyncio"),
    "chance in the domain": ("chatd/domain/people.py", "import random\n", "imports random"),
    "log in the wire": ("chatd/wire/protocol.py", "import logging\n", "imports logging"),
    "date of today": ("chatd/domain/a.py", "import datetime\nx = datetime.datetime.now()\n", "asks a clock"),
    "file in the domain": ("chatd/domain/a.py", "def f() -> None:\n    open('x')\n", "no outside world"),
    "global": ("chatd/web/a.py", "n = 0\ndef f() -> None:\n    global n\n    n += 1\n", "global n"),
    "registry": (
        "chatd/web/a.py",
        "SEEN = {}\ndef f(k: str) -> None:\n    SEEN[k] = 1\n",
        "changes SEEN, made in the module in line 2",
    ),
    "growing list": ("chatd/web/a.py", "seen = []\ndef f() -> None:\n    seen.append(1)\n", "changes seen"),
    "shared queue": ("chatd/web/a.py", "import asyncio\nq = asyncio.Queue()\n", "Queue made in a module"),
    "endless cache": ("chatd/web/a.py", "import functools\n@functools.cache\ndef f() -> None: ...\n", "no bound"),
    "too long": ("chatd/web/a.py", "x = 1\n" * LINES_MAX, f"{LINES_MAX + 1} lines"),
    "silent module": ("chatd/web/b.py", None, "no docstring"),
    "place of one machine": ("docs/a.md", "see the folder /hom" + "e/mia/chatd\n", "does not belong"),
    "unfinished": ("static/a.js", "// TO" + "DO later\n", "does not belong"),
    "other word": ("chatd/web/a.py", "def find(tenant_id: str) -> None: ...\n", "here it is shop"),
}


@pytest.mark.parametrize("case", BAD)
def test_each_rule_names_the_line_that_breaks_it(case: str, tmp_path: Path) -> None:
    name, body, expected = BAD[case]
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    text = "x = 1\n" if body is None else f'"""About."""\n{body}' if name.endswith(".py") else body
    path.write_text(text)

    found = breaches(tmp_path)

    assert len(found) == 1, found
    assert found[0].startswith(f"{name}:")
    assert expected in found[0]


def test_what_is_right_is_left_alone(tmp_path: Path) -> None:
    right = {
        "chatd/__init__.py": "",
        "chatd/errors.py": '"""Leaf."""\n',
        "chatd/config/settings.py": '"""Leaf."""\nfrom chatd.domain.limits import Limits\n',
        "chatd/domain/limits.py": '"""Pure."""\nfrom chatd.errors import InvalidInput\n',
        "chatd/wire/frames.py": '"""Pure."""\nfrom chatd.domain import limits\n',
        "chatd/store/log.py": '"""I/O."""\nimport time\nfrom chatd.config import Settings\nTABLE = {"a": 1}\n',
        "chatd/dispatch.py": '"""Joins."""\nfrom chatd.live import hub\nfrom chatd.store import log\n',
        "chatd/web/app.py": '"""Joins."""\ndef make() -> dict:\n    parts = {}\n    parts["a"] = 1\n    return parts\n',
        "chatd/__main__.py": '"""Starts."""\nfrom chatd.web import app\nfrom chatd.demo import run\n',
    }
    for name, text in right.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert breaches(tmp_path) == []

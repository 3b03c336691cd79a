"""Many schedules of the simulation (`tests.simulation`), and the proof that it finds what is broken."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.simulation.breaks import BREAKS

SOON = (
    "acknowledge-what-was-not-committed",
    "forget-what-was-answered",
    "believe-every-mail-arrived",
)
"""Mistakes that are found within a few schedules; the others are made by `make soak`."""


def simulate(*options: str) -> tuple[int, str]:
    """In a process of its own, whose hashes are the same each time: a seed means the same schedule everywhere."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def test_nothing_that_was_promised_is_broken_in_many_schedules() -> None:
    code, output = simulate("--seed", "1", "--count", "150")
    assert code == 0, output


def test_a_seed_is_one_schedule() -> None:
    assert (
        simulate("--seed", "7", "--count", "2", "--trace")[1].splitlines()[:-1]
        == (simulate("--seed", "7", "--count", "2", "--trace")[1].splitlines()[:-1])
    )


@pytest.mark.parametrize("mistake", SOON)
def test_a_mistake_is_found_and_can_be_found_again(mistake: str) -> None:
    code, output = simulate("--seed", "1", "--count", "60", "--break", mistake)
    assert code == 1, f"{mistake} was not found"
    again = next(line for line in output.splitlines() if line.startswith("again: "))
    assert simulate(*again.split()[4:])[1].splitlines()[0] == output.splitlines()[0]


# ---------------------------------------------------------------- make soak


@pytest.mark.soak
def test_nothing_that_was_promised_is_broken_in_ten_thousand_schedules() -> None:
    """From another seed each day, so that a machine that runs this every night sees more than the same."""
    seed = int(time.time() // 86_400) * 10_000
    code, output = simulate("--seed", str(seed), "--count", "10000", "--processes", str(os.cpu_count() or 1))
    print(output)
    assert code == 0, output


@pytest.mark.soak
@pytest.mark.parametrize("mistake", sorted(set(BREAKS) - set(SOON)))
def test_every_mistake_is_found(mistake: str) -> None:
    assert simulate("--seed", "1", "--count", "500", "--break", mistake)[0] == 1, f"{mistake} was not found"

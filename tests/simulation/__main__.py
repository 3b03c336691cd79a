"""`python -m tests.simulation`: schedules from a seed on. Prints how many it did in which time, or a failure."""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import time

COLLECT_EVERY = 25


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--count", type=int, default=1_000, help="how many seeds (default 1000)")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so many minutes")
    parser.add_argument("--processes", type=int, default=1, help="share the seeds among so many processes (default 1)")
    parser.add_argument("--trace", action="store_true", help="print what happened in each schedule")
    parser.add_argument("--break", dest="broken", default="", help="make this mistake first (tests.simulation.breaks)")
    options = parser.parse_args()
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets of strings follows from it, and much else from that.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])

    if options.processes > 1:
        return share(options)

    from tests.simulation import breaks
    from tests.simulation.check import Broken
    from tests.simulation.schedule import run

    if options.broken:
        breaks.BREAKS[options.broken]()
    gc.freeze()  # what is loaded stays, and need not be looked at again
    gc.disable()
    began = time.process_time()
    done = commits = 0
    for seed in range(options.seed, options.seed + options.count):
        if options.minutes and time.process_time() - began > options.minutes * 60:
            break
        try:
            world = run(seed)
        except Broken as broken:
            again = f"python -m tests.simulation --seed {seed} --count 1"
            print(f"seed {seed}: {broken}\nagain: {again}{' --break ' + options.broken if options.broken else ''}")
            return 1
        done += 1
        if done % COLLECT_EVERY == 0:
            gc.collect()
        commits += world.disk.commits
        if options.trace:
            print(f"seed {seed}", *world.trace, sep="\n  ")
    seconds = time.process_time() - began
    pace = f"{seconds:.1f} s of CPU ({done / seconds * 60:.0f} a minute)"
    print(f"{done} schedules from seed {options.seed} in {pace}, {commits} commits: all promises kept")
    return 0


def share(options: argparse.Namespace) -> int:
    """Each process has a run of seeds of its own. The first failure ends them all."""
    size, more = divmod(options.count, options.processes)
    others = ["--minutes", str(options.minutes)]
    others += ["--trace"] if options.trace else []
    others += ["--break", options.broken] if options.broken else []
    began, seed, parts = time.monotonic(), options.seed, []
    for number in range(options.processes):
        count = size + (number < more)
        command = [sys.executable, "-m", "tests.simulation", "--seed", str(seed), "--count", str(count), *others]
        parts.append(subprocess.Popen(command))
        seed += count
    waiting = set(parts)
    while waiting:
        time.sleep(0.1)
        waiting = {part for part in waiting if part.poll() is None}
        if any(part.returncode for part in parts):
            for part in waiting:
                part.terminate()
                part.wait()
            return 1
    print(f"{options.count} schedules from seed {options.seed} in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Checks of what browsers load, without a browser: every script parses, and none builds markup from text.

    python scripts/check_static.py [FOLDER…]        default: static tests/js

Prints `file:line: what is wrong` and exits with 1 when there is anything to print. Node is needed for the parsing;
where it is missing that half is told and left out, or an error when CHATD_TEST_NO_SKIPS is set.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

# Text that becomes markup is how a customer's message runs as a script in the inbox. `textContent` and `createElement`
# cannot do that. A template's own constant markup goes through <template> elements in the page.
FORBIDDEN = re.compile(
    r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write(?:ln)?|createContextualFragment|setHTMLUnsafe)\b"
    r"|\beval\s*\(|\bnew\s+Function\s*\(|\bsetAttribute\s*\(\s*[\"'](?:on\w+|style)[\"']"
)
# Nothing is loaded from another host. Namespaces of XML are names, not addresses.
FOREIGN = re.compile(r"""(?:import\s*\(?|from|src=|href=|fetch\s*\()\s*["'`]https?://(?!www\.w3\.org/)""")


def scan(path: Path) -> list[str]:
    """What is forbidden in this script. An example in a comment may name another host."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        is_comment = line.lstrip().startswith(("//", "*", "/*"))
        if match := FORBIDDEN.search(line):
            found.append(
                f"{path}:{number}: {match.group(0)!r} makes markup or code of text; use textContent or createElement"
            )
        if FOREIGN.search(line) and not is_comment:
            found.append(f"{path}:{number}: loads from another host; nothing may")
    return found


def parse(paths: list[Path]) -> list[str]:
    node = shutil.which("node")
    if node is None:
        message = "node is not here, so no script was parsed; install nodejs"
        if os.environ.get("CHATD_TEST_NO_SKIPS"):
            return [message]
        print(message, file=sys.stderr)
        return []
    found = []
    for path in paths:
        result = subprocess.run([node, "--check", str(path)], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
        if result.returncode:
            found.append(f"{path}: {result.stderr.strip()}")
    return found


def main(arguments: list[str]) -> int:
    folders = [Path(argument) for argument in arguments] or [Path("static"), Path("tests/js")]
    scripts = sorted(path for folder in folders for path in folder.rglob("*.js"))
    found = [line for path in scripts for line in scan(path)] + parse(scripts)
    print("\n".join(found) if found else f"{len(scripts)} scripts checked")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What is served is the program that was written, less what was written for its readers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from chatd.web.slimming import SLIMMED, slim

STATIC = Path(__file__).parent.parent / "static"
FILES = sorted(path for path in STATIC.rglob("*") if path.suffix in SLIMMED)


def test_comments_and_indentation_go_and_lines_stay() -> None:
    written = """// @ts-check
/**
 * What this is for.
 */
export function half(/** @type {number} */ value) {
  // Why.
  /** @type {number} */
  const address = "https://example.com/a//b"; // said in passing
  return value / 2 /* exactly */;
}
"""
    assert slim("half.js", written).split("\n") == [
        "",
        "",
        "",
        "",
        "export function half(value) {",
        "",
        "",
        'const address = "https://example.com/a//b"; // said in passing',
        "return value / 2 /* exactly */;",
        "}",
        "",
    ]


def test_a_style_sheet_keeps_what_only_looks_like_a_comment() -> None:
    assert slim("a.css", "/* Why. */\na { }\n  //b { }") == "\na { }\n//b { }"


def test_other_kinds_are_left_alone() -> None:
    assert slim("a.svg", "  <!-- a -->\n  <svg/>") == "  <!-- a -->\n  <svg/>"


@pytest.mark.node
def test_every_script_is_still_a_program(node_path: str, tmp_path: Path) -> None:
    slimmed = []
    for number, path in enumerate(file for file in FILES if file.suffix == ".js"):
        source = path.read_text(encoding="utf-8")
        text = slim(path.name, source)
        assert text.count("\n") == source.count("\n"), f"{path.name}: lines have moved"
        slimmed.append(tmp_path / f"{number}-{path.stem}.mjs")
        slimmed[-1].write_text(text, encoding="utf-8")
    # A module is parsed before its imports are looked for, which are not there; so nothing of these runs.
    program = tmp_path / "all.mjs"
    program.write_text(
        "\n".join(
            f"await import({path.as_uri()!r}).catch((error) => {{ if (error instanceof SyntaxError) throw error; }});"
            for path in slimmed
        ),
        encoding="utf-8",
    )
    result = subprocess.run([node_path, str(program)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_text_of_a_template_looks_like_a_comment(path: Path) -> None:
    """The one thing that could be lost by mistake: a line of a template literal that begins like a comment."""
    inside = False
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        looks = line.lstrip().startswith(("//", "/*"))
        assert not (inside and looks), f"{path.name}:{number}: put this text on one line, or begin it otherwise"
        # A literal over several lines opens at the end of a line and ends at the beginning of one in the house's style.
        if not looks and not line.lstrip().startswith("*"):
            if not inside and line.rstrip().endswith("`") and line.count("`") % 2:
                inside = True
            elif inside and "`" in line:
                inside = False

"""What is served is the program that was written, less what was written for its readers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from chatd.web.slimming import SLIMMED, slim

STATIC = Path(__file__).parent.parent / "static"
FILES = sorted(path for path in STATIC.rglob("*") if path.suffix in SLIMMED)


# The grammar of scripts (ECMA-262 section 12), not the house's style: a slash begins a regular expression where a value
# is due, and templates nest.
BEFORE_A_VALUE = frozenset((*"(,=:[!&|?{};+-*/%<>~^", "return", "typeof", "case", "of", "in"))
SILENCE = re.compile(r"\s+|//[^\n]*|/\*.*?\*/", re.DOTALL)
PATTERN = re.compile(r"/(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/\w*")
TEMPLATE = re.compile(r"[`}](?:[^`\\$]|\\.|\$(?!\{))*(?:`|\$\{)", re.DOTALL)
WORD = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[\w$#]+|.")


def words_of(script: str) -> list[str]:
    """The words, signs and literals of a script."""
    words: list[str] = []
    braces: list[bool] = []  # those that are open, and whether a template goes on after them
    at = 0
    while at < len(script):
        if silence := SILENCE.match(script, at):
            at = silence.end()
            continue
        kind = WORD
        if script[at] == "/" and (not words or words[-1] in BEFORE_A_VALUE):
            kind = PATTERN
        elif script[at] == "`" or (script[at] == "}" and braces[-1]):
            kind = TEMPLATE
        found = kind.match(script, at)
        assert found is not None, f"no end in sight: {script[at : at + 60]!r}"
        at = found.end()
        if found[0][0] == "}":
            braces.pop()
        if found[0] == "{" or (kind is TEMPLATE and found[0].endswith("{")):
            braces.append(kind is TEMPLATE)
        # The white space at the start of a template's lines says nothing.
        words.append(re.sub(r"(?<=\n)[ \t]+|[ \t]+(?=\n)", "", found[0]))
    assert not braces
    return words


def test_what_is_for_readers_goes_and_lines_stay() -> None:
    written = """// @ts-check
/**
 * What this is for.
 */
export function half(/** @type {number} */ value, { of = "a  b" } = {}) {
  // Why.
  /** @type {number} */
  const address = "https://example.com/a//b"; // the reader's "words
  if (/[/"] {2}/.test(address) && value !== -1) return `${ value }  ${address} // ` + /*SETTINGS*/null;
  return value / 2 /* exactly */ - - value;
}
"""
    assert slim("half.js", written).split("\n") == [
        "",
        "",
        "",
        "",
        'export function half(value,{of="a  b"}={}){',
        "",
        "",
        'const address="https://example.com/a//b";',
        'if(/[/"] {2}/.test(address)&&value!==-1)return `${ value }  ${address} // ` + /*SETTINGS*/null;',
        "return value / 2 - - value;",
        "}",
        "",
    ]


def test_private_names_are_shortened_on_request_and_no_other_words() -> None:
    written = 'class A {\n  #held = "#held .#held";\n  get #kept() { return `#held ${this.#held} #fff`; }\n}\n'
    assert slim("a.js", written, shorten=True) == (
        'class A{\n#a="#held .#held";\nget #b(){return `#held ${this.#a} #fff`;}\n}\n'
    )
    many = "\n".join(f"#name{number};" for number in range(3_000))
    assert len(set(slim("a.js", many, shorten=True).split())) == 3_000


def test_a_style_sheet_keeps_what_only_looks_like_a_comment() -> None:
    assert slim("a.css", "/* Why. */\na { }\n  //b { }") == "\na { }\n//b { }"


def test_other_kinds_are_left_alone() -> None:
    assert slim("a.svg", "  <!-- a -->\n  <svg/>") == "  <!-- a -->\n  <svg/>"


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".js"], ids=lambda path: path.name)
def test_the_program_is_the_same_word_for_word(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert words_of(slim(path.name, source)) == words_of(source)


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

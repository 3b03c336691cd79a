"""What a browser needs of a source file: everything but what was written for readers.

There is no build step; the files under `static/` are served as they stand, less their comments and indentation. That is
two fifths of the bubble's weight, which every page of a shop would pay for. Lines stay where they are, so a place in a
stack trace is the place in the file.

It knows no grammar, only the house's own style, which a test holds the files to: a comment stands at the beginning of a
line, or is a type (`/** @…`); and a template literal over several lines holds text in which white space at the start of
a line says nothing, and no line that looks like a comment.
"""

from __future__ import annotations

import re

_BLOCK = re.compile(r"^[ \t]*/\*.*?\*/[ \t]*", re.MULTILINE | re.DOTALL)
_TYPE = re.compile(r"/\*\* @[^\n]*?\*/ ?")
_LINE = re.compile(r"^[ \t]*//.*$", re.MULTILINE)
_INDENTATION = re.compile(r"^[ \t]+|[ \t]+$", re.MULTILINE)

SLIMMED = (".js", ".css")


def slim(name: str, text: str) -> str:
    """The text of the file called `name` without comments and indentation; of other kinds than JavaScript and style
    sheets, the text as it is."""
    if not name.endswith(SLIMMED):
        return text
    text = _BLOCK.sub(_newlines, text)
    if name.endswith(".js"):
        text = _LINE.sub("", _TYPE.sub("", text))
    return _INDENTATION.sub("", text)


def _newlines(comment: re.Match[str]) -> str:
    return "\n" * comment.group().count("\n")

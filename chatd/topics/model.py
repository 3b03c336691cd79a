"""The model file: what is in it, how it is read and written, and the first stage's arithmetic.

One zip of numpy arrays and a JSON head, written the same way byte for byte from the same numbers. Nothing in it is
executed: pickles are refused. numpy is imported by this module, so whoever must stay light imports it late.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatd.errors import InvalidInput
from chatd.topics.files import SHIPPED_MODEL
from chatd.topics.names import TOPICS
from chatd.topics.text import BUCKETS, FEATURES_VERSION, character_buckets, normalize, word_buckets

FORMAT = 1
# How much of the doubt that a first label may have is left for a second one.
SECOND_LABEL_DOUBT = 0.3
FILE_BYTES_MAX = 64 * 2**20

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Decision:
    """How logits become labels, of one stage or of both.

    A slope and a shift per stage and topic calibrate; a weight per stage and a shift per language join them, evenly
    weighted as a geometric mean of the odds; a threshold per language says from where on a label is certain.
    """

    slopes: Floats
    shifts: Floats
    weights: dict[str, tuple[float, ...]]
    thresholds: dict[str, float]

    def scores(self, stages: Sequence[Floats], languages: Sequence[str]) -> Floats:
        """Calibrated scores, a row a message and a column a topic."""
        calibrated = [stage * self.slopes[index] + self.shifts[index] for index, stage in enumerate(stages)]
        even = (*[1.0 / len(stages)] * len(stages), 0.0)
        weights = np.array([self.weights.get(language, even) for language in languages], dtype=np.float32)
        logits = sum((stage * weights[:, index : index + 1] for index, stage in enumerate(calibrated)), weights[:, -1:])
        return sigmoid(np.asarray(logits, dtype=np.float32))

    def threshold(self, language: str) -> float:
        return self.thresholds.get(language, max(self.thresholds.values()))

    @staticmethod
    def given(scores: Floats, thresholds: float | Floats) -> NDArray[np.bool_]:
        """Which labels to give. A message mostly has one topic: a second one must be surer than the first."""
        best = scores >= scores.max(axis=1, keepdims=True)
        wanted = np.where(best, thresholds, 1.0 - (1.0 - np.asarray(thresholds)) * SECOND_LABEL_DOUBT)
        return np.asarray(scores >= wanted)


@dataclass(frozen=True)
class Head:
    """The second stage: one hidden layer over a sentence's embedding. `encoder` names what made the embeddings."""

    encoder: str
    first: Floats
    first_bias: Floats
    second: Floats
    second_bias: Floats

    def logits(self, embeddings: Floats) -> Floats:
        hidden = np.maximum(embeddings @ self.first + self.first_bias, 0.0)
        return np.asarray(hidden @ self.second + self.second_bias, dtype=np.float32)


@dataclass(frozen=True)
class Model:
    """`weights` are small whole numbers, a column per topic, times `scales`; `rarity` weighs each bucket of n-grams."""

    weights: NDArray[np.int8]
    scales: Floats
    biases: Floats
    rarity: NDArray[np.uint8]
    rarity_scale: float
    alone: Decision
    head: Head | None = None
    joined: Decision | None = None
    note: str = ""

    def logits(self, text: str) -> Floats:
        """The first stage's opinion on one message, one number per topic."""
        plain = normalize(text)
        buckets, values = features(plain, self.rarity, self.rarity_scale)
        sums = values @ self.weights[buckets].astype(np.float32)
        return np.asarray(sums * self.scales + self.biases, dtype=np.float32)


def features(plain: str, rarity: NDArray[np.uint8], rarity_scale: float) -> tuple[NDArray[np.intp], Floats]:
    """The buckets of a normalized text and their values. Words and characters each have a length of one.

    Buckets that training never met count into that length, so a text of unknown words scores low and stays unlabelled.
    """
    found: list[NDArray[np.intp]] = []
    values: list[Floats] = []
    for one_kind in (word_buckets(plain), character_buckets(plain)):
        buckets = np.fromiter(sorted(one_kind), dtype=np.intp, count=len(one_kind))
        weights = rarity[buckets].astype(np.float32) * np.float32(rarity_scale)
        length = float(np.sqrt((weights * weights).sum()))
        found.append(buckets)
        values.append(weights / np.float32(length or 1.0))
    return np.concatenate(found), np.concatenate(values)


def sigmoid(logits: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -30.0, 30.0))), dtype=np.float32)


def write_model(model: Model, path: Path) -> str:
    """Write the file and give its SHA-256."""
    decisions = {"alone": model.alone, **({"joined": model.joined} if model.joined else {})}
    about = {
        "format": FORMAT,
        "features": FEATURES_VERSION,
        "topics": list(TOPICS),
        "rarity_scale": model.rarity_scale,
        "encoder": model.head.encoder if model.head else None,
        "thresholds": {name: decision.thresholds for name, decision in decisions.items()},
        "weights": {name: decision.weights for name, decision in decisions.items()},
        "note": model.note,
    }
    arrays: dict[str, NDArray[Any]] = {
        "weights": model.weights,
        "scales": model.scales,
        "biases": model.biases,
        "rarity": model.rarity,
    }
    for name, decision in decisions.items():
        arrays |= {f"{name}_slopes": decision.slopes, f"{name}_shifts": decision.shifts}
    if model.head:
        for name in ("first", "first_bias", "second", "second_bias"):
            arrays[f"head_{name}"] = getattr(model.head, name).astype(np.float16)
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        _add(archive, "about.json", json.dumps(about, sort_keys=True, indent=1).encode())
        for name, array in arrays.items():
            one = io.BytesIO()
            np.save(one, np.ascontiguousarray(array), allow_pickle=False)
            _add(archive, f"{name}.npy", one.getvalue())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body.getvalue())
    return hashlib.sha256(body.getvalue()).hexdigest()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, 9)


def read_model(path: Path = SHIPPED_MODEL) -> Model:
    """Read a model file. Raises `InvalidInput` naming the file when it is none, or of another version."""
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InvalidInput(f"{path} is too large for a model of topics ({FILE_BYTES_MAX // 2**20} MiB at most)")
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read("about.json"))
            if (about["format"], about["features"], tuple(about["topics"])) != (FORMAT, FEATURES_VERSION, TOPICS):
                raise InvalidInput(f"{path} was made by another version of chatd; train it anew: chatd topics train")
            arrays = {
                name.removesuffix(".npy"): np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
                for name in archive.namelist()
                if name.endswith(".npy")
            }
        if arrays["weights"].shape != (BUCKETS, len(TOPICS)) or arrays["rarity"].shape != (BUCKETS,):
            raise InvalidInput(f"{path} has arrays of another shape; train it anew: chatd topics train")
        return _assemble(about, arrays)
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"{path} cannot be read as a model of topics ({error})") from None


def _assemble(about: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Model:
    def decision(name: str) -> Decision:
        thresholds = {language: float(value) for language, value in about["thresholds"][name].items()}
        weights = {language: tuple(map(float, values)) for language, values in about["weights"][name].items()}
        return Decision(arrays[f"{name}_slopes"], arrays[f"{name}_shifts"], weights, thresholds)

    head = None
    if about["encoder"]:
        names = ("first", "first_bias", "second", "second_bias")
        head = Head(about["encoder"], *(arrays[f"head_{name}"].astype(np.float32) for name in names))
    return Model(
        weights=arrays["weights"],
        scales=arrays["scales"],
        biases=arrays["biases"],
        rarity=arrays["rarity"],
        rarity_scale=float(about["rarity_scale"]),
        alone=decision("alone"),
        head=head,
        joined=decision("joined") if head else None,
        note=str(about["note"]),
    )


def file_hash(path: Path = SHIPPED_MODEL) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

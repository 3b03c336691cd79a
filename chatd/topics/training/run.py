"""All of the training in order: samples, folds, calibration, the final fit, the file.

`train` is what `make topics` and `chatd topics train` call. It takes minutes and a core; the same corpus, corrections
and seed give the same model on the same release of numpy.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chatd.topics.encoder import Encoder
from chatd.topics.model import Decision, Floats, Head, Model
from chatd.topics.names import TOPICS
from chatd.topics.training.deciding import decide
from chatd.topics.training.fitting import Linear, fit_head, fit_linear, matrix_of, rarity_of
from chatd.topics.training.grammar import FOLDS, Grammar, read_corpus
from chatd.topics.training.measuring import Example, measure
from chatd.topics.training.samples import Correction, Sample, correction_samples, make_samples, targets

SEED = 20
EMBEDDED_AT_ONCE = 64


@dataclass(frozen=True)
class Trained:
    """The model, what it was made of, and how it does on the folds that it did not see."""

    model: Model
    report: dict[str, Any]


def train(
    corpus: Path,
    *,
    corrections: Sequence[Correction] = (),
    encoder: Encoder | None = None,
    seed: int = SEED,
    say: Callable[[str], None] = lambda _: None,
    grammar: Grammar | None = None,
) -> Trained:
    """Train on the corpus and on what staff corrected. Without an encoder the model has its first stage only."""
    grammar = grammar or read_corpus(corpus)
    samples = make_samples(grammar, seed)
    samples += correction_samples(corrections, seed)
    texts = [sample.text for sample in samples]
    right, counts = targets(samples)
    say(f"{len(grammar.templates)} templates, {len(corrections)} corrections, {len(samples)} messages")

    rarity, scale, met = rarity_of(texts)
    matrix = matrix_of(texts, rarity, scale)
    embeddings = _embed(encoder, texts, say) if encoder else None
    folds = np.array([sample.fold for sample in samples])

    first, second = np.zeros_like(right), np.zeros_like(right)
    for fold in range(FOLDS):
        say(f"fold {fold + 1} of {FOLDS}")
        learned, held = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if not len(held) or not len(learned):
            continue
        linear = fit_linear(matrix.take(learned), right[learned], counts[learned], met)
        first[held] = matrix.take(held) @ linear.weights + linear.biases
        if embeddings is not None:
            head = fit_head(embeddings[learned], right[learned], counts[learned], seed)
            second[held] = head.logits(embeddings[held])

    alone, alone_figures = _decide([first], right, counts, samples)
    joined, joined_figures = None, None
    if embeddings is not None:
        joined, joined_figures = _decide([first, second], right, counts, samples)

    say("the final fit")
    linear = fit_linear(matrix, right, counts, met)
    final_head = fit_head(embeddings, right, counts, seed) if embeddings is not None else None
    model = _assemble(linear, rarity, scale, alone, final_head, joined, f"seed {seed}, {len(corrections)} corrections")
    report = {
        "seed": seed,
        "templates": len(grammar.templates),
        "templates_by_language": dict(sorted(Counter(one.language for one in grammar.templates).items())),
        "templates_by_topic": {topic: sum(topic in one.topics for one in grammar.templates) for topic in TOPICS},
        "templates_without_topic": sum(not one.topics for one in grammar.templates),
        "corrections": len(corrections),
        "messages": len(samples),
        "thresholds": {"alone": alone.thresholds, **({"joined": joined.thresholds} if joined else {})},
        "unseen_folds": {"alone": alone_figures, **({"joined": joined_figures} if joined else {})},
    }
    return Trained(model, report)


def _embed(encoder: Encoder, texts: Sequence[str], say: Callable[[str], None]) -> Floats:
    parts = []
    for begin in range(0, len(texts), EMBEDDED_AT_ONCE):
        parts.append(encoder.embed(texts[begin : begin + EMBEDDED_AT_ONCE]))
        if begin and begin % (EMBEDDED_AT_ONCE * 200) == 0:
            say(f"{begin} of {len(texts)} messages embedded")
    return np.concatenate(parts)


def _decide(
    stages: Sequence[Floats], right: Floats, counts: Floats, samples: Sequence[Sample]
) -> tuple[Decision, dict[str, Any]]:
    """Decide on the unseen folds, and say how that does there: an upper bound, for its thresholds were chosen there."""
    decision = decide(stages, right, counts, samples)
    languages = [sample.language for sample in samples]
    thresholds = np.array([[decision.threshold(language)] for language in languages], dtype=np.float32)
    given = decision.given(decision.scores(stages, languages), thresholds)
    plain = [index for index, sample in enumerate(samples) if sample.plain]
    examples = [Example(samples[index].text, samples[index].language, samples[index].topics) for index in plain]
    labels = [{TOPICS[column] for column in np.flatnonzero(given[index])} - samples[index].maybe for index in plain]
    return decision, measure(examples, labels).as_json()


def _assemble(
    linear: Linear,
    rarity: NDArray[np.uint8],
    scale: float,
    alone: Decision,
    head: Head | None,
    joined: Decision | None,
    note: str,
) -> Model:
    weights, scales = linear.quantize()
    return Model(weights, scales, linear.biases, rarity, scale, alone, head, joined, note)


def corpus_hash(corpus: Path) -> str:
    """What the corpus was: the hash of its files in order."""
    digest = hashlib.sha256()
    for path in sorted(corpus.rglob("*.txt")):
        digest.update(path.relative_to(corpus).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()

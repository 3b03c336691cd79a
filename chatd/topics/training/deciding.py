"""Calibration and thresholds, on messages that the fitted model has not seen.

A stage is calibrated by a slope and a shift per topic (Platt), the stages are joined by weights per language,
and a language's threshold is the lowest that keeps two promises on its calibration messages, those without any topic
among them: labels are right, and what has no topic gets none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chatd.topics.model import Decision, Floats
from chatd.topics.names import LANGUAGES
from chatd.topics.training.samples import Sample

# On the corpus, which is harder than most customers: a third has no topic, and much of that is made to mislead.
PRECISION_ASKED = 0.95
FALSE_ON_NONE_ASKED = 0.03
LABELS_MIN = 40  # fewer say nothing about a threshold
THRESHOLD_MIN = 0.5
THRESHOLD_MAX = 0.99
NEWTON_STEPS = 60
# Holds the weights of a language's stages near those that are right for most.
HOLD = 2.0


def calibrate(logits: Floats, right: Floats, counted: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """A slope and a shift per topic; a topic without examples is left as it is."""
    slopes, shifts = np.ones(right.shape[1], np.float32), np.zeros(right.shape[1], np.float32)
    for column in range(right.shape[1]):
        rows = counted[:, column]
        wanted = right[rows, column]
        if wanted.sum() < 5 or (1 - wanted).sum() < 5:
            continue
        slopes[column], shifts[column] = _logistic(logits[rows, column : column + 1], wanted, np.array([1.0]))
    return slopes, shifts


def _logistic(given: Floats, wanted: Floats, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights and a shift of a logistic regression, by Newton's method, held near where they start."""
    terms = np.column_stack([given, np.ones(len(given))]).astype(np.float64)
    start = np.append(start, 0.0)
    found = start.copy()
    for _ in range(NEWTON_STEPS):
        guessed = 1.0 / (1.0 + np.exp(-np.clip(terms @ found, -30, 30)))
        slope = terms.T @ (guessed - wanted) + HOLD * (found - start)
        bend = (terms * (guessed * (1 - guessed))[:, None]).T @ terms + HOLD * np.eye(len(found))
        moved = np.linalg.solve(bend, slope)
        found = found - moved
        if np.abs(moved).max() < 1e-8:
            break
    return found


def decide(stages: Sequence[Floats], right: Floats, counts: Floats, samples: Sequence[Sample]) -> Decision:
    """How to join the stages' logits and when to speak. `stages` are of messages that the stages were not fitted on."""
    counted = counts > 0
    platt = [calibrate(stage, right, counted) for stage in stages]
    slopes = np.stack([slope for slope, _ in platt])
    shifts = np.stack([shift for _, shift in platt])
    calibrated = np.stack([stage * slope + shift for stage, (slope, shift) in zip(stages, platt, strict=True)])
    languages = np.array([sample.language for sample in samples])
    weights: dict[str, tuple[float, ...]] = {}
    for language in LANGUAGES:
        rows = languages == language
        if rows.sum() < LABELS_MIN:
            continue
        chosen = counted[rows]
        given = np.stack([stage[rows][chosen] for stage in calibrated], axis=1)
        # Evenly weighted this is the geometric mean of the odds.
        found = _logistic(given, right[rows][chosen], np.full(len(stages), 1.0 / len(stages)))
        weights[language] = tuple(round(float(value), 4) for value in found)
    open_decision = Decision(slopes, shifts, weights, dict.fromkeys(weights, THRESHOLD_MIN))
    scores = open_decision.scores(stages, list(languages))
    single = np.array([not sample.pair for sample in samples])
    nothing = np.array([not sample.topics and not (sample.maybe - {"none"}) for sample in samples])
    thresholds = {}
    for language in weights:
        rows = (languages == language) & single
        thresholds[language] = _threshold(scores[rows], right[rows], counted[rows], nothing[rows])
    return Decision(slopes, shifts, weights, thresholds)


def _threshold(scores: Floats, right: Floats, counted: NDArray[np.bool_], nothing: NDArray[np.bool_]) -> float:
    """The lowest that keeps the promises, going down as long as they are nearly kept: a few labels less than asked in
    between are chance, a trend is not."""
    chosen = THRESHOLD_MAX
    for threshold in np.arange(THRESHOLD_MAX, THRESHOLD_MIN - 1e-9, -0.01):
        given = Decision.given(scores, float(threshold)) & counted
        labels = int(given.sum())
        if labels < LABELS_MIN:
            continue
        precision = float((given & (right > 0)).sum()) / labels
        false = float(given[nothing].any(axis=1).mean()) if nothing.any() else 0.0
        if precision >= PRECISION_ASKED and false <= FALSE_ON_NONE_ASKED:
            chosen = float(threshold)
        elif precision < PRECISION_ASKED - 0.02 or false > FALSE_ON_NONE_ASKED * 1.3:
            break
    return round(chosen, 2)

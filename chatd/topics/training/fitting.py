"""Fitting the two stages: one logistic regression a topic over n-grams, and a small head over embeddings.

Both are deterministic on one thread: L-BFGS from zero, and Adam over batches in an order drawn from the seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chatd.topics.encoder import NAME
from chatd.topics.model import Floats, Head, features, sigmoid
from chatd.topics.names import TOPICS
from chatd.topics.text import BUCKETS, character_buckets, normalize, word_buckets
from chatd.topics.training.sparse import SparseRows

# An n-gram that fewer messages have says more about the corpus than about the world.
MESSAGES_MIN = 3
RARITY_LEVELS = 255
STRENGTH = 60.0  # the larger, the less the weights are held back
ITERATIONS_MAX = 60
MEMORY = 8
HALVINGS_MAX = 12
TOLERANCE = 3e-5

HIDDEN = 192
EPOCHS = 14
BATCH = 256
RATE = 2e-3
DECAY = 3e-3
NOISE = 0.02
DROPPED_SHARE = 0.3


@dataclass(frozen=True)
class Linear:
    """The first stage in full precision; `quantize` makes it small."""

    weights: Floats
    biases: Floats

    def quantize(self) -> tuple[NDArray[np.int8], Floats]:
        largest = np.abs(self.weights).max(axis=0)
        scales = np.where(largest > 0, largest / 127.0, 1.0).astype(np.float32)
        return np.rint(self.weights / scales).astype(np.int8), scales


def rarity_of(texts: Sequence[str]) -> tuple[NDArray[np.uint8], float, NDArray[np.int64]]:
    """How rare each bucket is, in 255 levels, and in how many messages it was met."""
    met = np.zeros(BUCKETS, dtype=np.int64)
    for text in texts:
        plain = normalize(text)
        for kind in (word_buckets(plain), character_buckets(plain)):
            met[list(kind)] += 1
    rarity = np.log((1.0 + len(texts)) / (1.0 + met)) + 1.0
    scale = float(rarity.max()) / RARITY_LEVELS
    return np.maximum(1, np.rint(rarity / scale)).astype(np.uint8), scale, met


def matrix_of(texts: Sequence[str], rarity: NDArray[np.uint8], scale: float) -> SparseRows:
    """The messages, a row each and a column a bucket."""
    return SparseRows.of([features(normalize(text), rarity, scale) for text in texts], BUCKETS)


def fit_linear(matrix: SparseRows, right: Floats, counts: Floats, met: NDArray[np.int64]) -> Linear:
    """All topics at once: they share the matrix, and its passes through memory are what costs."""
    active = np.flatnonzero(met >= MESSAGES_MIN)
    small = matrix.keep(active)
    turned = small.turned()
    size, topics = len(active), len(TOPICS)
    share = np.clip((right * counts).sum(axis=0) / np.maximum(counts.sum(axis=0), 1e-9), 1e-4, 1 - 1e-4)
    start = np.zeros((size + 1, topics), dtype=np.float32)  # the last row holds the biases
    start[size] = np.log(share / (1 - share))

    def loss(weights: Floats) -> tuple[float, Floats]:
        logits = small @ weights[:size] + weights[size]
        # log(1 + e^-|z|) is the part that cannot overflow.
        costs = np.maximum(logits, 0) - logits * right + np.log1p(np.exp(-np.abs(logits)))
        slope = ((sigmoid(logits) - right) * counts).astype(np.float32)
        gradient = np.empty_like(weights)
        gradient[:size] = turned @ slope + weights[:size] / np.float32(STRENGTH)
        gradient[size] = slope.sum(axis=0)
        return float((costs * counts).sum(dtype=np.float64)) + _dot(weights[:size], weights[:size]) / (
            2 * STRENGTH
        ), gradient

    found = minimize(loss, start)
    weights = np.zeros((BUCKETS, topics), dtype=np.float32)
    weights[active] = found[:size]
    return Linear(weights, found[size].copy())


def _dot(one: Floats, other: Floats) -> float:
    return float(np.vdot(one, other))


def minimize(loss: Callable[[Floats], tuple[float, Floats]], start: Floats) -> Floats:
    """L-BFGS (Nocedal and Wright, algorithms 7.4 and 3.1) in single precision, for functions that are convex."""
    place = start
    value, slope = loss(place)
    past: list[tuple[Floats, Floats, float]] = []
    for _ in range(ITERATIONS_MAX):
        way, shares = slope.copy(), []
        for moved, bent, product in reversed(past):
            shares.append(_dot(moved, way) / product)
            way -= np.float32(shares[-1]) * bent
        if past:
            moved, bent, product = past[-1]
            way *= np.float32(product / _dot(bent, bent))
        else:
            way *= np.float32(1.0 / max(np.sqrt(_dot(slope, slope)), 1e-9))
        for (moved, bent, product), one_share in zip(past, reversed(shares), strict=True):
            way += np.float32(one_share - _dot(bent, way) / product) * moved
        descent = _dot(slope, way)
        step, next_value, next_slope, next_place = 1.0, value, slope, place
        for _ in range(HALVINGS_MAX):
            next_place = place - np.float32(step) * way
            next_value, next_slope = loss(next_place)
            if next_value <= value - 1e-4 * step * descent:
                break
            step /= 2
        else:
            break  # single precision is at its end
        moved, bent = next_place - place, next_slope - slope
        product = _dot(moved, bent)
        if product > 1e-10:
            past = [*past[-(MEMORY - 1) :], (moved, bent, product)]
        settled = value - next_value < TOLERANCE * max(abs(value), 1.0)
        place, value, slope = next_place, next_value, next_slope
        if settled:
            break
    return place


def fit_head(embeddings: Floats, right: Floats, counts: Floats, seed: int) -> Head:
    """One hidden layer, with noise and drop-out against learning sentences by heart."""
    chance = np.random.default_rng(seed)
    width, topics = embeddings.shape[1], right.shape[1]
    parts: list[Floats] = [
        (chance.standard_normal((width, HIDDEN)) * np.sqrt(2.0 / width)).astype(np.float32),
        np.zeros(HIDDEN, dtype=np.float32),
        (chance.standard_normal((HIDDEN, topics)) * np.sqrt(1.0 / HIDDEN)).astype(np.float32),
        np.full(topics, -2.0, dtype=np.float32),
    ]
    means = [np.zeros_like(part) for part in parts]
    squares = [np.zeros_like(part) for part in parts]
    averages = [np.zeros_like(part) for part in parts]
    step = averaged = 0
    scale = np.float32(1.0 / max(float(counts.mean()), 1e-9))
    for epoch in range(EPOCHS):
        rate = RATE * 0.5 * (1 + np.cos(np.pi * epoch / EPOCHS))
        order = chance.permutation(len(embeddings))
        for begin in range(0, len(order), BATCH):
            rows = order[begin : begin + BATCH]
            given = embeddings[rows] + NOISE * chance.standard_normal((len(rows), width), dtype=np.float32)
            kept = (chance.random((len(rows), HIDDEN), dtype=np.float32) > DROPPED_SHARE) / np.float32(
                1 - DROPPED_SHARE
            )
            hidden = np.maximum(given @ parts[0] + parts[1], 0.0)
            used = hidden * kept
            slope = (sigmoid(used @ parts[2] + parts[3]) - right[rows]) * counts[rows] * scale / np.float32(len(rows))
            back = (slope @ parts[2].T) * kept * (hidden > 0)
            gradients = [given.T @ back, back.sum(axis=0), used.T @ slope, slope.sum(axis=0)]
            step += 1
            for index, gradient in enumerate(gradients):
                means[index] = 0.9 * means[index] + 0.1 * gradient
                squares[index] = 0.999 * squares[index] + 0.001 * gradient * gradient
                moved = (means[index] / (1 - 0.9**step)) / (np.sqrt(squares[index] / (1 - 0.999**step)) + 1e-8)
                held = DECAY * parts[index] if parts[index].ndim == 2 else 0.0
                parts[index] = (parts[index] - rate * (moved + held)).astype(np.float32)
        if epoch >= EPOCHS - 4:  # the mean of the last few is steadier than the last
            averaged += 1
            averages = [total + part for total, part in zip(averages, parts, strict=True)]
    first, first_bias, second, second_bias = (total / np.float32(averaged) for total in averages)
    return Head(NAME, first, first_bias, second, second_bias)

"""Train, write the model, and tell what came of it: the figures of unseen folds, and of messages that others wrote."""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy

from chatd.topics.encoder import Encoder, EncoderUnavailable
from chatd.topics.labeller import Labeller
from chatd.topics.model import read_model, write_model
from chatd.topics.training.measuring import Example, measure, read_examples, table
from chatd.topics.training.run import corpus_hash, train
from chatd.topics.training.samples import Correction

TIMED_MESSAGES = 300


def train_and_report(
    corpus: Path,
    output: Path,
    *,
    corrections: Sequence[Correction],
    seed: int,
    second_stage: bool,
    report: Path | None,
    evaluation: Path | None,
    say: Callable[[str], None],
) -> list[str]:
    """All of `make topics`. Gives the lines to print at the end."""
    encoder, load_seconds = None, 0.0
    if second_stage:
        try:
            begun = time.perf_counter()
            encoder = Encoder()
            load_seconds = time.perf_counter() - begun
        except EncoderUnavailable as error:
            say(f"without the second stage: {error}")
    trained = train(corpus, corrections=corrections, encoder=encoder, seed=seed, say=say)
    digest = write_model(trained.model, output)
    told: dict[str, Any] = {
        **trained.report,
        "corpus_sha256": corpus_hash(corpus),
        "model_sha256": digest,
        "model_bytes": output.stat().st_size,
    }
    model = read_model(output)  # what is measured is what was written, small numbers and all
    labellers = {"alone": Labeller(model)} | ({"joined": Labeller(model, encoder)} if encoder else {})
    if evaluation and evaluation.is_dir() and (examples := read_examples(evaluation)):
        told["evaluation"] = {"messages": len(examples)} | {
            name: evaluate(labeller, examples) for name, labeller in labellers.items()
        }
    if report:
        _write_report(report, told)
        costs = report / "costs.json"
        costs.write_text(json.dumps(_costs(labellers, load_seconds), indent=1) + "\n", encoding="utf-8")
    return [f"{output} ({told['model_bytes'] / 2**20:.1f} MiB, SHA-256 {digest})", *_lines(told)]


def evaluate(labeller: Labeller, examples: Sequence[Example]) -> dict[str, Any]:
    """The language is told, as a shop's page tells it."""
    given = labeller.label_many([(example.text, example.language) for example in examples])
    return measure(examples, [[label.topic for label in labels] for labels in given]).as_json()


def _costs(labellers: dict[str, Labeller], load_seconds: float) -> dict[str, Any]:
    """Milliseconds a message, one at a time, and what memory the process came to; these differ from run to run."""
    texts = [f"do you have the blue one in size {number} and when would it be here" for number in range(TIMED_MESSAGES)]
    told: dict[str, Any] = {"python": sys.version.split()[0], "numpy": numpy.__version__, "cores": os.cpu_count()}
    for name, labeller in labellers.items():
        times = []
        for text in texts:
            begun = time.perf_counter()
            labeller.label(text, "en")
            times.append((time.perf_counter() - begun) * 1000)
        told[name] = {"p50_ms": round(statistics.median(times), 3), "p95_ms": round(sorted(times)[-15], 3)}
    told["encoder_load_seconds"] = round(load_seconds, 2)
    told["peak_memory_mib_while_training"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return told


def _write_report(folder: Path, told: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(
        json.dumps(told, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8"
    )
    (folder / "report.md").write_text(
        "\n".join(["# Topics: how the model does", "", *_lines(told), ""]), encoding="utf-8"
    )


def _lines(told: dict[str, Any]) -> list[str]:
    lines = [
        "",
        f"Seed {told['seed']}, {told['corrections']:,} corrections, {told['messages']:,} messages made of them and of",
        f"{told['templates']:,} templates ({told['templates_without_topic']:,} without a topic).",
        f"Model {told['model_sha256']}, {told['model_bytes'] / 2**20:.1f} MiB.",
    ]
    names = {"alone": "first stage alone", "joined": "both stages"}
    for name, figures in told.get("evaluation", {}).items():
        if name != "messages":
            lines += _section(f"Messages written by others, {names[name]}", figures)
    for name, figures in told["unseen_folds"].items():
        lines += _section(f"Unseen folds of the corpus, {names[name]} (thresholds were chosen here)", figures)
    return lines


def _section(title: str, figures: dict[str, Any]) -> list[str]:
    return [
        "",
        f"## {title}",
        "",
        *table({**figures["languages"], "all": figures["total"]}, "language"),
        "",
        *table(figures["topics"], "topic"),
    ]

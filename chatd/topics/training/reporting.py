"""Train, write the model, and tell what came of it: the figures of unseen folds, and of messages that others wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chatd.topics.encoder import Encoder, EncoderUnavailable
from chatd.topics.labeller import Labeller
from chatd.topics.model import read_model, write_model
from chatd.topics.training.costing import cost
from chatd.topics.training.grammar import read_corpus
from chatd.topics.training.measuring import Example, measure, read_examples, table
from chatd.topics.training.run import corpus_hash, train
from chatd.topics.training.samples import Correction


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
    encoder = None
    if second_stage:
        try:
            encoder = Encoder()
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
    examples = read_examples(evaluation) if evaluation and evaluation.is_dir() else []
    if examples:
        told["evaluation"] = _evaluation(labellers, examples, corpus)
    if report:
        _write_report(report, told)
        texts = [example.text for example in examples] or ["where is my order"]
        costs = json.dumps(cost(labellers, output, texts), indent=1)
        (report / "costs.json").write_text(costs + "\n", encoding="utf-8")
    return [f"{output} ({told['model_bytes'] / 2**20:.1f} MiB, SHA-256 {digest})", *_lines(told)]


def _evaluation(labellers: dict[str, Labeller], examples: Sequence[Example], corpus: Path) -> dict[str, Any]:
    """Of all examples, and of those that nobody could have learnt by heart: what everybody asks in the same few words
    is in the corpus, too."""
    known = {(template.language, _words(template.text)) for template in read_corpus(corpus).templates}
    unknown = [example for example in examples if (example.language, _words(example.text)) not in known]
    told: dict[str, Any] = {"messages": len(examples), "messages_not_in_corpus": len(unknown)}
    for name, labeller in labellers.items():
        told[name] = evaluate(labeller, examples)
        told[f"{name}_not_in_corpus"] = evaluate(labeller, unknown)
    return told


def _words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def evaluate(labeller: Labeller, examples: Sequence[Example]) -> dict[str, Any]:
    """The language is told, as a shop's page tells it."""
    given = labeller.label_many([(example.text, example.language) for example in examples])
    return measure(examples, [[label.topic for label in labels] for labels in given]).as_json()


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
        f"Seed {told['seed']}, {told['corrections']:,} corrections, {told['messages']:,} messages made of them and of",
        f"{told['templates']:,} templates ({told['templates_without_topic']:,} without a topic).",
        f"Model {told['model_sha256']}, {told['model_bytes'] / 2**20:.1f} MiB.",
    ]
    names = {"alone": "first stage alone", "joined": "both stages"}
    evaluation = told.get("evaluation", {})
    for name in (name for name in ("joined", "alone") if name in evaluation):
        lines += _section(f"Messages written without sight of the corpus, {names[name]}", evaluation[name])
        title = f"Those of them that are not in the corpus word by word, {names[name]}"
        lines += _section(title, evaluation[f"{name}_not_in_corpus"])
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

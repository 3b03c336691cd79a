"""`chatd topics`: label messages as the server would, and train on a shop's own corrections."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chatd.cli.common import Commands, examples, settings_of_environment
from chatd.errors import InvalidInput
from chatd.resources import corpus_directory
from chatd.topics.files import model_in_force, own_model
from chatd.topics.names import LANGUAGES, TOPICS

if TYPE_CHECKING:
    from chatd.topics.labeller import Labeller
    from chatd.topics.training.samples import Correction

TEXT_CHARACTERS_MAX = 100_000
CORRECTIONS_MAX = 50_000
# Read ahead of the labels for an encoder's sake; each answer still comes in its message's turn.
LINES_AT_ONCE = 32


@click.group("topics", cls=Commands, short_help="What customers write about: label messages, train on corrections.")
def topics_commands() -> None:
    """Topic labels: what a message is about, found by a model on this machine."""


@topics_commands.command(
    "label",
    short_help="Label messages from standard input.",
    epilog=examples(
        """echo '{"text": "where is my parcel"}' | chatd topics label""",
        "chatd topics label < messages.jsonl > labelled.jsonl",
    ),
)
@click.option("--model", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Another model file.")
@click.option("--first-stage-only", is_flag=True, help="Leave the sentence encoder out even if it is installed.")
def label_command(model: Path | None, first_stage_only: bool) -> None:
    """Read one JSON object a line, {"text": ..., "lang": ...} with lang optional, and print one a line:
    {"topics": [{"topic": ..., "score": ...}]}, best first, empty when nothing is certain.

    The decisions are those of the server, by the shop's own model if it has trained one.
    """
    from chatd.topics.labeller import Labeller

    labeller = Labeller.load(
        model or model_in_force(settings_of_environment().data_directory), second_stage=not first_stage_only
    )
    stream = sys.stdin.buffer
    interactive = stream.isatty()
    for batch in _batches(_messages(stream), 1 if interactive else LINES_AT_ONCE):
        _print_labels(labeller, batch)


def _batches(messages: Iterable[tuple[str, str | None]], size: int) -> Iterator[list[tuple[str, str | None]]]:
    batch: list[tuple[str, str | None]] = []
    for message in messages:
        batch.append(message)
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def _print_labels(labeller: Labeller, batch: list[tuple[str, str | None]]) -> None:
    for labels in labeller.label_many(batch):
        found = [{"topic": label.topic, "score": label.score} for label in labels]
        click.echo(json.dumps({"topics": found}))


def _messages(lines: Iterable[bytes]) -> Iterator[tuple[str, str | None]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record = _record(line, f"line {number}")
        lang = record.get("lang")
        if lang is not None and not isinstance(lang, str):
            raise InvalidInput(f"line {number}: lang is {lang!r}; expected a language such as 'en', or no lang")
        yield record["text"][:TEXT_CHARACTERS_MAX], lang


def _record(line: bytes, place: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidInput(f'{place} is no JSON; expected an object such as {{"text": "where is my parcel"}}') from None
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise InvalidInput(f'{place} has no text; expected an object such as {{"text": "where is my parcel"}}')
    return record


@topics_commands.command(
    "train",
    short_help="Train the model on the shop's own corrections.",
    epilog=examples(
        "chatd topics train corrections.jsonl",
        "chatd topics train corrections.jsonl --output try.npz && chatd topics label --model try.npz < messages.jsonl",
    ),
)
@click.argument("corrections", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Where the model goes.")
@click.option("--corpus", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Another corpus.")
@click.option("--report", type=click.Path(file_okay=False, path_type=Path), help="A folder for report.json and .md.")
@click.option("--evaluation", type=click.Path(file_okay=False, path_type=Path), help="Labelled messages to measure on.")
@click.option("--seed", type=int, default=20, show_default=True, help="The same seed gives the same model.")
@click.option("--first-stage-only", is_flag=True, help="Without the sentence encoder, even if it is installed.")
def train_command(
    corrections: Path | None,
    output: Path | None,
    corpus: Path | None,
    report: Path | None,
    evaluation: Path | None,
    seed: int,
    first_stage_only: bool,
) -> None:
    """Train anew on the corpus and on CORRECTIONS: one JSON object a line, {"text": ..., "lang": ..., "topics": [...]},
    as `chatd topics export` writes them; no topics means that there should be none.

    It takes some minutes and one core. Running servers take the new model when they start the next time. To go back to
    the model that came with chatd, remove the file.
    """
    # Before numpy is loaded, which looks at it only then: training must be the same on any number of cores.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        import scipy  # noqa: F401
    except ImportError:
        raise click.ClickException("training needs more packages: pip install 'chatd[training]'") from None
    from chatd.topics.training.reporting import train_and_report

    output = output or own_model(settings_of_environment().data_directory)
    lines = train_and_report(
        corpus or corpus_directory(),
        output,
        corrections=read_corrections(corrections) if corrections else [],
        seed=seed,
        second_stage=not first_stage_only,
        report=report,
        evaluation=evaluation,
        say=lambda line: click.echo(line, err=True),
    )
    for line in lines:
        click.echo(line)


def read_corrections(path: Path) -> list[Correction]:
    """What staff set and removed, one conversation's message a line."""
    from chatd.topics.languages import settle_language
    from chatd.topics.training.samples import Correction

    found = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            place = f"{path}:{number}"
            if not line.strip():
                continue
            record = _record(line, place)
            topics = record.get("topics")
            if not isinstance(topics, list) or not all(topic in TOPICS for topic in topics):
                raise InvalidInput(f"{place}: topics are {topics!r}; expected a list with none or some of {TOPICS}")
            language = settle_language(record["text"], record.get("lang"))
            language = language if language in LANGUAGES else "en"
            found.append(Correction(record["text"][:TEXT_CHARACTERS_MAX], language, frozenset(topics)))
            if len(found) > CORRECTIONS_MAX:
                raise InvalidInput(f"{path} has more than {CORRECTIONS_MAX:,} corrections; take the newest")
    return found

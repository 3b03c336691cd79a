"""Where the files are that are not Python: `static/` for browsers and `templates/` for pages and mails.

In a checkout they stand beside the package; an installed chatd carries them inside it as `_static` and `_templates`
(see `pyproject.toml`). Whoever serves or renders them asks here and knows nothing of the difference.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def static_directory() -> Path:
    """The root of what browsers may load. Raises `FileNotFoundError` when chatd is not installed whole."""
    return _find("static")


def templates_directory() -> Path:
    """The root of the Jinja2 templates. Raises `FileNotFoundError` when chatd is not installed whole."""
    return _find("templates")


def corpus_directory() -> Path:
    """The sentences that the model of topics is trained on, a folder a language."""
    for place in (_PACKAGE / "_corpus", _PACKAGE.parent / "topics" / "corpus"):
        if place.is_dir():
            return place
    raise FileNotFoundError("chatd's corpus of topics is missing; install chatd again, or run it from a whole checkout")


def _find(name: str) -> Path:
    for place in (_PACKAGE / f"_{name}", _PACKAGE.parent / name):
        if place.is_dir():
            return place
    raise FileNotFoundError(f"chatd's folder {name!r} is missing; install chatd again, or run it from a whole checkout")

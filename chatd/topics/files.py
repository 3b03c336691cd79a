"""Where the model is that decides: the shop's own when it has trained one, else the one that chatd ships. No numpy."""

from __future__ import annotations

from pathlib import Path

SHIPPED_MODEL = Path(__file__).with_name("model.npz")
OWN_MODEL_NAME = "topics-model.npz"


def own_model(data_directory: Path) -> Path:
    """Where `chatd topics train` writes, and where the server looks first."""
    return data_directory / OWN_MODEL_NAME


def model_in_force(data_directory: Path) -> Path:
    own = own_model(data_directory)
    return own if own.exists() else SHIPPED_MODEL

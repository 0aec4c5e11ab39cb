"""Published weights from the Hugging Face hub, through its cache and offline mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.models.card import ModelCard, PublishedWeights

PUBLISHED = "published"
"""In place of a path: the authors' weights."""

_FOLDER_FILES = ("*.json", "*.safetensors", "*.txt", "*.jinja", "tokenizer.model")
"""What a folder of published weights is read from; its Python code is not."""


def published_weights(card: ModelCard) -> Path:
    """Return the local path of the card's published weights, downloaded once and cached.

    `HF_HOME` moves the cache and `HF_HUB_OFFLINE=1` forbids the network, as for every library
    that uses the hub.

    Raises ValueError for a model without published weights and FileNotFoundError when the file
    is not cached and the hub cannot be reached.
    """
    weights = published(card)
    from huggingface_hub import hf_hub_download

    with _clear_errors(card, weights, weights.filename):
        return Path(hf_hub_download(weights.repository, weights.filename))


def published_folder(card: ModelCard) -> Path:
    """Return the local folder of the card's published weights, configuration and tokenizer.

    As `published_weights`, with the same errors.
    """
    weights = published(card)
    from huggingface_hub import snapshot_download

    with _clear_errors(card, weights, "the/folder"):
        return Path(snapshot_download(weights.repository, allow_patterns=list(_FOLDER_FILES)))


def published(card: ModelCard) -> PublishedWeights:
    """Return where the card's weights were published. Raises ValueError where they were not."""
    if card.weights is None:
        raise ValueError(
            f"{card.name} has no published weights; give the path of a file, or None (on the "
            "command line: --weights none) for random ones."
        )
    return card.weights


@contextmanager
def _clear_errors(card: ModelCard, weights: PublishedWeights, name: str) -> Iterator[None]:
    """`name`: what a user who downloads it himself would pass."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        yield
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise FileNotFoundError(
            f"The published weights of {card.name} are not in the local cache and could not be "
            f"fetched from huggingface.co/{weights.repository}; go online, or pass "
            f"weights='path/to/{name}' (on the command line: --weights path), or None for random "
            "ones."
        ) from error

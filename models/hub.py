"""Published weights from the Hugging Face hub, through its cache and offline mode."""

from __future__ import annotations

from pathlib import Path

from zoo.models.card import ModelCard

PUBLISHED = "published"
"""In place of a path: the authors' weights."""


def published_weights(card: ModelCard) -> Path:
    """Return the local path of the card's published weights, downloaded once and cached.

    `HF_HOME` moves the cache and `HF_HUB_OFFLINE=1` forbids the network, as for every library
    that uses the hub.

    Raises ValueError for a model without published weights and FileNotFoundError when the file
    is not cached and the hub cannot be reached.
    """
    weights = card.weights
    if weights is None:
        raise ValueError(
            f"{card.name} has no published weights; give the path of a file, or None (on the "
            "command line: --weights none) for random ones."
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(weights.repository, weights.filename))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise FileNotFoundError(
            f"The published weights '{weights.filename}' of {card.name} are not in the local cache "
            f"and could not be fetched from huggingface.co/{weights.repository}; go online, or "
            f"pass weights='path/to/{weights.filename}' (on the command line: --weights path), or "
            "None for random ones."
        ) from error

"""Models of open_clip with the weights and the activation that belong together."""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

LOCAL = "local-dir:"
"""Before a folder that holds configuration and weights, where open_clip takes a name."""
HUB = "hf-hub:"

# What open_clip 3.3.0 raises for weights that it cannot fetch, read or fit.
_OPEN_CLIP_ERRORS = (
    OSError,
    RuntimeError,
    AssertionError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    ImportError,
    pickle.UnpicklingError,
    SafetensorError,
)


def create_open_clip(name: str, weights: str | None, **arguments: Any) -> Any:
    """Return open_clip's model `name` (an architecture, `hf-hub:REPO` or `local-dir:FOLDER`).

    `weights` is a tag or a file for an architecture, None for the other two. Nothing is ever
    random: missing weights raise FileNotFoundError, those that do not fit ValueError. A tag decides
    the activation too (OpenAI's and others need QuickGELU). `arguments` are further ones of
    `open_clip.create_model`.
    """
    import open_clip

    _check_name(name, weights, open_clip.list_models())
    with clear_errors(name, weights):
        return open_clip.create_model(
            name,
            pretrained=weights,
            force_quick_gelu=needs_quick_gelu(name, weights),
            require_pretrained=True,
            **arguments,
        ).eval()


def needs_quick_gelu(name: str, weights: str | None) -> bool:
    """Whether the tag's record asks for QuickGELU, which open_clip 3.3.0 only warns about."""
    from open_clip.pretrained import get_pretrained_cfg

    return weights is not None and bool(get_pretrained_cfg(name, weights).get("quick_gelu"))


def local_place(name: str, weights: str | None) -> Path | None:
    """The file or folder that holds the weights, None where they come from a hub."""
    if name.startswith(LOCAL):
        return Path(name.removeprefix(LOCAL))
    return Path(weights) if weights and Path(weights).exists() else None


@contextmanager
def clear_errors(name: str, weights: str | None) -> Iterator[None]:
    """Turn what open_clip raises about the model `name` into one sentence."""
    try:
        yield
    except _OPEN_CLIP_ERRORS as error:
        reason = str(error).partition("\n")[0]
        raise _failed(name, weights, local_place(name, weights), reason) from error


def _check_name(name: str, weights: str | None, known: list[str]) -> None:
    if name.startswith((LOCAL, HUB)):
        if weights is not None:
            raise ValueError(f"open_clip:{name} has weights of its own; leave out '@{weights}'.")
        return
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "see open_clip.list_models()."
        raise ValueError(f"open_clip has no model {name!r}; {hint}")
    if weights is None:
        raise ValueError(
            f"open_clip:{name} names no weights and would be random; "
            f"write open_clip:{name}@TAG_OR_FILE."
        )


def _failed(name: str, weights: str | None, place: Path | None, reason: str) -> Exception:
    if place is not None and place.exists():
        return ValueError(f"'{place}' does not fit open_clip's {name}: {reason[:200]}")
    return FileNotFoundError(
        f"open_clip cannot get {name} with the weights {weights or 'of its own'} "
        f"({reason[:200]}); go online once, or name a file."
    )

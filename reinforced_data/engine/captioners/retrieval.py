"""The captioner that chooses among sentences of a corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.randomness import keyed_rng
from zoo.reinforced_data.shards.index import ShardIndex

_TEXTS_AT_ONCE = 256


class RetrievalCaptioner:
    """Captions a picture by sentences of a corpus that a teacher finds similar to it.

    Draws distinct sentences from the `top_k` most similar ones, without replacement, with
    probabilities softmax(similarity / temperature) (the Gumbel-top-k trick).
    """

    def __init__(
        self,
        teacher: Teacher,
        candidates: Sequence[str],
        *,
        top_k: int = 20,
        temperature: float = 0.02,
        seed: int = 0,
    ) -> None:
        """Embed `candidates` (doubled ones count once). Raises ValueError when there are none."""
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}; give a number above 0.")
        self._candidates = list(dict.fromkeys(filter(None, candidates)))
        if not self._candidates:
            raise ValueError(
                "There are no candidate captions; give a text file or captioned shards."
            )
        self._teacher = teacher
        self._top_k = min(top_k, len(self._candidates))
        self._temperature = temperature
        self._seed = seed
        starts = range(0, len(self._candidates), _TEXTS_AT_ONCE)
        chunks = [self._candidates[start : start + _TEXTS_AT_ONCE] for start in starts]
        self._embeddings = np.concatenate([teacher.encode_texts(chunk) for chunk in chunks])

    @property
    def settings(self) -> dict[str, Any]:
        """What the captions depend on, as JSON values."""
        return {
            "name": "retrieval",
            "teacher": self._teacher.name,
            "pretrained": self._teacher.pretrained,
            "candidates": len(self._candidates),
            "candidates_sha256": hashlib.sha256("\n".join(self._candidates).encode()).hexdigest(),
            "top_k": self._top_k,
            "temperature": self._temperature,
            "seed": self._seed,
        }

    def captions(
        self, images: Sequence[Image.Image], keys: Sequence[str], count: int
    ) -> list[tuple[str, ...]]:
        """Return `count` distinct captions of each RGB picture, most fitting draw first.

        Raises ValueError when `count` is above top_k or the number of candidates.
        """
        if count > self._top_k:
            raise ValueError(
                f"{count} captions a picture cannot be drawn from the {self._top_k} most similar "
                f"of {len(self._candidates)} candidates; ask for fewer or raise top_k."
            )
        similarities = self._teacher.encode_images(images) @ self._embeddings.T  # (N, candidates)
        return [self._draw(row, key, count) for row, key in zip(similarities, keys, strict=True)]

    def _draw(self, similarities: np.ndarray, key: str, count: int) -> tuple[str, ...]:
        top = np.argsort(-similarities, kind="stable")[: self._top_k]
        noise = keyed_rng(self._seed, "captions", key).gumbel(size=self._top_k)
        order = np.argsort(-(similarities[top] / self._temperature + noise), kind="stable")
        return tuple(self._candidates[i] for i in top[order[:count]])


def read_candidates(path: str | Path) -> list[str]:
    """Return the lines of a utf-8 text file that hold more than white space.

    Raises FileNotFoundError, or ValueError for a file that is not text.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file '{path}'; give a text file, a caption a line.")
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"'{path}' is not utf-8 text; give a text file, a caption a line."
        ) from error
    return [line.strip() for line in lines if line.strip()]


def shard_captions(shards: Sequence[Path], on_error: Literal["stop", "skip"] = "stop") -> list[str]:
    """Return the ground-truth captions of `shards`, in order, each once.

    With on_error="skip", shards and samples that cannot be read have none; else ValueError.
    """
    captions: dict[str, None] = {}
    for shard in shards:
        try:
            index = ShardIndex(shard, on_error)
        except ValueError:
            if on_error == "stop":
                raise
            continue
        for i in range(len(index)):
            try:
                captions |= dict.fromkeys(index.read(i).captions)
            except ValueError:
                if on_error == "stop":
                    raise
    return list(captions)

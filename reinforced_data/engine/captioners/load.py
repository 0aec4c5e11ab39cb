"""From a specification to a captioner."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from zoo.reinforced_data.engine.captioners.coca import CocaCaptioner
from zoo.reinforced_data.engine.captioners.protocol import Captioner
from zoo.reinforced_data.engine.captioners.retrieval import RetrievalCaptioner
from zoo.reinforced_data.engine.captioners.sampling import Sampling
from zoo.reinforced_data.engine.captioners.transformers_captioner import TransformersCaptioner
from zoo.reinforced_data.engine.teachers import Teacher

_GRAMMAR = "retrieval, transformers:MODEL_OR_FOLDER or open_clip:MODEL@TAG_OR_FILE"
_PUBLISHED_SAMPLING = Sampling()


def load_captioner(
    spec: str,
    *,
    teachers: Sequence[Teacher],
    candidates: Callable[[], Sequence[str]],
    seed: int,
    device: str | torch.device = "cpu",
    sampling: Sampling = _PUBLISHED_SAMPLING,
    prompt: str = "",
) -> Captioner:
    """Load the captioner that `spec` names.

    Args:
        spec: `retrieval`; `transformers:MODEL_OR_FOLDER`, a model of the Hugging Face hub or
            saved in a folder; `open_clip:MODEL@TAG_OR_FILE`, a CoCa.
        teachers: the first one chooses for `retrieval`.
        candidates: returns the sentences that `retrieval` chooses from; called for it alone.
        seed: captions are a function of it, the settings and each picture's key and content.
        device: where a model that writes works.
        sampling: how a model that writes draws words.
        prompt: text that a transformers model continues or, one that chats, is asked.

    Raises ValueError for a specification that is not understood, a prompt that would be ignored
    or a model that cannot caption, FileNotFoundError for one that is not here and cannot be
    fetched.
    """
    source, _, name = spec.partition(":")
    if prompt and source != "transformers":
        raise ValueError(f"The captioner {spec!r} takes no prompt; leave {prompt!r} out.")
    if spec == "retrieval":
        return RetrievalCaptioner(teachers[0], candidates(), seed=seed)
    if source == "transformers" and name:
        return TransformersCaptioner(
            name, sampling=sampling, prompt=prompt, seed=seed, device=device
        )
    if source == "open_clip" and name:
        model, _, weights = name.partition("@")
        return CocaCaptioner(model, weights or None, sampling=sampling, seed=seed, device=device)
    raise ValueError(f"The captioner {spec!r} is not understood; write {_GRAMMAR}.")

"""Captions by the image-to-text models of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from zoo.reinforced_data.engine.captioners.sampling import Sampling, sample_captions
from zoo.reinforced_data.engine.fingerprint import fingerprint
from zoo.reinforced_data.engine.frozen import frozen
from zoo.reinforced_data.randomness import keyed_rng

_QUESTION = "Describe this picture in one sentence."
"""What a model that chats is asked where no prompt is given."""

_WITHOUT_PROMPT = ("git", "vision-encoder-decoder")

# Whatever a model's own generation settings ask for, the only choice left is ours.
_PLAIN_SAMPLING = {
    "do_sample": True,
    "num_beams": 1,
    "top_k": 0,
    "top_p": 1.0,
    "temperature": 1.0,
}

# What transformers raises for models that it cannot fetch, read or run.
_LOADING_ERRORS = (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError)

# What models raise for inputs that they cannot use.
_GENERATION_ERRORS = (
    RuntimeError,
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
)


class TransformersCaptioner:
    """Lets an image-to-text model write about pictures: BLIP, BLIP-2, GIT, encoder-decoders such
    as ViT-GPT2, and those that chat, such as LLaVA.

    One picture at a time, all its captions together: neighbours change neither chance nor
    rounding. Weights are never random, and no code of a model's author is run.
    """

    def __init__(
        self,
        model: str,
        *,
        sampling: Sampling,
        prompt: str = "",
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        """Load `model`, a name on the Hugging Face hub or a folder, and let it write a word.

        `prompt` is text to continue (BLIP keeps it in front of its caption), or what a model
        that chats is asked. Raises ValueError for a model that cannot caption, FileNotFoundError
        for one that is not here and cannot be fetched.
        """
        loaded, self._processor = _load(model)
        self._model = frozen(loaded).to(device)
        self._text = _prompt_text(self._processor, self._model.config.model_type, prompt)
        self._sampling = sampling
        self._seed = seed
        self._name = {
            "model": Path(model).name,
            "pretrained": _revision(model, self._model.config),
            "prompt": self._text or "",
        }
        self._try(model)

    @property
    def settings(self) -> dict[str, Any]:
        """What the captions depend on, as JSON values."""
        return {"name": "transformers", **self._name, **asdict(self._sampling), "seed": self._seed}

    def captions(
        self, images: Sequence[Image.Image], keys: Sequence[str], count: int
    ) -> list[tuple[str, ...]]:
        """Return `count` captions of each RGB picture, a line each.

        Raises ValueError that names a picture of which the model writes nothing.
        """
        return [self._caption(*named, count) for named in zip(images, keys, strict=True)]

    def _caption(self, image: Image.Image, key: str, count: int) -> tuple[str, ...]:
        inputs = self._inputs(image)

        def write(rng: np.random.Generator, wanted: int) -> list[str]:
            return self._write(inputs, rng, wanted, self._sampling.max_tokens)

        return sample_captions(write, seed=self._seed, key=key, count=count)

    def _inputs(self, image: Image.Image) -> dict[str, Tensor]:
        if self._text is None:
            inputs = self._processor.image_processor(images=image, return_tensors="pt")
        else:
            inputs = self._processor(images=image, text=self._text, return_tensors="pt")
        return inputs.to(self._model.device, self._model.dtype)

    @torch.inference_mode()
    def _write(
        self, inputs: dict[str, Tensor], rng: np.random.Generator, wanted: int, max_tokens: int
    ) -> list[str]:
        def keep_the_drawn(_: Tensor, logits: Tensor) -> Tensor:
            # Leaves the global generator, which `generate` draws from, one token to choose.
            drawn = self._sampling.draw(logits, rng)
            return torch.full_like(logits, -torch.inf).scatter_(1, drawn, 0)

        ids = self._model.generate(
            **inputs,
            logits_processor=[keep_the_drawn],
            num_return_sequences=wanted,
            max_new_tokens=max_tokens,
            **_PLAIN_SAMPLING,
        )
        return self._processor.tokenizer.batch_decode(
            _without_prompt(ids, inputs.get("input_ids")), skip_special_tokens=True
        )

    def _try(self, model: str) -> None:
        image = Image.new("RGB", (256, 256), "grey")
        try:
            self._write(self._inputs(image), keyed_rng("trial"), wanted=1, max_tokens=1)
        except _GENERATION_ERRORS as error:
            raise ValueError(
                f"transformers:{model} cannot caption a picture ({_first_line(error)}); "
                "it may need a prompt, or give another model."
            ) from error


class _Processor(NamedTuple):
    """Stands in where a model has no processor that joins both, as encoder-decoders have none."""

    image_processor: Any
    tokenizer: Any


def _load(name: str) -> tuple[Any, Any]:
    """Return model and processor; refuses random weights and code from elsewhere."""
    try:
        from transformers import AutoModelForImageTextToText
    except ImportError as error:
        raise ValueError(
            f"The captioner transformers:{name} needs transformers; install zoo[vlm]."
        ) from error
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            name, dtype="auto", trust_remote_code=False, output_loading_info=True
        )
        model, report = loaded
        processor = _load_processor(name, model.config.model_type)
    except _LOADING_ERRORS as error:
        raise _cannot_load(name, error) from error
    absent = sorted(report["missing_keys"]) + [key for key, *_ in report["mismatched_keys"]]
    if absent:
        raise ValueError(
            f"The weights of transformers:{name} lack {absent[0]} and {len(absent) - 1} others, "
            "which would be random; give a complete model."
        )
    return model, processor


def _load_processor(name: str, model_type: str) -> Any:
    from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer

    if model_type == "vision-encoder-decoder":
        load = {"pretrained_model_name_or_path": name, "trust_remote_code": False}
        return _Processor(
            AutoImageProcessor.from_pretrained(**load), AutoTokenizer.from_pretrained(**load)
        )
    return AutoProcessor.from_pretrained(name, trust_remote_code=False)


def _cannot_load(name: str, error: Exception) -> Exception:
    if Path(name).is_dir():
        return ValueError(
            f"'{name}' holds no image-to-text model that transformers can read "
            f"({_first_line(error)}); give a folder with model, tokenizer and image processor."
        )
    if isinstance(error, OSError):
        return FileNotFoundError(
            f"transformers cannot get {name} ({_first_line(error)}); "
            "check the name and go online once, or name a folder."
        )
    return ValueError(
        f"transformers:{name} is no image-to-text model that zoo can run ({_first_line(error)})."
    )


def _prompt_text(processor: Any, model_type: str, prompt: str) -> str | None:
    """What the processor gets as text, None for nothing."""
    if prompt and model_type in _WITHOUT_PROMPT:
        raise ValueError(f"A {model_type} model captions without a prompt; leave {prompt!r} out.")
    if getattr(processor, "chat_template", None) is None:
        return prompt or None
    content = [{"type": "image"}, {"type": "text", "text": prompt or _QUESTION}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )


def _without_prompt(ids: Tensor, prompt: Tensor | None) -> Tensor:
    if prompt is not None and torch.equal(ids[:, : prompt.shape[1]], prompt.expand(len(ids), -1)):
        return ids[:, prompt.shape[1] :]
    return ids


def _revision(name: str, config: Any) -> str:
    folder = Path(name)
    return fingerprint(folder) if folder.is_dir() else f"{name} {config._commit_hash}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]

"""transformers' models as candidates: its FastVLM, and the shapes of LLaVA-1.5 and OneVision.

Towers and projectors have random weights, on which time does not depend; the language model is the
one that zoo's candidate has.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from zoo.eval.ttft.candidate import QUESTION, Description, Lap
from zoo.eval.ttft.ours import language_model_name
from zoo.models.fastvlm.language_model import import_transformers
from zoo.models.fastvlm.packed import PackedLinear
from zoo.models.fastvlm.prompt import DEFAULT_SYSTEM_PROMPT, END, PAD, START
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel

_IMAGE_TOKEN = PAD
"""No prompt has it otherwise, and the language model has an embedding for it."""
_PROMPT = (
    f"{START}system\n{DEFAULT_SYSTEM_PROMPT}{END}\n"
    f"{START}user\n{_IMAGE_TOKEN}\n{QUESTION}{END}\n{START}assistant\n"
)
_PLACEHOLDER = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
_PLACEHOLDER |= {"num_key_value_heads": 1, "intermediate_size": 8}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A peer before its language model is put in."""

    model: Any
    processor: Any
    image_size: int


class TransformersCandidate:
    """A model of transformers with its processor, from a file to its first token."""

    def __init__(self, shape: Shape, of: VisionLanguageModel, name: str, dtype: str) -> None:
        """`of`: zoo's model, whose language model, device and number format are taken over."""
        weight = next(of.projector.parameters())
        self.language_model = _as_transformers_has_it(of.language_model)
        self._device, self._weight_dtype = weight.device, weight.dtype
        self._model = shape.model.to(self._device, self._weight_dtype).eval()
        self._processor = shape.processor
        self._name, self._dtype, self._size = name, dtype, shape.image_size
        self._language_model_name = language_model_name(of.card)
        self._tokens: tuple[int, int] | None = None
        self._put_in(self.language_model)

    def _put_in(self, language_model: Any) -> None:
        model = self._model
        model.model.language_model = language_model.get_decoder()
        model.lm_head = language_model.get_output_embeddings()
        model.config.text_config = language_model.config

    @property
    def description(self) -> Description:
        """What the table says of it; known after the first answer."""
        assert self._tokens is not None
        visual_tokens, text_tokens = self._tokens
        return Description(
            model=self._name,
            image_size=self._size,
            visual_tokens=visual_tokens,
            text_tokens=text_tokens,
            language_model=self._language_model_name,
            dtype=self._dtype,
            device=str(self._device),
            tower_parameters=sum(p.numel() for p in self._model.model.vision_tower.parameters()),
        )

    @torch.no_grad()
    def staged(self, picture: Path, lap: Lap) -> int:
        """Return the first token, calling `lap` after each part."""
        inputs = self._inputs(picture)
        lap("decode_preprocess")
        model = self._model
        handles = [
            model.model.vision_tower.register_forward_hook(lambda *_: lap("vision")),
            model.model.multi_modal_projector.register_forward_hook(lambda *_: lap("projector")),
        ]
        try:
            logits = model(**inputs, use_cache=True, logits_to_keep=1).logits
        finally:
            for handle in handles:
                handle.remove()
        lap("prefill")
        token = int(logits[0, -1].argmax())
        lap("first_token")
        return token

    @torch.no_grad()
    def first_token(self, picture: Path) -> str:
        """Answer with one token by the processor and `generate`."""
        inputs = self._inputs(picture)
        said = self._model.generate(**inputs, max_new_tokens=1, do_sample=False, pad_token_id=0)
        return self._processor.tokenizer.decode(said[0, inputs["input_ids"].shape[1] :])

    def _inputs(self, picture: Path) -> Any:
        image = Image.open(picture).convert("RGB")
        inputs = self._processor(images=image, text=_PROMPT, return_tensors="pt")
        inputs = inputs.to(self._device, self._weight_dtype)
        visual = int((inputs["input_ids"] == self._model.config.image_token_id).sum())
        self._tokens = visual, inputs["input_ids"].shape[1] - visual
        return inputs


def _as_transformers_has_it(language_model: Any) -> Any:
    """Return a language model of the same parameters, without the layers that zoo put in."""
    shared = {id(one): one for one in (*language_model.parameters(), *language_model.buffers())}
    plain = copy.deepcopy(language_model, shared)
    for name, layer in list(plain.named_modules()):
        if isinstance(layer, PackedLinear):
            plain.set_submodule(name, layer.unpacked())
    return plain


def fastvlm(of: VisionLanguageModel, image_sizes: Sequence[int]) -> list[Shape]:
    """Return transformers' FastVLM around the tower that the card of `of` names: one model with a
    processor for each size.

    Its tower gets timm's initialisation: transformers' own underflows to denormal numbers, on
    which a CPU is fifteen times slower.
    """
    import timm

    transformers, architecture = import_transformers(), of.card.image
    arguments: dict[str, Any] = {**architecture.overrides, "inference_mode": True}
    vision = {
        "model_type": "timm_wrapper",
        "architecture": architecture.timm_name,
        "model_args": arguments,
        "global_pool": "avg",
        "do_pooling": True,
        "hidden_size": of.card.feature_dim,
    }
    model = _build(
        transformers.FastVlmForConditionalGeneration,
        transformers.FastVlmConfig,
        of,
        vision_config=vision,
    )
    tower = timm.create_model(architecture.timm_name, num_classes=0, **arguments)
    model.model.vision_tower.timm_model.load_state_dict(tower.state_dict())
    processors = [
        transformers.LlavaProcessor(
            _clip_processor(size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
            of.tokenizer,
            patch_size=of.card.stride,
            vision_feature_select_strategy="full",
            num_additional_image_tokens=0,
            image_token=_IMAGE_TOKEN,
        )
        for size in image_sizes
    ]
    return [
        Shape(model=model, processor=processor, image_size=size)
        for processor, size in zip(processors, image_sizes, strict=True)
    ]


def llava_1_5(of: VisionLanguageModel, *, small: bool) -> Shape:
    """Return the shape of LLaVA-1.5: CLIP's ViT-L/14 at 336 pixels, 576 tokens (arXiv 2310.03744).

    `small`: a tower of two layers, for quick runs.
    """
    size = 56 if small else 336
    vision = _transformer(size, 64 if small else 1024, 2 if small else 24)
    vision |= {"model_type": "clip_vision_model", "intermediate_size": 128 if small else 4096}
    return _llava(of, vision, has_class_token=True)


def siglip_so400m(of: VisionLanguageModel, *, small: bool) -> Shape:
    """Return the shape of LLaVA with SigLIP-SO400M/14 at 384 pixels, 729 tokens: the peer of the
    3.2× of arXiv 2412.13303, figure 1. `small`: a tower of two layers."""
    return _llava(of, _so400m(small=small), has_class_token=False)


def llava_onevision(of: VisionLanguageModel, *, small: bool) -> Shape:
    """Return the shape of LLaVA-OneVision: SigLIP-SO400M/14 at 384 pixels on the whole picture and
    on 3 × 3 tiles of it (arXiv 2408.03326).

    A square picture has 7290 tokens and transformers puts a new-line token behind each of the 81
    rows of the tiles. `small`: a tower of two layers on 2 × 2 tiles.
    """
    transformers = import_transformers()
    vision = _so400m(small=small)
    size, tiles = vision["image_size"], 2 if small else 3
    grid = [[size * tiles, size * tiles]]
    model = _build(
        transformers.LlavaOnevisionForConditionalGeneration,
        transformers.LlavaOnevisionConfig,
        of,
        vision_config=vision,
        image_grid_pinpoints=grid,
    )
    processor = transformers.LlavaOnevisionProcessor(
        transformers.LlavaOnevisionImageProcessor(
            size={"height": size, "width": size}, image_grid_pinpoints=grid
        ),
        of.tokenizer,
        transformers.LlavaOnevisionVideoProcessor(),
        num_image_tokens=(size // 14) ** 2,
        vision_feature_select_strategy="full",
        image_token=_IMAGE_TOKEN,
    )
    return Shape(model=model, processor=processor, image_size=size * tiles)


def _llava(of: VisionLanguageModel, vision: dict[str, Any], *, has_class_token: bool) -> Shape:
    transformers, size = import_transformers(), vision["image_size"]
    selection = {"vision_feature_select_strategy": "default" if has_class_token else "full"}
    model = _build(
        transformers.LlavaForConditionalGeneration,
        transformers.LlavaConfig,
        of,
        vision_config=vision,
        **selection,
    )
    processor = transformers.LlavaProcessor(
        _clip_processor(size),
        of.tokenizer,
        patch_size=14,
        num_additional_image_tokens=int(has_class_token),
        image_token=_IMAGE_TOKEN,
        **selection,
    )
    return Shape(model=model, processor=processor, image_size=size)


def _so400m(*, small: bool) -> dict[str, Any]:
    vision = _transformer(56 if small else 384, 64 if small else 1152, 2 if small else 26)
    intermediate = {"intermediate_size": 128 if small else 4304}
    return vision | intermediate | {"model_type": "siglip_vision_model", "vision_use_head": False}


def _transformer(size: int, width: int, layers: int) -> dict[str, Any]:
    numbers = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 16}
    return numbers | {"image_size": size, "patch_size": 14}


def _build(
    model_class: Callable[[Any], nn.Module],
    config_class: Any,
    of: VisionLanguageModel,
    **settings: Any,
) -> Any:
    """Build a model whose language model is a placeholder of the right width."""
    width = of.language_model.config.hidden_size
    image_token = of.tokenizer.convert_tokens_to_ids(_IMAGE_TOKEN)
    text = {"model_type": "qwen2"} | _PLACEHOLDER
    text |= {"hidden_size": width, "vocab_size": image_token + 1}
    config = config_class(text_config=text, image_token_index=image_token, **settings)
    return model_class(config)


def _clip_processor(
    size: int,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Any:
    """CLIP's, as the published configurations have it: shorter side resized, centre cropped."""
    normalisation = {} if mean is None else {"image_mean": mean, "image_std": std}
    return import_transformers().CLIPImageProcessor(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}, **normalisation
    )

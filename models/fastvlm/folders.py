"""FastVLM as the folders that Apple's own code and transformers load.

Apple's `llava_qwen2`: `config.json` as `llava_qwen.py` writes it. transformers' `fast_vlm`:
`FastVlmForConditionalGeneration`, with a `LlavaProcessor` that pads pictures as in training (the
conversions on the hub crop them, and lose the sides of a wide page).
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch

from zoo.models.card import Naming
from zoo.models.checkpoint import StateDict, write_state
from zoo.models.fastvlm.assemble import export_state
from zoo.models.fastvlm.language_model import write_tokenizer
from zoo.models.fastvlm.prompt import DEFAULT_SYSTEM_PROMPT, END, IMAGE_TOKEN, START
from zoo.models.fastvlm.settings import CONFIG
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.whole_folder import whole_folder

SHARD_BYTES = 5 * 10**9
"""Of one weights file; as large as transformers' own."""
_ROWS_MULTIPLE = 64
_BICUBIC = 3
_LONGEST_PROMPT = 8192
"""`tokenizer_model_max_length` of the published configurations."""

_CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    f"{START}system\n{DEFAULT_SYSTEM_PROMPT}{END}\n"
    "{% endif %}"
    f"{START}{{{{ message['role'] }}}}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}"
    f"{IMAGE_TOKEN}\n"
    "{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    f"{{% endif %}}{END}\n"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{START}assistant\n{{% endif %}}"
)
"""As `prompt.py`: every picture on a line of its own, before the question."""


def write_folder(model: VisionLanguageModel, folder: Path, naming: Naming) -> None:
    """Write weights, configuration and tokenizer as Apple's or transformers' folder.

    The folder is whole or absent. Its tower must be merged, as both projects build it. In
    transformers' naming the picture's place is a token of its own, after the tokenizer's: where the
    embedding has no row left for it, rows are added, up to a multiple of 64, as the mean of the
    others.

    Raises ValueError for a folder that is there already, and for a model without a tokenizer or
    that the naming cannot hold.
    """
    write = _write_apple if naming == "apple" else _write_transformers
    with whole_folder(folder) as place:
        write(model, place)


def write_shards(state: StateDict, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write `model.safetensors`, or several of at most `shard_bytes` and the index that lists them.

    A single tensor may be larger.
    """
    shards = _shards(state, shard_bytes)
    if len(shards) == 1:
        write_state(state, folder / "model.safetensors", {"format": "pt"})
        return
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        write_state(shard, folder / name, {"format": "pt"})
        places.update(dict.fromkeys(shard, name))
    index = {"metadata": {"total_size": _bytes(state)}, "weight_map": places}
    _write_json(index, folder / "model.safetensors.index.json")


def _write_apple(model: VisionLanguageModel, folder: Path) -> None:
    write_shards(export_state(model, "apple"), folder)
    _write_json(_apple_config(model), folder / CONFIG)
    _write_json(_generation_config(model), folder / "generation_config.json")
    write_tokenizer(model.tokenizer, folder)


def _write_transformers(model: VisionLanguageModel, folder: Path) -> None:
    if model.views.grids:
        raise ValueError(
            "transformers' FastVLM has no AnyRes tiles; write the model in zoo's or Apple's naming."
        )
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    image_token = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    state = _with_row(export_state(model, "transformers"), image_token)
    write_shards(state, folder)
    _write_json(_transformers_config(model, image_token, _rows(state)), folder / CONFIG)
    _write_json(_generation_config(model), folder / "generation_config.json")
    _write_json(_image_processor(model), folder / "preprocessor_config.json")
    _write_json(_processor(model), folder / "processor_config.json")
    write_tokenizer(tokenizer, folder)
    (folder / "chat_template.jinja").write_text(_CHAT_TEMPLATE, encoding="utf-8")


def _apple_config(model: VisionLanguageModel) -> dict[str, Any]:
    size, grids = model.preprocessing.image_size, model.views.grids
    aspect = "pad" if model.preprocessing.aspect == "pad" else None
    language = model.card.language
    return {
        **language.numbers,
        **_special_ids(model),
        "architectures": ["LlavaQwen2ForCausalLM"],
        "model_type": f"llava_{language.model_type}",
        "torch_dtype": _dtype(model),
        "mm_vision_tower": f"mobileclip_l_{size}",
        "mm_projector_type": "mlp2x_gelu",
        "mm_hidden_size": model.card.feature_dim,
        "mm_patch_merge_type": "flat",
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "use_mm_proj": True,
        "unfreeze_mm_vision_tower": True,
        "image_aspect_ratio": "anyres" if grids else aspect,
        "image_grid_pinpoints": [[columns * size, rows * size] for columns, rows in grids] or None,
        "tokenizer_model_max_length": _LONGEST_PROMPT,
        "tokenizer_padding_side": "right",
    }


def _transformers_config(model: VisionLanguageModel, image_token: int, rows: int) -> dict[str, Any]:
    language = model.card.language
    tied = bool(language.numbers.get("tie_word_embeddings"))
    return {
        "architectures": ["FastVlmForConditionalGeneration"],
        "model_type": "fast_vlm",
        "dtype": _dtype(model),
        "image_token_index": image_token,
        "image_seq_length": model.tokens_per_view,
        "multimodal_projector_bias": True,
        "projector_hidden_act": "gelu",
        "tie_word_embeddings": tied,
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "text_config": {
            **language.numbers,
            **_special_ids(model),
            "model_type": language.model_type,
            "vocab_size": rows,
        },
        "vision_config": {
            "model_type": "timm_wrapper",
            "architecture": model.card.image.timm_name,
            "do_pooling": True,
            "global_pool": "avg",
            "hidden_size": model.card.feature_dim,
            "initializer_range": 0.02,
            "model_args": {"inference_mode": True, **model.card.image.overrides},
        },
    }


def _image_processor(model: VisionLanguageModel) -> dict[str, Any]:
    settings = model.preprocessing
    return {
        "image_processor_type": "LlavaImageProcessor",
        "processor_class": "LlavaProcessor",
        "do_convert_rgb": True,
        "do_pad": settings.aspect == "pad",
        "do_resize": True,
        "size": {"shortest_edge": settings.image_size},
        "resample": _BICUBIC,
        "do_center_crop": True,
        "crop_size": {"height": settings.image_size, "width": settings.image_size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": settings.mean,
        "image_std": settings.std,
    }


def _processor(model: VisionLanguageModel) -> dict[str, Any]:
    return {
        "processor_class": "LlavaProcessor",
        "image_token": IMAGE_TOKEN,
        "patch_size": model.card.stride,
        "num_additional_image_tokens": 0,
        "vision_feature_select_strategy": "full",
    }


def _generation_config(model: VisionLanguageModel) -> dict[str, Any]:
    """Greedy, unlike the published one, which samples where nothing is asked."""
    return {**_special_ids(model), "do_sample": False}


def _special_ids(model: VisionLanguageModel) -> dict[str, Any]:
    tokenizer = model.tokenizer
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    return {name: value for name, value in ids.items() if value is not None}


def _dtype(model: VisionLanguageModel) -> str:
    embedding = model.language_model.get_input_embeddings().weight
    return str(embedding.dtype).removeprefix("torch.")


_EMBEDDINGS = ("model.language_model.embed_tokens.weight", "lm_head.weight")


def _rows(state: StateDict) -> int:
    return state[_EMBEDDINGS[0]].shape[0]


def _with_row(state: StateDict, token: int) -> StateDict:
    """Lengthen the embeddings, if need be, so that `token` has a row."""
    if token < _rows(state):
        return state
    added = -(-(token + 1) // _ROWS_MULTIPLE) * _ROWS_MULTIPLE - _rows(state)
    longer = {key: _lengthened(state[key], added) for key in _EMBEDDINGS if key in state}
    return state | longer


def _lengthened(rows: torch.Tensor, added: int) -> torch.Tensor:
    mean = rows.float().mean(dim=0, keepdim=True).to(rows.dtype)
    return torch.cat([rows, mean.expand(added, -1)])


def _shards(state: StateDict, shard_bytes: int) -> list[StateDict]:
    shards: list[StateDict] = [{}]
    for key, value in state.items():
        if shards[-1] and _bytes(shards[-1]) + value.nbytes > shard_bytes:
            shards.append({})
        shards[-1][key] = value
    return shards


def _bytes(state: StateDict) -> int:
    return sum(value.nbytes for value in state.values())


def _write_json(content: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

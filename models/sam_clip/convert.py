"""`zoo convert` for SAM-CLIP and the SAM inside of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from zoo.models.card import Naming, SamClipCard
from zoo.models.checkpoint import StateDict, read_checkpoint, save_weights, write_state
from zoo.models.registry import get_card_of
from zoo.models.sam_clip.assemble import assemble
from zoo.models.sam_clip.keys import export_sam
from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.models.whole_folder import whole_folder


def convert_sam_clip(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    model: str,
    naming: Naming = "zoo",
    reparameterize: bool = False,
) -> None:
    """Read the SAM-CLIP `model`, or a SAM, at `source` and write it to `target`, values unchanged.

    `naming` "zoo" writes all that there is. The other two write its tower, prompt encoder and mask
    decoder, which are a SAM: "sam" a file of the original's keys, "transformers" a folder for
    `SamModel` and `SamProcessor`.

    Raises ValueError for weights that do not fit, a naming that SAM does not have, or a folder that
    is there already.
    """
    card = get_card_of(SamClipCard, model)
    if naming in ("open_clip", "apple"):
        raise ValueError(
            f"{naming} has no {card.name}; write it in zoo's naming, or its SAM in sam's or "
            "transformers'."
        )
    converted = assemble(card, read_checkpoint(source))
    if naming == "zoo":
        save_weights(converted.reparameterize() if reparameterize else converted, target)
        return
    state = export_sam(converted.state_dict(), card.name, naming)
    if naming == "sam":
        write_state(state, Path(target))
        return
    _write_folder(converted, state, Path(target))


def _write_folder(model: SamClipModel, state: StateDict, folder: Path) -> None:
    with whole_folder(folder) as place:
        write_state(state, place / "model.safetensors", {"format": "pt"})
        for name, content in (
            ("config.json", transformers_config(model)),
            ("preprocessor_config.json", _image_processor(model)),
        ):
            (place / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def transformers_config(model: SamClipModel) -> dict[str, Any]:
    """Return the configuration of transformers' `SamModel` that is this model's SAM.

    The original's LayerNorms between tokens and picture have torch's epsilon, 1e-5, where
    transformers would take 1e-6.
    """
    tower: Any = model.image_encoder
    decoder, patch = model.card.decoder, model.card.stride
    side = {"image_size": tower.pos_embed.shape[1] * patch, "patch_size": patch}
    return {
        "architectures": ["SamModel"],
        "model_type": "sam",
        "vision_config": {
            **side,
            **_tower_numbers(tower),
            "output_channels": decoder.width,
            "num_pos_feats": decoder.width // 2,
        },
        "prompt_encoder_config": {
            **side,
            "hidden_size": decoder.width,
            "mask_input_channels": decoder.mask_channels,
        },
        "mask_decoder_config": {
            "hidden_size": decoder.width,
            "num_hidden_layers": decoder.depth,
            "num_attention_heads": decoder.heads,
            "mlp_dim": decoder.mlp_width,
            "iou_head_hidden_dim": decoder.iou_width,
            "layer_norm_eps": 1e-5,
        },
    }


def _tower_numbers(tower: Any) -> dict[str, Any]:
    windows = [block.window_size for block in tower.blocks]
    return {
        "hidden_size": tower.embed_dim,
        "num_hidden_layers": len(windows),
        "num_attention_heads": tower.blocks[0].attn.num_heads,
        "mlp_dim": tower.blocks[0].mlp.fc1.out_features,
        "window_size": max(windows),
        "global_attn_indexes": [index for index, size in enumerate(windows) if size == 0],
    }


def _image_processor(model: SamClipModel) -> dict[str, Any]:
    side, settings = model.card.mask_image_size, model.preprocessing
    return {
        "image_processor_type": "SamImageProcessor",
        "processor_class": "SamProcessor",
        "size": {"longest_edge": side},
        "pad_size": {"height": side, "width": side},
        "mask_size": {"longest_edge": side // 4},
        "mask_pad_size": {"height": side // 4, "width": side // 4},
        "image_mean": settings.mean,
        "image_std": settings.std,
    }

"""A small SAM of transformers' with random weights, and its heads under the original's names."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.card import MaskDecoderConfig

GRID, SIDE = 6, 96
DECODER = MaskDecoderConfig(width=32, heads=4, mlp_width=48, mask_channels=16, iou_width=24)

_NAMES = (
    (r"^point_embed\.", "point_embeddings."),
    (r"shared_embedding\.positional_embedding", "pe_layer.positional_encoding_gaussian_matrix"),
    (r"mask_embed\.conv1", "mask_downscaling.0"),
    (r"mask_embed\.layer_norm1", "mask_downscaling.1"),
    (r"mask_embed\.conv2", "mask_downscaling.3"),
    (r"mask_embed\.layer_norm2", "mask_downscaling.4"),
    (r"mask_embed\.conv3", "mask_downscaling.6"),
    (r"layer_norm_final_attn", "norm_final_attn"),
    (r"layer_norm([1-4])", r"norm\1"),
    (r"upscale_conv1", "output_upscaling.0"),
    (r"upscale_layer_norm", "output_upscaling.1"),
    (r"upscale_conv2", "output_upscaling.3"),
    (r"((?:mlps\.\d|head))\.layers\.0", r"\1.layers.1"),
    (r"((?:mlps\.\d|head))\.proj_in", r"\1.layers.0"),
    (r"((?:mlps\.\d|head))\.proj_out", r"\1.layers.2"),
)


def small_transformers_sam(seed: int = 0) -> Any:
    """Return a `SamModel` of one tower layer with DECODER's heads; every parameter is random, so
    that none can be left out unseen."""
    from transformers import SamConfig, SamModel

    sizes = {"hidden_size": DECODER.width}
    model = SamModel(
        SamConfig(
            vision_config={
                "hidden_size": 32,
                "output_channels": DECODER.width,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": SIDE,
                "patch_size": SIDE // GRID,
                "window_size": 3,
                "global_attn_indexes": [0],
                "num_pos_feats": DECODER.width // 2,
            },
            prompt_encoder_config={
                **sizes,
                "image_size": SIDE,
                "patch_size": SIDE // GRID,
                "mask_input_channels": DECODER.mask_channels,
            },
            mask_decoder_config={
                **sizes,
                "mlp_dim": DECODER.mlp_width,
                "num_hidden_layers": DECODER.depth,
                "num_attention_heads": DECODER.heads,
                "iou_head_hidden_dim": DECODER.iou_width,
            },
        )
    ).eval()
    randomize_all(model, seed)
    return model


def randomize_all(model: nn.Module, seed: int) -> None:
    """Draw every parameter: matrices to keep the size of what they get, norms near one."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        norm_scale = "norm" in name and name.endswith("weight")
        fan_in = parameter[0].numel() if parameter.ndim > 1 and "embed" not in name else 1
        with torch.no_grad():
            parameter.copy_(1 + 0.3 * noise if norm_scale else noise * fan_in**-0.5)


def heads_of(model: Any) -> dict[str, dict[str, Tensor]]:
    """Return the states of prompt encoder and mask decoder under the original's names."""
    return {
        part: {_renamed(name): value for name, value in getattr(model, part).state_dict().items()}
        for part in ("prompt_encoder", "mask_decoder")
    }


def _renamed(name: str) -> str:
    for pattern, replacement in _NAMES:
        changed = re.sub(pattern, replacement, name)
        if changed != name:
            return changed
    return name

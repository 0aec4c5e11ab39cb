"""Tiny open_clip models with random weights, saved in folders that open_clip itself reads.

Used by .venv/bin/pytest tests/reinforced_data/engine
"""

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

SIZE = 40
VISION = {"image_size": SIZE, "layers": 1, "width": 64, "patch_size": 8}
TEXT = {"context_length": 12, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}

KINDS: dict[str, dict[str, Any]] = {
    "vit": {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT},
    "resnet": {
        "embed_dim": 24,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": TEXT,
    },
    "siglip": {
        "embed_dim": 24,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": VISION,
        "text_cfg": TEXT,
    },
    "coca": {
        "embed_dim": 32,
        "custom_text": True,
        "vision_cfg": VISION
        | {
            "attentional_pool": True,
            "attn_pooler_heads": 4,
            "attn_pooler_queries": 9,
            "output_tokens": True,
        },
        "text_cfg": TEXT | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {
            "context_length": 12,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 1,
            "attn_pooler_heads": 2,
        },
    },
}
"""Model configurations by the kind of model."""


def save_open_clip(folder: Path, kind: str, preprocessing: dict[str, Any] | None = None) -> str:
    """Save a random model of `kind` in `folder` and return its open_clip name."""
    folder.mkdir(parents=True)
    config = {"model_cfg": KINDS[kind], "preprocess_cfg": preprocessing or {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    name = f"local-dir:{folder}"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(name)
        for parameter in model.parameters():
            # open_clip leaves some uninitialised: what was in memory.
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return name

"""transformers' own FastVLM and ours compute the same, whoever wrote the weights.

.venv/bin/pytest tests/models/fastvlm/test_transformers_parity.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from fastvlm_folders import NAME, example, logits, merged_model, write_folders
from pictures import picture
from realistic import make_realistic
from torch import Tensor

from zoo import load_model
from zoo.models.fastvlm.prompt import IMAGE_TOKEN_INDEX, encode_opening, encode_question

TOLERANCE = 1e-4
PEER = "FastVlmForConditionalGeneration"

pytestmark = pytest.mark.skipif(
    not hasattr(transformers, PEER), reason="FastVLM came to transformers with version 5"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fastvlm")
    write_folders(folder)
    return folder / "transformers"


def their_logits(peer: Any, inputs: tuple[Tensor, Tensor]) -> Tensor:
    ids, images = inputs
    ids = ids.masked_fill(ids == IMAGE_TOKEN_INDEX, peer.config.image_token_index)
    with torch.no_grad():
        return peer(input_ids=ids, pixel_values=images).logits[..., :512]


def test_transformers_loads_what_we_write_and_gives_our_logits(folder: Path) -> None:
    loaded: Any = transformers.FastVlmForConditionalGeneration.from_pretrained(
        folder, output_loading_info=True
    )
    peer, report = loaded
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    torch.manual_seed(1)
    inputs = example()
    expected = their_logits(peer.eval(), inputs)
    assert (logits(merged_model(), inputs) - expected).abs().max() <= TOLERANCE


def test_we_load_what_transformers_writes_and_give_its_logits(folder: Path, tmp_path: Path) -> None:
    peer = transformers.FastVlmForConditionalGeneration.from_pretrained(folder).eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    make_realistic(peer, seed=3)
    peer.save_pretrained(tmp_path, max_shard_size="10MB")
    model = load_model(NAME, weights=tmp_path)
    torch.manual_seed(1)
    inputs = example()
    ours = logits(model, inputs)
    assert (ours - their_logits(peer, inputs)).abs().max() <= TOLERANCE
    assert (ours - logits(merged_model(), inputs)).abs().max() > TOLERANCE


def test_their_processor_pads_a_wide_picture_and_writes_our_prompt(folder: Path) -> None:
    processor = transformers.AutoProcessor.from_pretrained(folder)
    wide, question = picture(300, 600), "What colour is it?"
    content = [{"type": "image"}, {"type": "text", "text": question}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    theirs = processor(images=wide, text=text, return_tensors="pt")

    model = merged_model()
    tokenizer = model.tokenizer
    question_ids = encode_question(tokenizer, f"<image>\n{question}", [model.tokens_per_view])
    ours = torch.tensor([encode_opening(tokenizer) + question_ids])
    token = processor.tokenizer.convert_tokens_to_ids("<image>")
    assert torch.equal(theirs["input_ids"], ours.masked_fill(ours == IMAGE_TOKEN_INDEX, token))
    # Two grey values: they resize tensors, we resize Pillow's pictures.
    assert (theirs["pixel_values"] - model.preprocess(wide)).abs().max() <= 2 / 255

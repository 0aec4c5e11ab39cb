"""Points and corners become tokens, at positions that depend on the picture's own proportions.

.venv/bin/pytest tests/models/sam_clip/test_prompt_encoder.py
"""

from __future__ import annotations

import pytest
import torch

from tests.helpers.transformers_sam import DECODER
from zoo.models.sam_clip.prompt_encoder import (
    BACKGROUND,
    BOTTOM_RIGHT,
    FOREGROUND,
    NOT_A_POINT,
    TOP_LEFT,
    PromptEncoder,
)


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    torch.manual_seed(0)
    return PromptEncoder(DECODER)


def test_a_token_is_its_position_and_its_kind(encoder: PromptEncoder) -> None:
    points = torch.rand(1, 4, 2)
    kinds = (BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT)
    tokens = encoder(points, torch.tensor([kinds]))
    for number, kind in enumerate(kinds):
        embedding: torch.nn.Embedding = encoder.get_submodule(f"point_embeddings.{kind}")  # pyright: ignore[reportAssignmentType]
        position = encoder.pe_layer(points[0, number])
        torch.testing.assert_close(tokens[0, number], position + embedding.weight[0])


def test_a_point_that_only_fills_up_is_the_same_everywhere(encoder: PromptEncoder) -> None:
    tokens = encoder(torch.rand(1, 2, 2), torch.full((1, 2), NOT_A_POINT))
    assert torch.equal(tokens[0, 0], tokens[0, 1])
    assert torch.equal(tokens[0, 0], encoder.not_a_point_embed.weight[0])


@pytest.mark.parametrize(("height", "width"), [(4, 4), (2, 5)])
def test_grid_tokens_stand_at_the_middle_of_their_squares(
    encoder: PromptEncoder, height: int, width: int
) -> None:
    grid = encoder.grid_positions(height, width)
    assert grid.shape == (1, DECODER.width, height, width)
    for row, column in ((0, 0), (1, 3), (height - 1, width - 1)):
        at = torch.tensor([(column + 0.5) / width, (row + 0.5) / height])
        torch.testing.assert_close(grid[0, :, row, column], encoder.pe_layer(at))


def test_half_precision_keeps_neighbouring_pixels_apart(encoder: PromptEncoder) -> None:
    """Two pixels of 1024: bfloat16 has one number for both."""
    points = torch.tensor([[[0.7998, 0.5], [0.8008, 0.5]]])
    labels = torch.full((1, 2), FOREGROUND)
    expected = encoder(points, labels)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(encoder(points, labels), expected)
    assert points.bfloat16()[0, 0, 0] == points.bfloat16()[0, 1, 0]
    half = PromptEncoder(DECODER)
    half.load_state_dict(encoder.state_dict())
    tokens = half.bfloat16()(points, labels)
    assert tokens.dtype == torch.bfloat16
    assert not torch.equal(tokens[0, 0], tokens[0, 1])

"""Interpolated weights lie on the line between two files, and files that do not fit are named.

Run: pytest tests/training/fine_tuning/test_interpolate.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from zoo.models.checkpoint import read_checkpoint, save_weights
from zoo.models.convert import convert_weights
from zoo.models.load import load_model
from zoo.training.fine_tuning.interpolate import interpolate_weights

NAME = "mobileclip-tiny"


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two files of weights that differ everywhere, BatchNorm's count of batches too."""
    paths = [tmp_path_factory.mktemp("ends") / f"{seed}.safetensors" for seed in range(2)]
    with torch.random.fork_rng():
        for seed, path in enumerate(paths):
            torch.manual_seed(seed)
            model = load_model(NAME, weights=None, reparameterize=False)
            for value in model.state_dict().values():
                if value.is_floating_point():
                    value.add_(torch.rand(value.shape))
                else:
                    value.fill_(10 + seed)
            save_weights(model, path)
    return paths[0], paths[1]


def state_of(path: Path) -> dict[str, Tensor]:
    return read_checkpoint(path).state


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_every_tensor_lies_between_its_ends(
    ends: tuple[Path, Path], alpha: float, tmp_path: Path
) -> None:
    output = tmp_path / "between.safetensors"
    interpolate_weights(*ends, alpha, output)
    first, second = map(state_of, ends)
    between = state_of(output)
    assert between.keys() == first.keys()
    for key, value in between.items():
        if not value.is_floating_point():
            assert value.item() == 11, key
        elif alpha in (0, 1):
            assert torch.equal(value, (first, second)[int(alpha)][key]), key
        else:
            expected = first[key].double().lerp(second[key].double(), alpha)
            assert torch.allclose(value.double(), expected, rtol=1e-6, atol=1e-7), key
    written = read_checkpoint(output)
    assert (written.written_for, written.preprocessing) == (
        NAME,
        read_checkpoint(ends[1]).preprocessing,
    )


def test_the_first_file_may_be_in_another_naming(ends: tuple[Path, Path], tmp_path: Path) -> None:
    foreign, output = tmp_path / "first.pt", tmp_path / "between.safetensors"
    convert_weights(ends[0], foreign, model=NAME, naming="open_clip")
    interpolate_weights(foreign, ends[1], 0.5, output)
    expected = tmp_path / "expected.safetensors"
    interpolate_weights(*ends, 0.5, expected)
    ours, theirs = state_of(output), state_of(expected)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours | theirs)


def test_files_that_do_not_belong_together_are_refused(
    ends: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "between.safetensors"
    folded, larger = tmp_path / "folded.safetensors", tmp_path / "larger.safetensors"
    foreign = tmp_path / "foreign.pt"
    model = load_model(NAME, weights=ends[0], reparameterize=False)
    save_weights(model.reparameterize(), folded)
    model.set_preprocessing(replace(model.preprocessing, image_size=96))
    save_weights(model, larger)
    convert_weights(ends[0], foreign, model=NAME, naming="open_clip")
    for first, second, message in (
        (folded, ends[1], r"folded\.safetensors' holds folded weights but .* train-time ones"),
        (larger, ends[1], r"larger\.safetensors' is for another preprocessing"),
        (ends[0], foreign, r"foreign\.pt' does not say whose weights it holds"),
    ):
        with pytest.raises(ValueError, match=message):
            interpolate_weights(first, second, 0.5, output)
    with pytest.raises(FileNotFoundError, match="No weights"):
        interpolate_weights(tmp_path / "absent.safetensors", ends[1], 0.5, output)
    assert not output.exists()


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_an_alpha_beyond_the_ends_is_refused(
    ends: tuple[Path, Path], alpha: float, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=f"alpha is {alpha}; give a number between 0"):
        interpolate_weights(*ends, alpha, tmp_path / "between.safetensors")

"""Weights in every naming and form go in and out unchanged; damaged ones are refused clearly.

.venv/bin/pytest tests/models/test_checkpoint_files.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from realistic import make_realistic, relative_error
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo import load_model
from zoo.models.assemble import export_state
from zoo.models.card import Naming
from zoo.models.checkpoint import save_weights, write_state
from zoo.models.convert import convert_weights
from zoo.models.image_text_model import ImageTextModel
from zoo.models.preprocess import OPENAI_MEAN, OPENAI_STD
from zoo.models.reparameterize import merge_branches

NAMINGS: list[Naming] = ["zoo", "open_clip", "apple"]


@pytest.fixture(scope="module")
def model() -> ImageTextModel:
    torch.manual_seed(0)
    model = load_model("mobileclip-tiny", weights=None, reparameterize=False)
    make_realistic(model)
    model.image_encoder.get_parameter("head.fc.bias").data.zero_()
    return model


@pytest.fixture
def original(model: ImageTextModel, tmp_path: Path) -> Path:
    """The model in Apple's naming, as the authors publish theirs."""
    path = tmp_path / "original.pt"
    write_state(export_state(model, "apple"), path)
    return path


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("naming", NAMINGS)
def test_a_round_trip_through_any_naming_is_the_identity(
    original: Path, naming: Naming, suffix: str, tmp_path: Path
) -> None:
    there, back = tmp_path / f"there{suffix}", tmp_path / "back.pt"
    convert_weights(original, there, model="mobileclip-tiny", naming=naming)
    convert_weights(there, back, model="mobileclip-tiny", naming="apple")
    assert same(torch.load(back, weights_only=True), torch.load(original, weights_only=True))


def test_half_precision_weights_keep_their_values_through_conversion(
    original: Path, tmp_path: Path
) -> None:
    state = torch.load(original, weights_only=True)
    half = {
        key: value.half() if value.is_floating_point() else value for key, value in state.items()
    }
    torch.save(half, tmp_path / "half.pt")
    convert_weights(
        tmp_path / "half.pt", tmp_path / "back.pt", model="mobileclip-tiny", naming="apple"
    )
    assert same(torch.load(tmp_path / "back.pt", weights_only=True), half)
    assert load_model("mobileclip-tiny", weights=tmp_path / "half.pt").logit_scale.dtype == (
        torch.float32
    )


@pytest.mark.parametrize("naming", NAMINGS)
def test_reparameterized_weights_of_any_naming_load_and_give_the_same_features(
    model: ImageTextModel, original: Path, naming: Naming, tmp_path: Path
) -> None:
    path = tmp_path / "fused.safetensors"
    convert_weights(original, path, model="mobileclip-tiny", naming=naming, reparameterize=True)
    loaded = load_model("mobileclip-tiny", weights=path)
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert relative_error(loaded.encode_image(image), model.encode_image(image)) <= 1e-5


@pytest.mark.parametrize("naming", NAMINGS)
def test_reparameterized_weights_cannot_become_trainable_again(
    original: Path, naming: Naming, tmp_path: Path
) -> None:
    path = tmp_path / "fused.safetensors"
    convert_weights(original, path, model="mobileclip-tiny", naming=naming, reparameterize=True)
    with pytest.raises(ValueError, match="already reparameterized"):
        load_model("mobileclip-tiny", weights=path, reparameterize=False)
    with pytest.raises(ValueError, match="already reparameterized"):
        convert_weights(path, tmp_path / "x.pt", model="mobileclip-tiny", naming="apple")


def test_wrappers_of_training_checkpoints_are_taken_off(original: Path, tmp_path: Path) -> None:
    state = torch.load(original, weights_only=True)
    wrapped = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}
    torch.save(wrapped, tmp_path / "epoch_3.pt")
    load_model("mobileclip-tiny", weights=tmp_path / "epoch_3.pt", reparameterize=False)


def test_an_open_clip_folder_brings_its_own_preprocessing(
    model: ImageTextModel, tmp_path: Path
) -> None:
    write_state(export_state(model, "open_clip"), tmp_path / "open_clip_model.safetensors")
    config = {
        "model_cfg": {"vision_cfg": {"timm_model_name": "fastvit_mci0", "image_size": 64}},
        "preprocess_cfg": {
            "mean": OPENAI_MEAN,
            "std": OPENAI_STD,
            "interpolation": "bicubic",
            "resize_mode": "shortest",
        },
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    preprocessing = load_model("mobileclip-tiny", weights=tmp_path).preprocessing
    assert (preprocessing.mean, preprocessing.interpolation) == (OPENAI_MEAN, "bicubic")

    config["model_cfg"]["vision_cfg"]["timm_model_name"] = "fastvit_mci4"
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="names the image tower fastvit_mci4"):
        load_model("mobileclip-tiny", weights=tmp_path)


def test_our_own_file_remembers_its_image_size(tmp_path: Path) -> None:
    model = load_model("mobileclip-tiny", weights=None, image_size=96)
    save_weights(model, tmp_path / "weights.safetensors")
    again = load_model("mobileclip-tiny", weights=tmp_path / "weights.safetensors")
    assert again.preprocessing.image_size == 96
    assert same(again.state_dict(), model.state_dict())


def test_a_file_of_another_model_is_named(tmp_path: Path, model: ImageTextModel) -> None:
    save_weights(model, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="holds weights of mobileclip-tiny, not of mobileclip-s0"):
        load_model("mobileclip-s0", weights=tmp_path / "weights.safetensors")


def test_keys_that_do_not_fit_are_listed(original: Path, tmp_path: Path) -> None:
    state = torch.load(original, weights_only=True)
    del state["text_encoder.projection_layer"]
    state["image_encoder.model.extra.weight"] = torch.zeros(1)
    state["logit_scale"] = torch.zeros(2)
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(ValueError, match="does not fit mobileclip-tiny") as error:
        load_model("mobileclip-tiny", weights=tmp_path / "odd.pt")
    message = str(error.value)
    assert "odd.pt' (apple naming)" in message
    assert "1 keys missing ('text_encoder.projection')" in message
    assert "1 keys unexpected ('image_encoder.model.extra.weight')" in message
    assert "'logit_scale' has shape (2,) instead of ()" in message


class Malicious:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 + 1",)


def damaged_files(original: Path, folder: Path) -> dict[str, tuple[Path, str]]:
    data = original.read_bytes()
    save_file({"weight": torch.zeros(8)}, folder / "whole.safetensors")
    files = {
        "zero bytes": ("zero.pt", b"", "holds zero bytes"),
        "truncated": ("short.pt", data[: len(data) // 2], "truncated, damaged or not a"),
        "not a checkpoint": ("page.pt", b"<html>Not found</html>", "plain PyTorch weights|cannot"),
        "truncated safetensors": (
            "short.safetensors",
            (folder / "whole.safetensors").read_bytes()[:-4],
            "truncated, damaged or not a",
        ),
        "foreign safetensors": ("x.safetensors", b"not one at all", "truncated, damaged or not a"),
    }
    for name, content, _ in files.values():
        (folder / name).write_bytes(content)
    cases = {case: (folder / name, match) for case, (name, _, match) in files.items()}
    torch.save({"weight": Malicious()}, folder / "code.pt")
    torch.save([1, 2], folder / "list.pt")
    torch.save({"state_dict": {"weight": 3}}, folder / "number.pt")
    cases["pickle with code"] = (folder / "code.pt", "could run code")
    cases["list"] = (folder / "list.pt", "holds a list, not a dictionary of tensors")
    cases["number"] = (folder / "number.pt", "Entry 'weight' of .* is int, not a tensor")
    cases["other tensors"] = (folder / "whole.safetensors", "not those of an image-text model")
    return cases


def test_damaged_and_foreign_files_are_refused_in_one_sentence(
    original: Path, tmp_path: Path
) -> None:
    for case, (path, match) in damaged_files(original, tmp_path).items():
        with pytest.raises(ValueError, match=match) as error:
            load_model("mobileclip-tiny", weights=path)
        assert path.name in str(error.value), case
        assert "\n" not in str(error.value), case


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No weights at '.*absent\.pt'"):
        load_model("mobileclip-tiny", weights=tmp_path / "absent.pt")


def test_a_model_without_published_weights_says_so() -> None:
    with pytest.raises(ValueError, match="mobileclip-tiny has no published weights"):
        load_model("mobileclip-tiny")


def test_an_unreachable_hub_names_file_repository_and_the_way_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError) as error:
        load_model("mobileclip2-s0")
    message = str(error.value)
    assert "mobileclip2_s0.pt" in message
    assert "huggingface.co/apple/MobileCLIP2-S0" in message
    assert "weights='path/to/mobileclip2_s0.pt'" in message


def test_a_cached_file_of_the_hub_loads_offline(
    model: ImageTextModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    torch.manual_seed(0)
    state = load_model("mobileclip2-s0", weights=None, reparameterize=False).state_dict()
    repository = tmp_path / "models--apple--MobileCLIP2-S0"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    torch.save(state, snapshot / "mobileclip2_s0.pt")
    loaded = load_model("mobileclip2-s0", reparameterize=False)
    assert same(loaded.state_dict(), dict(state))


def test_writing_leaves_no_half_file(
    model: ImageTextModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "weights.safetensors"
    target.write_bytes(b"before")

    def fail(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        save_weights(model, target)
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_target_that_is_a_folder_leaves_no_temporary_file(
    model: ImageTextModel, tmp_path: Path
) -> None:
    (tmp_path / "weights.safetensors").mkdir()
    with pytest.raises(OSError, match="weights"):
        save_weights(model, tmp_path / "weights.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


def test_apple_naming_refuses_what_it_cannot_hold(tmp_path: Path, model: ImageTextModel) -> None:
    trained = load_model("mobileclip-tiny", weights=None, reparameterize=False)
    trained.image_encoder.get_parameter("head.fc.bias").data.fill_(1.0)
    with pytest.raises(ValueError, match="has a bias, which Apple's naming cannot hold"):
        export_state(trained, "apple")
    with pytest.raises(ValueError, match=r"must end in \.safetensors or \.pt"):
        write_state(model.state_dict(), tmp_path / "weights.bin")


def test_the_original_reparameterized_naming_is_timms(model: ImageTextModel) -> None:
    """Merged weights in open_clip naming are what timm's own reparameterization leaves."""
    import copy

    from timm.utils.model import reparameterize_model

    theirs = reparameterize_model(copy.deepcopy(model.image_encoder)).state_dict()
    ours = copy.deepcopy(model.image_encoder)
    merge_branches(ours)
    assert theirs.keys() == ours.state_dict().keys()
    for key, value in ours.state_dict().items():
        assert torch.allclose(value, theirs[key], atol=1e-6), key


def test_safetensors_of_ours_name_their_model(model: ImageTextModel, tmp_path: Path) -> None:
    save_weights(model, tmp_path / "weights.safetensors")
    assert same(load_file(tmp_path / "weights.safetensors"), dict(model.state_dict()))

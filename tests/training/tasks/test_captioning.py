"""CoCa on the one loop: what it learns to write, and its weights as a captioner's.

Run: pytest tests/training/tasks/test_captioning.py
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from numpy_losses import clip_loss
from PIL import Image
from safetensors.torch import load_file
from task_runs import parameters_without_gradient, read_metrics, run, run_with_interruption
from tiny_open_clip import KINDS
from torch import Tensor
from toy_batches import losses_of, toy_recipe

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.engine.captioners.load import load_captioner
from zoo.reinforced_data.engine.captioners.sampling import Sampling
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards
from zoo.training.recipes.recipe import Recipe
from zoo.training.run import build_model
from zoo.training.tasks.captioning import CaptioningTask
from zoo.training.tasks.coca_model import CocaModel, build_coca

MODEL = "coca_toy"
COLOURS = {"red": (220, 20, 20), "green": (20, 220, 20), "blue": (20, 20, 220)}


@pytest.fixture(scope="module", autouse=True)
def _architecture(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Make a tiny CoCa, and a tiny CLIP, known to open_clip by name."""
    folder = tmp_path_factory.mktemp("configs")
    (folder / f"{MODEL}.json").write_text(json.dumps(KINDS["coca"]))
    (folder / "clip_toy.json").write_text(json.dumps(KINDS["vit"]))
    open_clip.add_model_config(folder)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures whose captions name their colour."""
    folder = tmp_path_factory.mktemp("shards")
    samples = [
        Sample(key=f"{name}{i}", image=picture(colour, i), captions=(f"a plain {name} wall",))
        for name, colour in COLOURS.items()
        for i in range(6)
    ]
    write_shards(samples, folder, samples_per_shard=18)
    return folder


def picture(colour: tuple[int, int, int], seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(-20, 21, (48, 48, 3))
    content = io.BytesIO()
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


def captioner_recipe(output: Path, shards: Path, **changes: Any) -> Recipe:
    fields: dict[str, Any] = {
        "model": MODEL,
        "task": "captioning",
        "data": str(shards),
        "learning_rate": 5e-3,
        "augmentation": AugmentationPolicy(scale=(0.8, 1.0), num_ops=0),
    }
    return toy_recipe(output, **(fields | changes))


@pytest.fixture
def model() -> Iterator[CocaModel]:
    torch.manual_seed(0)
    yield build_coca(MODEL)


@pytest.fixture
def batch(model: CocaModel) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    captions = ["a cat!", "two dogs that run", "!", "one two three four five six seven eight nine"]
    return {
        "image": torch.randint(0, 256, (4, 3, 40, 40), generator=generator, dtype=torch.uint8),
        "text": model.tokenize(captions),
    }


def test_the_losses_are_the_paper_s_over_all_caption_tokens(
    model: CocaModel, batch: dict[str, Tensor]
) -> None:
    task = CaptioningTask(model).eval()
    with torch.no_grad():
        losses = losses_of(task, batch)
        pixels = model.preprocessing.normalize(batch["image"])
        image, image_tokens = model.visual(pixels)
        text, text_tokens = model.text(batch["text"])
        logits = model.text_decoder(image_tokens, text_tokens[:, :-1]).double().numpy()
    surprise, count = 0.0, 0
    for row, tokens in zip(logits, batch["text"].tolist(), strict=True):
        for place in range(1, tokens.index(49407) + 1):
            probability = np.exp(row[place - 1]) / np.exp(row[place - 1]).sum()
            surprise -= np.log(probability[tokens[place]])
            count += 1
    image, text = (torch.nn.functional.normalize(x, dim=-1) for x in (image, text))
    scale = model.logit_scale.exp().item()
    assert losses["caption_loss"].item() == pytest.approx(2 * surprise / count, rel=1e-5)
    assert losses["contrastive_loss"].item() == pytest.approx(clip_loss(image, text, scale))


def test_the_caption_loss_of_parts_joined_is_that_of_the_whole(
    model: CocaModel, batch: dict[str, Tensor]
) -> None:
    task = CaptioningTask(model).eval()
    with torch.no_grad():
        whole = task(batch)
        parts = [
            task({key: value[half] for key, value in batch.items()}) for half in ([0, 1], [2, 3])
        ]
    torch.testing.assert_close(torch.cat([part["caption"] for part in parts]), whole["caption"])
    assert whole["caption"].shape == (4,)


def test_every_parameter_gets_a_gradient(model: CocaModel, batch: dict[str, Tensor]) -> None:
    assert not parameters_without_gradient(CaptioningTask(model), batch)


def test_random_weights_depend_on_the_seed_alone(model: CocaModel) -> None:
    torch.manual_seed(0)
    again = build_coca(MODEL).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, again[name]), name
    assert again["text_decoder.text_projection"].std() > 0


def test_trained_weights_are_a_captioner_s_that_says_what_it_learned(
    tmp_path: Path, shards: Path
) -> None:
    recipe = captioner_recipe(tmp_path / "run", shards, samples_seen=448, checkpoint_every=56)
    weights = run(recipe)
    losses = [line["caption_loss"] for line in read_metrics(recipe.output)]
    assert losses[-1] < 0.1 * losses[0]
    captioner = load_captioner(
        f"open_clip:{MODEL}@{weights}",
        teachers=[],
        candidates=list,
        seed=0,
        sampling=Sampling(top_p=0.5, max_tokens=8),
    )
    unseen = {name: Image.open(io.BytesIO(picture(colour, 77))) for name, colour in COLOURS.items()}
    made = captioner.captions(list(unseen.values()), list(unseen), 1)
    assert made == [(f"a plain {name} wall",) for name in COLOURS]


def test_an_interrupted_run_continues_exactly_and_its_weights_can_be_trained_on(
    tmp_path: Path, shards: Path
) -> None:
    short = {"samples_seen": 32, "checkpoint_every": 2}
    recipes = [captioner_recipe(tmp_path / name, shards, **short) for name in ("cut", "whole")]
    run_with_interruption(recipes[0], stop_after=3)
    weights = run(recipes[1])
    assert read_metrics(recipes[0].output) == read_metrics(recipes[1].output)
    loaded = build_model(captioner_recipe(tmp_path / "next", shards, init=weights)).state_dict()
    trained = load_file(weights)
    assert loaded.keys() == trained.keys()
    assert all(torch.equal(loaded[name], value) for name, value in trained.items())


def test_a_folder_may_describe_the_architecture(tmp_path: Path) -> None:
    config = {"model_cfg": KINDS["coca"], "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    model = build_coca(f"local-dir:{tmp_path}")
    assert model.preprocessing.mean == (0.5, 0.5, 0.5)
    assert (model.preprocessing.image_size, model.card.context_length) == (40, 12)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("coca_vit", r"no model 'coca_vit'; a captioner is one of .*coca_ViT-B-32"),
        ("clip_toy", "is not a CoCa with CLIP's tokenizer"),
        ("local-dir:nowhere", r"'nowhere' has no open_clip_config\.json"),
    ],
)
def test_a_model_that_cannot_caption_is_refused(name: str, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        build_coca(name)


def test_weights_of_another_model_are_refused(tmp_path: Path, model: CocaModel) -> None:
    file = tmp_path / "weights.pt"
    torch.save({"visual.proj": torch.zeros(2)}, file)
    with pytest.raises(ValueError, match=rf"weights\.pt' does not fit open_clip's {MODEL}"):
        build_coca(MODEL, init=file)

"""Classification learns labels through the names of the classes, and leaves a two-tower model.

Run: pytest tests/training/tasks/test_classification.py
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toy_batches import losses_of, toy_recipe

from zoo.models.image_text_model import ImageTextModel
from zoo.models.load import load_model
from zoo.training.fine_tuning.prepare import prepare_fine_tuning
from zoo.training.fine_tuning.settings import FineTuning
from zoo.training.tasks.build import build_task
from zoo.training.tasks.classification import ClassificationTask, class_names_of

NAMES = ("dog", "hot air balloon", "sea")
TEMPLATES = ("a photo of a {}.", "{} at night")


def model_of(**fine_tuning: str) -> ImageTextModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = load_model("mobileclip-tiny", weights=None, reparameterize=False)
    prepare_fine_tuning(model, FineTuning(**fine_tuning))  # pyright: ignore[reportArgumentType]
    return model


def task_of(model: ImageTextModel) -> ClassificationTask:
    return ClassificationTask(model, class_names=NAMES, templates=TEMPLATES)


def labelled_batch(labels: list[int]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (len(labels), 3, 64, 64), generator=generator)
    return {"image": pixels.to(torch.uint8), "label": torch.tensor(labels)}


def by_hand(model: ImageTextModel, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy of CLIP's zero-shot classifier, class by class."""
    rows = []
    for name in NAMES:
        prompts = [template.format(name) for template in TEMPLATES]
        rows.append(model.encode_text(model.tokenize(prompts), normalize=True).mean(dim=0))
    head = F.normalize(torch.stack(rows), dim=-1)
    image = model.encode_image(batch["image"] / 255, normalize=True)
    probabilities = (model.logit_scale.exp() * image @ head.T).softmax(dim=-1)
    right = torch.stack([p[label] for p, label in zip(probabilities, batch["label"], strict=True)])
    return -right.log().mean()


@pytest.mark.parametrize("towers", ["both", "image"])
def test_the_loss_is_that_of_the_zero_shot_classifier(towers: str) -> None:
    model, batch = model_of(towers=towers), labelled_batch([0, 2, 1, 2])
    expected = by_hand(model, batch)
    loss = losses_of(task_of(model), batch)["classification_loss"]
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = torch.autograd.grad(expected, [model.image_encoder.get_parameter("head.fc.weight")])
    loss.backward()
    ours = model.image_encoder.get_parameter("head.fc.weight").grad
    assert ours is not None
    torch.testing.assert_close(ours, gradients[0], rtol=1e-4, atol=1e-7)


def test_names_are_encoded_at_every_step_only_while_the_text_tower_is_trained() -> None:
    for towers, follows in (("both", True), ("image", False)):
        model = model_of(towers=towers)
        task, batch = task_of(model), labelled_batch([0, 1])
        before = losses_of(task, batch)["classification_loss"].item()
        with torch.no_grad():
            model.text_encoder.get_parameter("projection").neg_()
        assert (losses_of(task, batch)["classification_loss"].item() != before) == follows


def test_a_part_of_a_batch_has_the_rows_of_the_whole() -> None:
    model, batch = model_of(towers="image").eval(), labelled_batch([0, 1, 2, 0])
    task = task_of(model)
    whole = task(batch)["logits"]
    part = task({key: value[1:3] for key, value in batch.items()})["logits"]
    torch.testing.assert_close(part, whole[1:3], rtol=1e-5, atol=1e-5)


def test_a_checkpoint_holds_nothing_but_the_model() -> None:
    task = task_of(model_of(towers="image"))
    assert all(name.startswith("model.") for name in task.state_dict())


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_without_a_name_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match=f"has the label {label}, but there are 3 class names"):
        losses_of(task_of(model_of()), labelled_batch([0, label]))


def test_pictures_without_labels_are_refused() -> None:
    batch = labelled_batch([0])
    del batch["label"]
    with pytest.raises(ValueError, match="needs label in a batch"):
        losses_of(task_of(model_of()), batch)


def test_the_names_are_read_beside_the_shards_or_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "00000.tar").write_bytes(b"")
    recipe = toy_recipe(tmp_path / "run", task="classification", data=str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"classnames\.txt does not exist"):
        class_names_of(recipe)
    (tmp_path / "classnames.txt").write_text("cat\ndog\n")
    assert class_names_of(recipe) == ("cat", "dog")
    (tmp_path / "other.txt").write_text("oak\nfir\n")
    other = toy_recipe(tmp_path, task="classification", data="s3://x/0.tar",
                       classes=tmp_path / "other.txt")  # fmt: skip
    assert class_names_of(other) == ("oak", "fir")
    assert isinstance(build_task(other, model_of(), {}), ClassificationTask)
    with pytest.raises(ValueError, match="name the file with their class names"):
        class_names_of(toy_recipe(tmp_path, task="classification", data="s3://x/0.tar"))


def test_names_of_classes_are_for_classification_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"field classes is .*left out of the contrastive task"):
        toy_recipe(tmp_path, classes=tmp_path / "names.txt")

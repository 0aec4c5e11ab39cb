"""What a SAM-CLIP in training still knows: zero-shot figures at every size, and SAM's masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from zoo.eval.datasets import EvalDataset
from zoo.eval.evaluate import evaluate
from zoo.eval.segmentation.mask_agreement import METRIC, PromptedPicture, mask_agreement
from zoo.models.class_names import DEFAULT_TEMPLATES
from zoo.models.image_text_model import ImageTextModel
from zoo.models.sam_clip.sam_clip_model import Prompts, SamClipModel
from zoo.reinforced_data.masks.loader import MaskLoader
from zoo.reinforced_data.masks.prompts import BOX, BOX_AND_POINT, POINT

_PROMPTS_PER_PICTURE = 8
_KIND_NAMES = {POINT: "point", BOX: "box", BOX_AND_POINT: "box_and_point"}


def zero_shot_figures(
    model: SamClipModel, dataset: EvalDataset, sizes: Sequence[int]
) -> dict[str, float]:
    """Return the figures of `evaluate` at every size in pixels, named METRIC_SIZE: of labels where
    there are any, else of captions."""
    return {
        f"{name}_{size}": value
        for size, metrics in zero_shot_by_size(model, dataset, sizes).items()
        for name, value in metrics.items()
    }


def zero_shot_by_size(
    model: ImageTextModel,
    dataset: EvalDataset,
    sizes: Sequence[int],
    *,
    templates: Sequence[str] = DEFAULT_TEMPLATES,
) -> dict[int, Mapping[str, float]]:
    """Return the metrics of `evaluate` for pictures of each of `sizes`, their sides in pixels: of
    labels where there are any, else of captions."""
    if dataset.labels is not None:
        dataset = replace(dataset, captions=None)
    own = model.preprocessing
    figures: dict[int, Mapping[str, float]] = {}
    for size in sizes:
        model.set_preprocessing(replace(own, image_size=size))
        (evaluation,) = evaluate(model, dataset, templates=templates)
        figures[size] = evaluation.metrics
    model.set_preprocessing(own)
    return figures


class StoredMasks:
    """The prompts and masks of some shards' sidecars, the same ones at every evaluation."""

    def __init__(self, shards: Path, *, image_size: int) -> None:
        """Raises what `MaskLoader` raises for shards and sidecars that cannot be used."""
        self._loader = MaskLoader(
            str(shards),
            batch_size=1,
            masks_per_image=_PROMPTS_PER_PICTURE,
            image_size=image_size,
        )
        self._start = self._loader.state_dict()

    def agreement(self, model: SamClipModel) -> Mapping[str, float]:
        """Return the mean IoU of the model's masks with those stored, `mask_iou` where a SAM made
        them and `mask_iou_truth` where they are the truth."""
        figures = mask_agreement(model, self._pictures())
        is_truth = self._loader.teacher.kind == "truth"
        return {f"{METRIC}_truth" if is_truth else METRIC: figures[METRIC]}

    def _pictures(self) -> Iterator[PromptedPicture]:
        self._loader.load_state_dict(self._start)
        for batch in self._loader:
            row = {name: value[0] for name, value in batch.items()}
            yield PromptedPicture(
                pixels=row["mask_image"],
                prompts=Prompts(row["mask_points"], row["mask_labels"]),
                kinds=[_KIND_NAMES[kind] for kind in row["mask_kind"].tolist()],
                logits=row["mask_logits"],
                valid=row["mask_valid"],
            )

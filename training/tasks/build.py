"""The task of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.distributed import ProcessGroup

from zoo.reinforced_data.sidecars.header import TeacherInfo
from zoo.training.recipes.recipe import Recipe
from zoo.training.sam_clip.task import build_sam_clip_task
from zoo.training.tasks.captioning import CaptioningTask
from zoo.training.tasks.classification import ClassificationTask, class_names_of
from zoo.training.tasks.coca_model import CocaModel
from zoo.training.tasks.contrastive import ContrastiveTask
from zoo.training.tasks.gated import GatedTask
from zoo.training.tasks.prefix import PrefixTask
from zoo.training.tasks.reinforced import ReinforcedTask
from zoo.training.tasks.sigmoid import SigmoidTask
from zoo.training.tasks.task import AnyTask
from zoo.training.transfer.build import TRANSFER_TASKS, build_transfer_task
from zoo.training.vision_language.task import VisualInstructionTask

# Tasks of any model that have no settings.
_PLAIN_TASKS = {
    "contrastive": ContrastiveTask,
    "sigmoid": SigmoidTask,
    "gated": GatedTask,
    "prefix": PrefixTask,
}


def build_task(
    recipe: Recipe,
    model: Any,
    teachers: Mapping[str, TeacherInfo],
    *,
    group: ProcessGroup | None = None,
) -> AnyTask:
    """Return the task of a recipe; `teachers` are those whose embeddings the batches carry."""
    if recipe.task == "visual-instruction":
        return VisualInstructionTask(model, group=group)
    if recipe.task == "sam-clip":
        return build_sam_clip_task(recipe, model, teachers, group=group)
    if recipe.task in TRANSFER_TASKS:
        return build_transfer_task(recipe, model, teachers, group=group)
    if recipe.task == "classification":
        return ClassificationTask(
            model, class_names=class_names_of(recipe), templates=recipe.templates, group=group
        )
    if recipe.task in _PLAIN_TASKS:
        return _PLAIN_TASKS[recipe.task](model, group=group)
    if recipe.task == "captioning":
        assert isinstance(model, CocaModel)  # as `build_model` makes it for this task
        return CaptioningTask(model, group=group)
    return ReinforcedTask(
        model,
        teacher_logit_scales={name: teacher.logit_scale for name, teacher in teachers.items()},
        distillation_weight=recipe.distillation_weight,
        mixed_captions=recipe.synthetic_ratio is not None,
        group=group,
    )

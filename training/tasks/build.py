"""The task of a recipe."""

from __future__ import annotations

from collections.abc import Mapping

from torch.distributed import ProcessGroup

from zoo.models.image_text_model import ImageTextModel
from zoo.reinforced_data.sidecars.header import TeacherInfo
from zoo.training.recipes.recipe import Recipe
from zoo.training.tasks.contrastive import ContrastiveTask
from zoo.training.tasks.reinforced import ReinforcedTask
from zoo.training.tasks.task import Task


def build_task(
    recipe: Recipe,
    model: ImageTextModel,
    teachers: Mapping[str, TeacherInfo],
    *,
    group: ProcessGroup | None = None,
) -> Task:
    """Return the task of a recipe; `teachers` are those whose embeddings the batches carry."""
    if recipe.task == "contrastive":
        return ContrastiveTask(model, group=group)
    return ReinforcedTask(
        model,
        teacher_logit_scales={name: teacher.logit_scale for name, teacher in teachers.items()},
        distillation_weight=recipe.distillation_weight,
        mixed_captions=recipe.synthetic_ratio is not None,
        group=group,
    )

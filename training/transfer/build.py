"""The task of a recipe of a transfer."""

from __future__ import annotations

from collections.abc import Mapping

from torch.distributed import ProcessGroup

from zoo.models.image_text_model import ImageTextModel
from zoo.reinforced_data.sidecars.header import TeacherInfo
from zoo.training.recipes.choices import TaskName
from zoo.training.recipes.recipe import Recipe
from zoo.training.transfer.classification_head import ClassificationHead
from zoo.training.transfer.distillation import FeatureDistillation, TaskDistillation
from zoo.training.transfer.head import LinearHead, load_head
from zoo.training.transfer.image_task import ImageTask

TRANSFER_TASKS: tuple[TaskName, ...] = (
    "task-distillation",
    "feature-distillation",
    "classification-head",
)


def build_transfer_task(
    recipe: Recipe,
    model: ImageTextModel,
    teachers: Mapping[str, TeacherInfo],
    *,
    group: ProcessGroup | None = None,
) -> ImageTask:
    """Return the task of a recipe; `teachers` are those whose embeddings the batches carry.

    Raises FileNotFoundError or ValueError for a head that is missing, damaged or of another
    teacher or model, and ValueError for a teacher that is not stored.
    """
    if recipe.task == "feature-distillation":
        teacher = stored_teacher(teachers, recipe.teacher)
        return FeatureDistillation(
            model, teacher=teacher.name, embed_dim=teacher.embed_dim, group=group
        )
    assert recipe.head is not None
    head = load_head(recipe.head)
    if recipe.task == "classification-head":
        return ClassificationHead(model, head=head, group=group)
    _check_same_features(head, stored_teacher(teachers, head.of))
    return TaskDistillation(
        model, teacher_head=head, temperature=recipe.distillation_temperature, group=group
    )


def stored_teacher(teachers: Mapping[str, TeacherInfo], name: str | None) -> TeacherInfo:
    """Return the teacher called `name`, or without a name the only one.

    Raises ValueError where there is none, or no name and several.
    """
    known = ", ".join(teachers) or "none"
    if name is None and len(teachers) != 1:
        raise ValueError(f"The data store {known}; name the teacher to learn from (teacher=NAME).")
    if name is not None and name not in teachers:
        raise ValueError(
            f"The data store no teacher '{name}' but {known}; "
            f"`zoo reinforce SHARDS --teacher {name}=… --extend` adds it."
        )
    return teachers[name or next(iter(teachers))]


def _check_same_features(head: LinearHead, teacher: TeacherInfo) -> None:
    if (head.pretrained, head.features) != (teacher.pretrained, teacher.embed_dim):
        raise ValueError(
            f"The head was fitted on {head.features} features of '{head.of}' ({head.pretrained}), "
            f"but the data store {teacher.embed_dim} of {teacher.pretrained}; fit it again."
        )

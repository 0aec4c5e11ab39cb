"""What each of two processes makes of its rows of a batch: ALIP's and CoCa's losses."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from tiny_open_clip import KINDS
from torch import Tensor, distributed
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from zoo.models.load import load_model
from zoo.training.parallel.collectives import own_rows
from zoo.training.tasks.captioning import CaptioningTask
from zoo.training.tasks.coca_model import build_coca
from zoo.training.tasks.gated import GatedTask
from zoo.training.tasks.task import Task

ROWS = 4
"""Of each process."""
KEYS = ("image", "text", "synthetic_text")
END = 49407

Results = dict[str, list[Tensor]]


def in_every_process() -> Results:
    """Return the results of this process's rows."""
    return results(distributed.group.WORLD)


def results(group: ProcessGroup | None) -> Results:
    """Return, of each task, the sum of its losses and that sum's gradients, features by name.

    Without a group the batch is whole.
    """
    own = torch.arange(2 * ROWS) if group is None else own_rows(ROWS, group, torch.device("cpu"))
    batch = {"text": captions()[own]}
    gated = GatedTask(load_model("mobileclip-tiny", weights=None), group=group)
    gated.running_means = gated.running_means.double() / 2
    found = {
        "gated": value_and_gradients(gated, features(own), batch),
        "captioning": value_and_gradients(captioning_task(group), features(own), batch),
    }
    gated.after_step()
    return found | {"running means": [gated.running_means]}


def features(own: Tensor) -> dict[str, Tensor]:
    """Return leaves: features of pictures and texts that agree more or less, and caption sums."""
    generator = torch.Generator().manual_seed(0)
    common, *parts = torch.randn(4, 2 * ROWS, 6, generator=generator, dtype=torch.float64)
    agreement = 3 * torch.rand(2 * ROWS, 1, generator=generator, dtype=torch.float64)
    pairs = zip(KEYS, parts, strict=True)
    drawn = {key: F.normalize(part + agreement * common, dim=1) for key, part in pairs}
    drawn["caption"] = torch.rand(2 * ROWS, generator=generator, dtype=torch.float64)
    leaves = {key: value[own] for key, value in drawn.items()}
    leaves["logit_scale"] = torch.tensor(9.0, dtype=torch.float64)
    return {key: value.requires_grad_() for key, value in leaves.items()}


def captions() -> Tensor:
    """Return token ids (8, 12), longer ones in the second half."""
    tokens = torch.zeros(2 * ROWS, 12, dtype=torch.int64)
    tokens[torch.arange(2 * ROWS), torch.arange(2 * ROWS) + 2] = END
    return tokens


def captioning_task(group: ProcessGroup | None) -> CaptioningTask:
    """Return the task of a tiny CoCa."""
    with tempfile.TemporaryDirectory() as folder:
        config = {"model_cfg": KINDS["coca"], "preprocess_cfg": {}}
        (Path(folder) / "open_clip_config.json").write_text(json.dumps(config))
        return CaptioningTask(build_coca(f"local-dir:{folder}"), group=group)


def value_and_gradients(
    task: Task, leaves: dict[str, Tensor], batch: dict[str, Tensor]
) -> list[Tensor]:
    """Return the sum of the losses, and its gradient towards every leaf that it depends on."""
    loss = torch.stack(list(task.losses(leaves, batch).values())).sum()
    loss.backward()
    return [loss.detach(), *(leaf.grad for leaf in leaves.values() if leaf.grad is not None)]

"""open_clip's own training step: its model, its loss and its `train_one_epoch`, one batch long."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.assemble import export_state
from zoo.models.image_text_model import ImageTextModel
from zoo.training.recipes.recipe import Recipe

_EPSILON = 1e-8  # AdamW's, of torch and of our recipes; open_clip's default for ViTs is 1e-6


class OpenClipStep:
    """Call it for the loss of one more step of plain CLIP training, always on the same batch.

    The optimizer is made as `open_clip_train.main` does it: AdamW, no decay for gains and biases.
    """

    def __init__(self, model: ImageTextModel, recipe: Recipe, image: Tensor, text: Tensor) -> None:
        """Copy the weights of `model` into open_clip's model of the same name.

        `image` uint8 (B, 3, S, S) and `text` int64 (B, T), on the model's device. Raises ValueError
        where open_clip_train cannot be imported or open_clip has no such model.
        """
        open_clip, self._train_one_epoch = _open_clip()
        name = model.card.name
        known = {known.lower(): known for known in open_clip.list_models()}
        if name not in known:
            raise ValueError(f"open_clip has no model {name}; choose one that both have.")
        self.model: nn.Module = open_clip.create_model(
            known[name], device=image.device, output_dict=True
        )
        self.model.load_state_dict(export_state(model, "open_clip"))
        self._arguments = _arguments(recipe, image)
        self._optimizer = _adamw(self.model, recipe)
        self._scaler = torch.amp.GradScaler() if recipe.precision == "float16" else None
        self._data = {"train": _OneBatch(model.preprocessing.normalize(image), text)}
        self._clip_loss = open_clip.ClipLoss()
        self._last_loss = torch.zeros(())

    def __call__(self) -> float:
        """Make one optimizer step and return the loss that led to it."""
        self._train_one_epoch(
            self.model,
            self._data,
            self._recorded_loss,
            epoch=0,
            optimizer=self._optimizer,
            scaler=self._scaler,
            scheduler=None,
            dist_model=None,
            args=self._arguments,
        )
        return self._last_loss.item()

    def _recorded_loss(self, **features: Any) -> dict[str, Tensor]:
        losses = self._clip_loss(**features)
        self._last_loss = losses["contrastive_loss"].detach()
        return losses


class _OneBatch:
    """What `train_one_epoch` asks of its data, one step long."""

    def __init__(self, image: Tensor, text: Tensor) -> None:
        batch = [(image, text)]
        self.dataloader = _Batches(batch)
        self.dataloader.num_batches, self.dataloader.num_samples = 1, len(image)

    def set_epoch(self, epoch: int) -> None:
        """Nothing changes from epoch to epoch."""


class _Batches(list[tuple[Tensor, Tensor]]):
    num_batches: int
    num_samples: int


def _open_clip() -> tuple[Any, Any]:
    try:
        import open_clip
        from open_clip_train.train import train_one_epoch
    except ImportError as error:
        raise ValueError(
            f"open_clip's training cannot be imported ({error}); install open_clip_torch "
            "and pandas."
        ) from error
    return open_clip, train_one_epoch


def _arguments(recipe: Recipe, image: Tensor) -> Namespace:
    """The flags of open_clip_train that `train_one_epoch` reads; nothing is logged but a line."""
    precisions = {"float32": "fp32", "bfloat16": "amp_bf16", "float16": "amp"}
    return Namespace(
        device=str(image.device),
        precision=precisions[recipe.precision],
        batch_size=len(image),
        accum_freq=1,
        grad_clip_norm=recipe.clip_norm,
        skip_scheduler=True,
        distill=False,
        horovod=False,
        distributed=False,
        world_size=1,
        rank=0,
        local_rank=0,
        log_local=False,
        log_every_n_steps=100,
        wandb=False,
        tensorboard=False,
    )


def _adamw(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    spared = ("bn", "ln", "bias", "logit_scale")
    groups: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        decayed = parameter.ndim >= 2 and not any(part in name for part in spared)
        groups[decayed].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": groups[False], "weight_decay": 0.0},
            {"params": groups[True], "weight_decay": recipe.weight_decay},
        ],
        lr=recipe.learning_rate,
        betas=recipe.betas,
        eps=_EPSILON,
    )

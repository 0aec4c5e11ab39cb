"""What to compute, by name: small, and the same in every process."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from zoo.reinforced_data.augmentation.policy import AugmentationPolicy
from zoo.reinforced_data.engine.captioners.load import load_captioner
from zoo.reinforced_data.engine.captioners.sampling import Sampling
from zoo.reinforced_data.engine.settings import OnError, Reinforcement
from zoo.reinforced_data.engine.teachers import load_teacher
from zoo.reinforced_data.sidecars.embedding_storage import Storage


@dataclass(frozen=True, kw_only=True)
class Specification:
    """A `Reinforcement` with names in the place of models; the other fields are the same."""

    teachers: tuple[str, ...]
    """As `load_teacher` reads them."""
    captioner: str | None = None
    """As `load_captioner` reads it."""
    candidates: tuple[str, ...] = ()
    """Sentences that the captioner "retrieval" chooses from."""
    sampling: Sampling = field(default_factory=Sampling)
    """How a captioner that writes draws words."""
    prompt: str = ""
    """What a captioner that writes continues or is asked."""
    policy: AugmentationPolicy = field(default_factory=AugmentationPolicy)
    augmentations: int = 10
    captions: int = 0
    seed: int = 0
    storage: tuple[Storage, ...] = ("int8",)
    """One for all teachers, or one for each."""
    batch_size: int = 64
    on_error: OnError = "stop"
    extend: bool = False

    def load(self, device: torch.device) -> Reinforcement:
        """Load the models onto `device`; raises what `load_teacher` and `load_captioner` raise."""
        teachers = [load_teacher(spec, device=device) for spec in self.teachers]
        captioner = None
        if self.captioner is not None:
            captioner = load_captioner(
                self.captioner,
                teachers=teachers,
                candidates=lambda: self.candidates,
                seed=self.seed,
                device=device,
                sampling=self.sampling,
                prompt=self.prompt,
            )
        return Reinforcement(
            teachers=teachers,
            policy=self.policy,
            augmentations=self.augmentations,
            captioner=captioner,
            captions=self.captions,
            seed=self.seed,
            storage=self.storage,
            batch_size=self.batch_size,
            on_error=self.on_error,
            extend=self.extend,
        )


def work_device(number: int = 0) -> torch.device:
    """Return the device of process `number`: one of the GPUs in turn, else the CPU."""
    gpus = torch.cuda.device_count()
    return torch.device("cuda", number % gpus) if gpus else torch.device("cpu")

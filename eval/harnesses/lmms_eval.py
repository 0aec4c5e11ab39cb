"""A zoo VLM as a model of lmms-eval (https://github.com/EvolvingLMMs-Lab/lmms-eval, 0.5 and later).

zoo registers itself through the entry point group `lmms_eval.models`; with both installed:

    python -m lmms_eval --model zoo_vlm --model_args model=fastvlm-0.5b,dtype=bfloat16 \\
        --tasks pope,docvqa_val --batch_size 8

`--model_args` takes the arguments of `LmmsEvalAnswers`. One process; pictures, not videos.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import Image

from zoo.eval.harnesses.model import harness_model
from zoo.eval.vision_language.answering import ask
from zoo.eval.vision_language.question import Question
from zoo.models.card import Stage
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.hub import PUBLISHED
from zoo.models.preprocess import ImageSource

MODEL = "zoo_vlm"
_MAX_NEW_TOKENS = 1024
"""Where a task says nothing, as in lmms-eval's own LLaVA models."""


@dataclass(frozen=True)
class _Generation:
    """How a task wants its answers; requests that agree in it share batches."""

    max_new_tokens: int
    temperature: float
    top_p: float
    until: tuple[str, ...]

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> _Generation:
        if settings.get("num_beams") not in (None, 1):
            raise ValueError(
                f"The task asks for {settings['num_beams']} beams; zoo's models are greedy or "
                "sample: set num_beams=1 with --gen_kwargs."
            )
        until = settings.get("until") or ()
        return cls(
            max_new_tokens=settings.get("max_new_tokens") or _MAX_NEW_TOKENS,
            temperature=settings.get("temperature") or 0.0,
            top_p=settings.get("top_p") or 1.0,
            until=(until,) if isinstance(until, str) else tuple(until),
        )

    def cut(self, answer: str) -> str:
        """Return the answer up to the first of the strings that end it."""
        for end in filter(None, self.until):
            answer = answer.split(end)[0]
        return answer


@dataclass(frozen=True)
class _Sampler:
    """The model with a task's temperature."""

    model: VisionLanguageModel
    generation: _Generation

    def generate(
        self,
        images: Sequence[Sequence[ImageSource]],
        prompt: list[str],
        *,
        max_new_tokens: int,
    ) -> list[str]:
        return self.model.generate(
            images,
            prompt,
            max_new_tokens=max_new_tokens,
            temperature=self.generation.temperature,
            top_p=self.generation.top_p,
        )


class LmmsEvalAnswers:
    """The half of lmms-eval's model interface that is ours; `zoo_vlm_class` joins it to theirs."""

    task_dict: dict[str, Any]
    """Documents by task, split and number; lmms-eval sets it."""
    cache_hook: Any

    def __init__(
        self,
        model: str = "fastvlm-0.5b",
        weights: str = PUBLISHED,
        stage: Stage | None = None,
        device: str | None = None,
        dtype: str | None = None,
        image_size: int | None = None,
        batch_size: int | str = 1,
        max_batch_size: int | None = None,
    ) -> None:
        """Load the model; arguments as `harness_model`'s.

        lmms-eval gives `batch_size`, `max_batch_size` (not used) and `device` from its own flags.
        """
        super().__init__()
        self.batch_size = int(batch_size)
        self.model = harness_model(
            model,
            weights=weights,
            stage=stage,
            device=device or "auto",
            dtype=dtype,
            image_size=image_size,
        )

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Return the answer to every request, whose `args` are (text, settings, doc_to_visual,
        number of the document, task, split)."""
        groups: dict[_Generation, list[Question]] = {}
        for place, request in enumerate(requests):
            text, settings, doc_to_visual, number, task, split = request.args
            pictures = doc_to_visual(self.task_dict[task][split][number])
            question = Question(id=str(place), prompt=text, images=_pictures(pictures, task))
            groups.setdefault(_Generation.of(settings), []).append(question)
        answers: dict[int, str] = {}
        for generation, questions in groups.items():
            said = ask(
                _Sampler(self.model, generation),
                questions,
                max_new_tokens=generation.max_new_tokens,
                batch_size=self.batch_size,
            )
            for question, answer in zip(questions, said, strict=True):
                answers[int(question.id)] = generation.cut(answer)
        for place, request in enumerate(requests):
            self.cache_hook.add_partial("generate_until", request.args[:2], answers[place])
        return [answers[place] for place in range(len(requests))]

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not there: every task of the FastVLM paper generates."""
        raise NotImplementedError("zoo_vlm answers tasks that generate, not loglikelihood ones.")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not there."""
        raise NotImplementedError("zoo_vlm answers tasks of one round.")


def _pictures(visuals: Sequence[Any] | None, task: str) -> tuple[ImageSource, ...]:
    for visual in visuals or ():
        if not isinstance(visual, Image.Image):
            raise ValueError(
                f"The task {task} gives {type(visual).__name__} where zoo_vlm reads pictures; "
                "choose a task without video or sound."
            )
    return tuple(visuals or ())


@cache
def zoo_vlm_class() -> type:
    """Return the class that lmms-eval makes its model of. Needs lmms-eval."""
    from lmms_eval.api.model import lmms  # pyright: ignore[reportMissingImports]

    return type("ZooVLM", (LmmsEvalAnswers, lmms), {"__module__": __name__})


def manifest() -> Any:
    """Return what lmms-eval's registry wants to know; its entry point. Needs lmms-eval."""
    from lmms_eval.models.registry_v2 import (  # pyright: ignore[reportMissingImports]
        ModelManifest,
    )

    return ModelManifest(model_id=MODEL, simple_class_path=f"{__name__}.ZooVLM")


def __getattr__(name: str) -> Any:
    """The class by its name, as the manifest's path has it, without importing lmms-eval before."""
    if name == "ZooVLM":
        return zoo_vlm_class()
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")

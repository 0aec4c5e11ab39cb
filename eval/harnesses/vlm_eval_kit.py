"""A zoo VLM as a model of VLMEvalKit (https://github.com/open-compass/VLMEvalKit).

The kit keeps its models in one table and has no plugins, so that a script of three lines adds ours
and starts it; its flags are the kit's:

    from zoo.eval.harnesses.vlm_eval_kit import register
    register("fastvlm-0.5b", model="fastvlm-0.5b", dtype="bfloat16")
    from vlmeval.run import main; main()

    python evaluate.py --data MMBench_DEV_EN POPE --model fastvlm-0.5b
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

from zoo.eval.harnesses.model import harness_model
from zoo.eval.vision_language.choice_files import OPTION_LETTER
from zoo.eval.vision_language.choices import LETTERS
from zoo.models.card import Stage
from zoo.models.fastvlm.prompt import IMAGE_TOKEN
from zoo.models.hub import PUBLISHED

Message = Sequence[Mapping[str, Any]]
"""Parts {"type": "image" or "text", "value": path or text}."""


class VlmEvalKitAnswers:
    """The half of VLMEvalKit's model interface that is ours; `zoo_vlm_class` joins it to theirs."""

    INTERLEAVE = True
    allowed_types = ("text", "image")

    def __init__(
        self,
        model: str = "fastvlm-0.5b",
        weights: str = PUBLISHED,
        stage: Stage | None = None,
        device: str = "auto",
        dtype: str | None = None,
        image_size: int | None = None,
        max_new_tokens: int = 512,
    ) -> None:
        """Load the model; arguments as `harness_model`'s."""
        super().__init__()
        self.max_new_tokens = max_new_tokens
        self.model = harness_model(
            model,
            weights=weights,
            stage=stage,
            device=device,
            dtype=dtype,
            image_size=image_size,
        )

    def use_custom_prompt(self, dataset: str | None) -> bool:
        """Multiple choice is asked as FastVLM was trained; the rest as the kit asks everyone."""
        from vlmeval.dataset import DATASET_TYPE  # pyright: ignore[reportMissingImports]

        return DATASET_TYPE(dataset) == "MCQ"

    def build_prompt(self, line: Mapping[str, Any], dataset: str | None = None) -> Message:
        """Return the message of a row of a multiple-choice table: hint, question, options."""
        letters = [letter for letter in LETTERS if _is_given(line, letter)]
        options = "\n".join(f"{letter}. {line[letter]}" for letter in letters)
        hint = f"{line['hint']}\n" if _is_given(line, "hint") else ""
        text = f"{hint}{line['question']}\n{options}\n{OPTION_LETTER}"
        pictures = self.dump_image(line, dataset)  # pyright: ignore[reportAttributeAccessIssue]
        paths = [pictures] if isinstance(pictures, str) else pictures
        images = [{"type": "image", "value": path} for path in paths]
        return [*images, {"type": "text", "value": text}]

    def generate_inner(self, message: Message, dataset: str | None = None) -> str:
        """Return the greedy answer to parts in the order given, each on a line of its own."""
        parts = [IMAGE_TOKEN if part["type"] == "image" else part["value"] for part in message]
        images = [part["value"] for part in message if part["type"] == "image"]
        return self.model.generate(images, "\n".join(parts), max_new_tokens=self.max_new_tokens)


def _is_given(line: Mapping[str, Any], name: str) -> bool:
    """Cells of the kit's tables that hold nothing are NaN, which differs from itself."""
    value = line.get(name)
    return value is not None and value == value


@cache
def zoo_vlm_class() -> type:
    """Return the class that VLMEvalKit makes its model of. Needs VLMEvalKit."""
    from vlmeval.vlm.base import BaseModel  # pyright: ignore[reportMissingImports]

    return type("ZooVLM", (VlmEvalKitAnswers, BaseModel), {"__module__": __name__})


def register(name: str, **settings: Any) -> None:
    """Add a model called `name` to the kit's table; `settings` as `VlmEvalKitAnswers` takes them.

    Needs VLMEvalKit.
    """
    from vlmeval.config import supported_VLM  # pyright: ignore[reportMissingImports]

    supported_VLM[name] = partial(zoo_vlm_class(), **settings)

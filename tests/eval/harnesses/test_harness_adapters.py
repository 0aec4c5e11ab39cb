"""The adapters answer what lmms-eval and VLMEvalKit ask, in the form in which they ask it.

Against the harnesses' own classes where they are installed; their calls, as documented in
`lmms_eval/api/model.py` and `vlmeval/vlm/base.py`, are made here in any case.

.venv/bin/pytest tests/eval/harnesses/test_harness_adapters.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from zoo.eval.harnesses import lmms_eval, vlm_eval_kit
from zoo.eval.harnesses.lmms_eval import LmmsEvalAnswers
from zoo.eval.harnesses.model import harness_model
from zoo.eval.harnesses.vlm_eval_kit import VlmEvalKitAnswers

SETTINGS: dict[str, Any] = {"model": "fastvlm-tiny", "weights": "none", "device": "cpu"}
GREEDY: dict[str, Any] = {"max_new_tokens": 4, "temperature": 0, "do_sample": False}
QUESTION = "What is it?\nAnswer the question using a single word or phrase."


def photo(shade: int) -> Image.Image:
    return Image.effect_noise((48, 32), 60.0 + shade).convert("RGB")


DOCUMENTS = [{"image": photo(shade)} for shade in (0, 60, 120)]


class Hook:
    """What lmms-eval's cache gets to see."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any, str]] = []

    def add_partial(self, kind: str, request: Any, answer: str) -> None:
        self.seen.append((kind, request, answer))


def request(text: str, settings: Mapping[str, Any], number: int, visual: Any = None) -> Any:
    """An `Instance` of a task that generates, as far as models look at it."""

    def pictures(document: Mapping[str, Any]) -> list[Any]:
        return [document["image"]]

    return SimpleNamespace(args=(text, settings, visual or pictures, number, "task", "test"))


@pytest.fixture(scope="module")
def answerer() -> LmmsEvalAnswers:
    torch.manual_seed(0)
    model = LmmsEvalAnswers(**SETTINGS, batch_size="2", max_batch_size=None, image_size=64)
    model.task_dict = {"task": {"test": DOCUMENTS}}
    return model


def test_lmms_eval_gets_the_models_answers_in_the_order_of_its_requests(
    answerer: LmmsEvalAnswers,
) -> None:
    answerer.cache_hook = Hook()
    requests = [
        request(QUESTION, GREEDY, 0),
        request("Short?", {**GREEDY, "max_new_tokens": 2}, 1),
        request(QUESTION + " Now.", GREEDY, 2),
    ]
    answers = answerer.generate_until(requests)
    expected = [
        answerer.model.generate(DOCUMENTS[number]["image"], text, max_new_tokens=length).strip()
        for number, text, length in ((0, QUESTION, 4), (1, "Short?", 2), (2, QUESTION + " Now.", 4))
    ]
    assert answers == expected and all(answers)
    assert [answer for *_, answer in answerer.cache_hook.seen] == answers
    assert answerer.cache_hook.seen[1][1] == ("Short?", {**GREEDY, "max_new_tokens": 2})


def test_lmms_eval_stops_answers_where_the_task_says(answerer: LmmsEvalAnswers) -> None:
    answerer.cache_hook = Hook()
    (whole,) = answerer.generate_until([request(QUESTION, GREEDY, 0)])
    middle = whole[len(whole) // 2]
    for until in (middle, [middle, ""]):
        (cut,) = answerer.generate_until([request(QUESTION, {**GREEDY, "until": until}, 0)])
        assert cut == whole.split(middle)[0]


def test_lmms_eval_samples_where_the_task_says(answerer: LmmsEvalAnswers) -> None:
    answerer.cache_hook = Hook()
    hot = {"max_new_tokens": 8, "temperature": 5.0}
    drawn = {answerer.generate_until([request(QUESTION, hot, 0)])[0] for _ in range(4)}
    assert len(drawn) > 1


def test_lmms_eval_asks_without_pictures_too(answerer: LmmsEvalAnswers) -> None:
    answerer.cache_hook = Hook()
    (answer,) = answerer.generate_until([request("Why?", GREEDY, 0, lambda document: [])])
    assert answer == answerer.model.generate(None, "Why?", max_new_tokens=4).strip()


def test_what_the_adapter_cannot_do_is_said_in_a_sentence(answerer: LmmsEvalAnswers) -> None:
    with pytest.raises(ValueError, match="reads pictures"):
        answerer.generate_until([request("?", GREEDY, 0, lambda document: ["film.mp4"])])
    with pytest.raises(ValueError, match="5 beams"):
        answerer.generate_until([request("?", {"num_beams": 5}, 0)])
    with pytest.raises(NotImplementedError, match="loglikelihood"):
        answerer.loglikelihood([])
    with pytest.raises(ValueError, match="no number format"):
        harness_model("fastvlm-tiny", weights="none", dtype="half-ish")


def test_lmms_eval_finds_and_makes_the_model() -> None:
    pytest.importorskip("lmms_eval")
    from lmms_eval.api.model import lmms  # pyright: ignore[reportMissingImports]
    from lmms_eval.models.registry_v2 import (  # pyright: ignore[reportMissingImports]
        ModelRegistryV2,
    )

    registry = ModelRegistryV2()
    registry.register_manifest(lmms_eval.manifest())
    made = registry.get_model_class("zoo_vlm").create_from_arg_string(
        "model=fastvlm-tiny,weights=none,device=cpu,image_size=64", {"batch_size": 2}
    )
    assert isinstance(made, lmms) and made.is_simple and made.batch_size == 2
    made.task_dict = {"task": {"test": DOCUMENTS}}
    assert all(made.generate_until([request(QUESTION, GREEDY, 0)]))


class KitModel(VlmEvalKitAnswers):
    """With what VLMEvalKit's base class brings: pictures of a row as files."""

    def dump_image(self, line: Mapping[str, Any], dataset: str | None) -> list[str]:
        return line["paths"]


@pytest.fixture(scope="module")
def kit() -> KitModel:
    torch.manual_seed(0)
    return KitModel(**SETTINGS, image_size=64, max_new_tokens=4)


def test_vlm_eval_kit_gets_the_answer_to_parts_in_their_order(
    kit: KitModel, tmp_path: Path
) -> None:
    first, second = (tmp_path / f"{number}.png" for number in (0, 1))
    photo(0).save(first)
    photo(120).save(second)
    paths = [str(first), str(second)]
    message = [
        {"type": "image", "value": paths[0]},
        {"type": "text", "value": "and"},
        {"type": "image", "value": paths[1]},
        {"type": "text", "value": QUESTION},
    ]
    expected = kit.model.generate(paths, f"<image>\nand\n<image>\n{QUESTION}", max_new_tokens=4)
    assert kit.generate_inner(message, dataset="POPE") == expected
    assert kit.generate_inner([*message[2:]]) == kit.model.generate(
        second, QUESTION, max_new_tokens=4
    )


def test_vlm_eval_kit_asks_multiple_choice_as_the_model_was_trained(kit: KitModel) -> None:
    nothing = float("nan")
    line = {"question": "Which?", "A": "iron", "B": "wood", "C": nothing, "hint": "Look."}
    message = kit.build_prompt({**line, "paths": ["a.png", "b.png"]}, "MMBench_DEV_EN")
    assert message == [
        {"type": "image", "value": "a.png"},
        {"type": "image", "value": "b.png"},
        {
            "type": "text",
            "value": "Look.\nWhich?\nA. iron\nB. wood\n"
            "Answer with the option's letter from the given choices directly.",
        },
    ]
    without = kit.build_prompt({**line, "hint": nothing, "paths": []}, None)
    assert without[0]["value"].startswith("Which?\nA. iron")


def test_vlm_eval_kit_makes_the_model_from_its_table(tmp_path: Path) -> None:
    pytest.importorskip("vlmeval")
    from vlmeval.config import supported_VLM  # pyright: ignore[reportMissingImports]
    from vlmeval.vlm.base import BaseModel  # pyright: ignore[reportMissingImports]

    vlm_eval_kit.register("zoo-tiny", **SETTINGS, image_size=64, max_new_tokens=4)
    model = supported_VLM["zoo-tiny"]()
    assert isinstance(model, BaseModel)
    photo(0).save(tmp_path / "0.png")
    assert model.generate([str(tmp_path / "0.png"), QUESTION], dataset="POPE")
    assert model.use_custom_prompt("MMBench_DEV_EN") and not model.use_custom_prompt("POPE")

"""The demo's vision-language model: conversations, four stages of training, held-out questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from zoo.commands.console import heading
from zoo.commands.demo_stages import DemoFolder, train_once, write_once
from zoo.commands.eval_vlm import evaluate_vlm, metrics_table
from zoo.commands.tiny_world import tiny_world
from zoo.commands.train import TrainOptions
from zoo.eval.report import ImageGridSection, Section, TableSection, TextSection, Tile
from zoo.eval.results import Record
from zoo.eval.vision_language.answer_scores import words_match
from zoo.eval.vision_language.conversation_files import read_questions
from zoo.eval.vision_language.own_questions import MAX_NEW_TOKENS
from zoo.eval.vision_language.question import Question
from zoo.models.fastvlm.load import load_vision_language_model
from zoo.models.preprocess import open_image
from zoo.training.recipes.registry import get_recipe

MODEL = "fastvlm-tiny"
STAGES = ("1", "1.5", "2", "3")
TEST_SCENES = 150
_world = partial(tiny_world, image_size=128)
_DATA = {
    "descriptions": partial(_world, scenes=6_400, seed=11, conversations="description"),
    "places": partial(_world, scenes=11_200, seed=12, conversations="places"),
    "all": partial(_world, scenes=5_600, seed=13, conversations="all"),
    "test-questions": partial(
        _world, scenes=TEST_SCENES, seed=14, split="test", conversations="questions"
    ),
}
_SHOWN_QUESTIONS = 12
_INTRODUCTION = """\
A small FastVLM, its tower and its language model both with random weights at first, went through \
the stages of the paper: the projector alone, the whole model on dense descriptions, then the \
language model on where colours are and on questions of every kind. It is asked about scenes whose \
main object has a combination of colour and shape that it was never shown."""


def write_conversations(paths: DemoFolder) -> None:
    """Shards with conversations about scenes, for the stages and for testing."""
    heading("writing conversations about the tiny world")
    for name, write in _DATA.items():
        write_once(paths.conversations(name), write)


def train_stages(paths: DemoFolder, seed: int = 0) -> str:
    """Train stage after stage, each from the weights before, and return the last run's name."""
    weights = None
    run = ""
    for stage in STAGES:
        run = f"vlm-stage{stage}" + (f"-{seed}" if seed else "")
        heading(f"training {MODEL}, stage {stage}, seed {seed}")
        recipe = get_recipe(f"{MODEL}-stage{stage}")
        data = str(paths.conversations(Path(recipe.data).name))
        recipe = replace(recipe, data=data, init=weights, output=paths.run(run), seed=seed)
        train_once(TrainOptions(recipe=recipe))
        weights = paths.weights(run)
    return run


def evaluate_answers(paths: DemoFolder, run: str, results: Path) -> None:
    """Ask questions about held-out combinations, beside what the most frequent answer scores."""
    heading(f"asking {run}")
    evaluate_vlm(
        "questions",
        data=paths.conversations("test-questions"),
        model=MODEL,
        weights=str(paths.run(run)),
        training=paths.conversations("all"),
        name=run,
        device="cpu",
        output=paths.root / "answers" / f"{run}.jsonl",
        results=results,
    )


def answer_sections(paths: DemoFolder, run: str, records: Sequence[Record]) -> list[Section]:
    """What the report shows of it: accuracy by kind of question, and some of the answers."""
    record = next(record for record in records if record["model"] == run)
    columns, rows = metrics_table(record["metrics"])
    return [
        TextSection(heading="A vision-language model that answers questions", text=_INTRODUCTION),
        TableSection(
            columns=["questions", *columns],
            rows=rows,
            note=f"{record['protocol']['questions']} questions about {TEST_SCENES} scenes; "
            "majority is what the most frequent answer of the training questions scores.",
        ),
        _answers(paths, run),
    ]


def _answers(paths: DemoFolder, run: str) -> ImageGridSection:
    """Questions about held-out scenes, from the first scene to the last."""
    questions = read_questions(paths.conversations("test-questions"))
    questions = questions[:: max(1, len(questions) // _SHOWN_QUESTIONS)][:_SHOWN_QUESTIONS]
    model = load_vision_language_model(MODEL, weights=paths.run(run), device="cpu")
    answers = model.generate(
        [question.images for question in questions],
        [question.prompt for question in questions],
        max_new_tokens=MAX_NEW_TOKENS,
    )
    tiles = [_tile(question, answer) for question, answer in zip(questions, answers, strict=True)]
    return ImageGridSection(tiles=tiles, note=f"{len(tiles)} of the questions and its answers.")


def _tile(question: Question, answer: str) -> Tile:
    (image,) = question.images
    assert isinstance(image, bytes), "shards hold their pictures"
    return Tile(
        image=open_image(image),
        caption=question.prompt,
        verdict=answer,
        correct=bool(words_match(answer, question.answers or ())),
    )

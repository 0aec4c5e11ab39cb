"""Tiny world: an embedded, procedural data set of rendered scenes that needs no download.

One to three shapes with colour, texture, size and grid position; captions in several wordings,
a mask and questions for each. Everything is a function of (seed, split, index). One in four
(colour, shape) pairs is held out of the split "train" for zero-shot tests.
"""

from zoo.reinforced_data.tiny_world.captions import (
    CLASSIFICATION_TEMPLATES,
    candidate_captions,
    scene_captions,
)
from zoo.reinforced_data.tiny_world.conversations import conversation_samples
from zoo.reinforced_data.tiny_world.questions import Question, scene_questions
from zoo.reinforced_data.tiny_world.render import render_scene
from zoo.reinforced_data.tiny_world.samples import scene_samples
from zoo.reinforced_data.tiny_world.scene import (
    COLOURS,
    SHAPES,
    SIZES,
    TEXTURES,
    Scene,
    SceneObject,
    Split,
    class_names,
    colour_shape_pairs,
    is_held_out,
    make_scene,
)

__all__ = [
    "CLASSIFICATION_TEMPLATES",
    "COLOURS",
    "SHAPES",
    "SIZES",
    "TEXTURES",
    "Question",
    "Scene",
    "SceneObject",
    "Split",
    "candidate_captions",
    "class_names",
    "colour_shape_pairs",
    "conversation_samples",
    "is_held_out",
    "make_scene",
    "render_scene",
    "scene_captions",
    "scene_questions",
    "scene_samples",
]

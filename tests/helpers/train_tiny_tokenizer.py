"""Learns fastvlm-tiny's byte-pair tokenizer from the tiny world's sentences; no randomness.

.venv/bin/python tests/helpers/train_tiny_tokenizer.py models/fastvlm/tiny_tokenizer.json
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from zoo.models.fastvlm.prompt import DEFAULT_SYSTEM_PROMPT, SPECIAL_TOKENS
from zoo.reinforced_data.tiny_world.captions import scene_captions
from zoo.reinforced_data.tiny_world.conversations import scene_conversation
from zoo.reinforced_data.tiny_world.scene import make_scene

VOCAB_SIZE = 512
SCENES = 2000


def sentences() -> Iterator[str]:
    for index in range(SCENES):
        scene = make_scene(index, seed=0, split="all")
        yield from scene_captions(scene, 3)
        for style in ("description", "places", "questions"):
            yield f"system\n{DEFAULT_SYSTEM_PROMPT}"
            for _, question, answer in scene_conversation(scene, style):
                yield from ("user\n", f"{question}\n", "assistant\n", answer)


def learn_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    return tokenizer


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(learn_tokenizer().to_str(pretty=True) + "\n", encoding="utf-8")

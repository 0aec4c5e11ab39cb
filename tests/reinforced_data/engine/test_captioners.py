"""Models that write captions: drawn by key alone, by the settings asked for, from real weights.

.venv/bin/pytest tests/reinforced_data/engine/test_captioners.py
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import open_clip
import pytest
import tiny_transformers
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_open_clip import save_open_clip
from tiny_shards import make_samples
from tiny_transformers import save_captioner

from zoo.models.preprocess import open_image
from zoo.reinforced_data.engine.captioners.load import load_captioner
from zoo.reinforced_data.engine.captioners.protocol import Captioner
from zoo.reinforced_data.engine.captioners.sampling import Sampling, sample_captions
from zoo.reinforced_data.engine.open_clip_models import load_open_clip

SHORT = Sampling(max_tokens=6)
KINDS = [*tiny_transformers.KINDS, "coca"]


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny random model of each kind, saved."""
    folder = tmp_path_factory.mktemp("captioners")
    saved = {kind: save_captioner(folder / kind, kind) for kind in tiny_transformers.KINDS}
    return saved | {"coca": f"open_clip:{save_open_clip(folder / 'coca', 'coca')}"}


def load(spec: str, **settings: Any) -> Captioner:
    settings = {"sampling": SHORT, "seed": 0} | settings
    return load_captioner(spec, teachers=[], candidates=list, **settings)


def pictures(count: int = 3) -> tuple[list[Image.Image], list[str]]:
    samples = make_samples(count)
    return [open_image(sample.image) for sample in samples], [sample.key for sample in samples]


@pytest.mark.parametrize("kind", KINDS)
def test_captions_depend_on_the_picture_its_key_and_the_seed_alone(
    kind: str, specs: dict[str, str]
) -> None:
    captioner = load(specs[kind])
    images, keys = pictures()
    torch.manual_seed(1)
    made = captioner.captions(images, keys, 3)
    torch.manual_seed(2)
    assert captioner.captions(images[::-1], keys[::-1], 3) == made[::-1]
    assert captioner.captions(images[1:2], keys[1:2], 3) == made[1:2]
    assert load(specs[kind]).captions(images, keys, 3) == made
    assert captioner.captions(images[::-1], keys, 3) != made
    assert captioner.captions(images, [f"{key}'" for key in keys], 3) != made
    assert load(specs[kind], seed=1).captions(images, keys, 3) != made


@pytest.mark.parametrize("kind", KINDS)
def test_captions_are_several_single_lines_without_special_tokens(
    kind: str, specs: dict[str, str]
) -> None:
    images, keys = pictures()
    for captions in load(specs[kind]).captions(images, keys, 5):
        assert len(captions) == 5
        assert len(set(captions)) > 1
        for caption in captions:
            assert caption == " ".join(caption.split()) != ""
            assert not re.search(r"\[\w+\]|<\w+>", caption)
            if kind != "coca":
                assert 1 <= len(caption.split()) <= 6


@pytest.mark.parametrize("kind", KINDS)
def test_the_settings_tell_everything_and_fit_into_json(kind: str, specs: dict[str, str]) -> None:
    settings = load(specs[kind], sampling=Sampling(top_p=0.5, temperature=2, max_tokens=9)).settings
    assert json.loads(json.dumps(settings)) == settings
    assert settings["name"] == specs[kind].partition(":")[0]
    assert settings["model"] == kind
    assert re.fullmatch(rf"{kind} sha256:[0-9a-f]{{16}}", settings["pretrained"])
    assert (settings["top_p"], settings["temperature"], settings["max_tokens"]) == (0.5, 2, 9)


@pytest.mark.parametrize("kind", ["blip", "vit-gpt2"])
def test_a_narrow_nucleus_writes_what_the_model_finds_most_probable(
    kind: str, specs: dict[str, str]
) -> None:
    import transformers

    images, keys = pictures(2)
    folder = specs[kind].removeprefix("transformers:")
    model: Any = transformers.AutoModelForImageTextToText.from_pretrained(folder)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    pixels = transformers.AutoImageProcessor.from_pretrained(folder)(images, return_tensors="pt")
    greedy = model.generate(**pixels, do_sample=False, num_beams=1, max_new_tokens=6)
    expected = tokenizer.batch_decode(greedy, skip_special_tokens=True)
    narrow = load(specs[kind], sampling=Sampling(top_p=1e-6, max_tokens=6))
    assert narrow.captions(images, keys, 2) == [(text, text) for text in expected]


def test_a_narrow_nucleus_of_coca_follows_the_models_own_forward_pass(
    specs: dict[str, str],
) -> None:
    images, keys = pictures(1)
    loaded = load_open_clip(specs["coca"].removeprefix("open_clip:"), None)
    pixels = loaded.normalize(loaded.preparation(images[0])[None])
    ids = torch.tensor([[open_clip.get_tokenizer("ViT-B-32").sot_token_id]])  # type: ignore
    with torch.no_grad():
        for _ in range(6):
            logits = loaded.model(pixels, ids, output_labels=False)["logits"][:, -1]
            ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
    expected = open_clip.decode(ids[0]).removeprefix("<start_of_text>")
    narrow = load(specs["coca"], sampling=Sampling(top_p=1e-6, max_tokens=6))
    assert narrow.captions(images, keys, 1) == [(" ".join(expected.split()),)]


def test_coca_ends_at_its_end_token_and_keeps_the_first_sentence(tmp_path: Path) -> None:
    name = save_open_clip(tmp_path / "coca", "coca")
    file = tmp_path / "coca" / "open_clip_model.safetensors"
    weights = load_file(file)
    tokenizer: Any = open_clip.get_tokenizer(name)
    # Whatever it has read, "cat", "." and the end are equally probable, all else impossible.
    weights["text_decoder.ln_final.weight"][:] = 0
    weights["text_decoder.ln_final.bias"][:] = 1
    weights["text_decoder.text_projection"][:] = -1
    possible = [*tokenizer.encode("cat."), tokenizer.eot_token_id]
    weights["text_decoder.text_projection"][:, possible] = 0
    save_file(weights, file)
    captioner = load(f"open_clip:{name}", sampling=Sampling(top_p=1.0, max_tokens=60))
    made = captioner.captions(*pictures(), 8)
    assert {word for captions in made for text in captions for word in text.split()} == {"cat"}
    assert len({text for captions in made for text in captions}) > 2


def test_the_nucleus_is_drawn_as_often_as_its_probabilities_say() -> None:
    probabilities = torch.tensor([0.05, 0.4, 0.25, 0.3])
    rng, count = np.random.default_rng(0), 4000
    drawn = Sampling(top_p=0.6).draw(probabilities.log().expand(count, -1), rng)
    shares = torch.bincount(drawn[:, 0], minlength=4) / count
    assert drawn.shape == (count, 1)
    assert shares.tolist() == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=0.03)
    hot = Sampling(top_p=1.0, temperature=1e9).draw(probabilities.log().expand(count, -1), rng)
    assert (torch.bincount(hot[:, 0], minlength=4) / count).tolist() == pytest.approx(
        [0.25] * 4, abs=0.03
    )


def test_a_token_that_is_ruled_out_is_never_drawn() -> None:
    logits = torch.tensor([[0.0, -torch.inf, 0.0]]).expand(500, -1)
    drawn = Sampling(top_p=1.0).draw(logits, np.random.default_rng(0))
    assert set(drawn.flatten().tolist()) == {0, 2}


def test_empty_captions_are_drawn_again_and_ten_times_nothing_names_the_picture() -> None:
    texts = iter([["", " a\n cat "], [" "], ["a dog"]])
    made = sample_captions(lambda rng, wanted: next(texts), seed=0, key="k", count=2)
    assert made == ("a cat", "a dog")
    with pytest.raises(ValueError, match="nothing about the picture 'k' in 10 attempts"):
        sample_captions(lambda rng, wanted: [""] * wanted, seed=0, key="k", count=2)


def test_a_prompt_is_asked_and_is_no_part_of_the_caption(specs: dict[str, str]) -> None:
    images, keys = pictures()
    asked = load(specs["llava"], prompt="a red car")
    assert asked.settings["prompt"] == "USER <image> a red car BOT"
    assert load(specs["llava"]).settings["prompt"] == (
        "USER <image> Describe this picture in one sentence. BOT"
    )
    assert all(
        len(caption.split()) <= 6
        for captions in asked.captions(images, keys, 2)
        for caption in captions
    )
    answered = load(specs["blip-2"], prompt="a big").captions(images, keys, 2)
    assert all(len(caption.split()) <= 6 for captions in answered for caption in captions)
    continued = load(specs["blip"], prompt="a big").captions(images, keys, 2)
    assert all(caption.startswith("a big") for captions in continued for caption in captions)


@pytest.mark.parametrize("kind", ["git", "vit-gpt2", "coca"])
def test_a_prompt_that_would_be_ignored_is_refused(kind: str, specs: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"prompt; leave 'a photo' out"):
        load(specs[kind], prompt="a photo")


def test_weights_that_lack_a_layer_are_refused_by_its_name(
    specs: dict[str, str], tmp_path: Path
) -> None:
    for file in Path(specs["blip"].removeprefix("transformers:")).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    removed = next(name for name in weights if "crossattention" in name)
    del weights[removed]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=f"lack {re.escape(removed)}"):
        load(f"transformers:{tmp_path}")


@pytest.mark.parametrize("length", [100, 20000])
def test_damaged_weights_are_refused_by_their_place(
    length: int, specs: dict[str, str], tmp_path: Path
) -> None:
    for kind in ("blip", "coca"):
        folder = tmp_path / kind
        shutil.copytree(re.sub(r"^\w+:(local-dir:)?", "", specs[kind]), folder)
        (weights,) = folder.glob("*.safetensors")
        weights.write_bytes(weights.read_bytes()[:length])
        with pytest.raises(ValueError, match=f"^'{folder}' "):
            load(specs[kind].rpartition(":")[0] + f":{folder}")


def test_a_model_that_cannot_caption_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match=r"holds no image-to-text model.*\(Unrecognized"):
        load(f"transformers:{tmp_path}")
    name = save_open_clip(tmp_path / "vit", "vit")
    with pytest.raises(ValueError, match="is not a CoCa"):
        load(f"open_clip:{name}")
    with pytest.raises(ValueError, match="names no weights and would be random"):
        load("open_clip:coca_ViT-B-32")


def test_a_model_that_is_not_here_and_cannot_be_fetched_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match="transformers cannot get nobody/nothing"):
        load("transformers:nobody/nothing")


def test_a_missing_transformers_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"needs transformers; install zoo\[vlm\]"):
        load("transformers:Salesforce/blip-image-captioning-base")


@pytest.mark.parametrize("spec", ["blip", "zoo:fastvlm-0.5b", "transformers:", "open_clip:", ""])
def test_an_unknown_specification_shows_the_grammar(spec: str) -> None:
    with pytest.raises(ValueError, match=r"write retrieval, transformers:MODEL_OR_FOLDER or open"):
        load(spec)


@pytest.mark.parametrize("wrong", [{"top_p": 0}, {"top_p": 1.1}, {"temperature": 0}])
def test_sampling_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is "):
        Sampling(**wrong)  # type: ignore[arg-type]

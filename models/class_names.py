"""Class names, the sentences that they make, and the text features of a class.

Protocol of CLIP (Radford et al. 2021, section 3.1.4): for each class the normalised text features
of all templates are averaged and normalised again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from torch.nn import functional as F

CLASS_NAMES_FILE = "classnames.txt"
"""Name of the file beside shards that holds their class names, one a line, in label order."""
DEFAULT_TEMPLATES = ("a photo of a {}.",)


def read_class_names(source: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Class names from a list, or from a text file with one name a line.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there are no names, or a line between names is empty (it would shift the
            indices that follow).
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: give a file with one name a line.")
        names = _decode(path).rstrip().splitlines()
    else:
        path, names = "the list of class names", list(source)
    stripped = tuple(name.strip() for name in names)
    if not stripped or not all(stripped):
        raise ValueError(f"{path}: every class needs a name, one a line, without empty lines.")
    return stripped


def class_prompts(class_names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every template filled with every class name, template by template within a class.

    A template marks the place of the name by `{}` or, as DataComp's files do, by `{c}`.

    Raises:
        ValueError: there are no classes or no templates, a name is empty, or a template has no
            place for the name.
    """
    if not class_names or any(not name.strip() for name in class_names):
        raise ValueError("The class names must be one or more non-empty words, such as 'a dog'.")
    if not templates:
        raise ValueError("There are no templates: give at least one, such as 'a photo of a {}.'.")
    return [_fill(template, name) for name in class_names for template in templates]


def average_templates(features: Tensor, class_count: int) -> Tensor:
    """Mean over a class's templates of features (classes * templates, D), normalised again."""
    by_class = F.normalize(features, dim=-1).reshape(class_count, -1, features.shape[-1])
    return F.normalize(by_class.mean(dim=1), dim=-1)


def _fill(template: str, name: str) -> str:
    try:
        prompt, other = (template.format(text, c=text) for text in (name, name + "\0"))
    except (IndexError, KeyError, ValueError) as error:
        raise ValueError(f"The template {template!r} is not one: mark the name by {{}}.") from error
    if prompt == other:
        raise ValueError(f"The template {template!r} has no place for the name: write {{}} there.")
    return prompt


def _decode(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not utf-8 text: save it as utf-8.") from error

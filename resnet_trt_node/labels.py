"""Class names: what they must be, and the ImageNet list that ships with the package."""

from __future__ import annotations

from collections import Counter
from importlib import resources
import re
from typing import Sequence

from resnet_trt_node.errors import LabelsError

#: Lone surrogates, which UTF-8 has none of, and what ends a string in C.
_NO_TEXT = re.compile('[\ud800-\udfff\0]')


def tell_apart(names: Sequence[str]) -> tuple[str, ...]:
    """
    Return names of which no two are equal: those that stand there twice get their index.

    ImageNet has two cranes, the bird and the machine: they become 'crane (134)' and 'crane (517)',
    in messages, tables and folders alike.
    """
    count = Counter(names)
    return tuple(f'{name} ({index})' if name and count[name] > 1 else name
                 for index, name in enumerate(names))


def check_labels(names: tuple[str, ...], where: str = 'labels') -> tuple[str, ...]:
    """
    Return the names if they can be class names.

    :param names: class names in the order of the model's output.
    :param where: where they come from, for the message.
    :raises LabelsError: if there are none, or a name is blank, twice there or no text that a
        message can carry.
    """
    if not names:
        raise LabelsError(f'{where}: no class names; write one per line')
    seen: dict[str, int] = {}
    for line, name in enumerate(names, start=1):
        if not name:
            raise LabelsError(f'{where}, line {line}: a class name is blank')
        if _NO_TEXT.search(name):
            raise LabelsError(
                f'{where}, line {line}: {name!a} holds half a character or a NUL, which no '
                'message can carry: write the names again, in UTF-8')
        if name in seen:
            raise LabelsError(
                f'{where}, line {line}: {name!r} stands on line {seen[name]} already; '
                'listeners could not tell the two classes apart')
        seen[name] = line
    return names


def imagenet_labels() -> tuple[str, ...]:
    """Return the 1000 ImageNet-1k class names in the order of the published checkpoints."""
    return _lines('imagenet_classes.txt')


def imagenet_wordnet_ids() -> tuple[str, ...]:
    """Return WordNet's id of each of the 1000 ImageNet-1k classes, such as 'n01440764'."""
    return _lines('imagenet_wordnet_ids.txt')


def _lines(name: str) -> tuple[str, ...]:
    file = resources.files('resnet_trt_node') / 'data' / name
    return tuple(file.read_text(encoding='utf-8').splitlines())

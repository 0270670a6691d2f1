"""Class names: what they must be, and the ImageNet list that ships with the package."""

from __future__ import annotations

from collections import Counter
from importlib import resources
import re
from typing import Sequence

from resnet_trt_node.errors import LabelsError

#: What to do about a list that cannot be put in order.
HOW_TO_NUMBER = (
    'write one name a line in the order of the output, or number all classes from 0')
#: What TensorFlow's lists of 1001 classes begin with, lower case.
BACKGROUND = frozenset({'background', '__background__', 'dummy'})
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


def ordered(pairs: Sequence[tuple[int, str]], where: str) -> list[str]:
    """
    Return names in the order of their numbers.

    :param pairs: number and name of each class.
    :param where: what holds them, for the message.
    :raises LabelsError: unless the numbers are 0 to C - 1, each once.
    """
    numbers = [number for number, _ in pairs]
    if sorted(numbers) != list(range(len(numbers))):
        twice = next((one for one, times in Counter(numbers).items() if times > 1), None)
        lacking = min(set(range(len(numbers) + 1)) - set(numbers))
        problem = (
            f'number {lacking} is missing' if twice is None else f'{twice} stands there twice')
        raise LabelsError(
            f'{where}: its {len(numbers)} names are numbered, but not 0 to {len(numbers) - 1} '
            f'({problem}): {HOW_TO_NUMBER}')
    return [name for _, name in sorted(pairs)]


def imagenet_labels() -> tuple[str, ...]:
    """Return the 1000 ImageNet-1k class names in the order of the published checkpoints."""
    return _lines('imagenet_classes.txt')


def imagenet_wordnet_ids() -> tuple[str, ...]:
    """Return WordNet's id of each of the 1000 ImageNet-1k classes, such as 'n01440764'."""
    return _lines('imagenet_wordnet_ids.txt')


def _lines(name: str) -> tuple[str, ...]:
    file = resources.files('resnet_trt_node') / 'data' / name
    return tuple(file.read_text(encoding='utf-8').splitlines())

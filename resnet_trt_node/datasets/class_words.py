"""Which class a word names: the word of a table or the name of a folder, for a model's classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
import re
from typing import Iterable, Mapping, Optional, Sequence, Union

from resnet_trt_node.errors import DataError
from resnet_trt_node.labels.names import BACKGROUND, imagenet_labels, imagenet_wordnet_ids
from resnet_trt_node.text.printable import printable

#: How words can be read.
NAMES, WORDNET, NUMBERS = 'name', 'WordNet id', 'index'
_WORDNET_ID = re.compile(r'n[0-9]{8}(?![0-9])')
_NUMBER = re.compile(r'[0-9]{1,9}')


@dataclass(frozen=True)
class Reading:
    """
    One way to read words as classes.

    :param kind: `NAMES`, `WORDNET` or `NUMBERS`.
    :param places: index of each word that is known.
    """

    kind: str
    places: Mapping[str, int]

    def reads(self, words: Iterable[str]) -> bool:
        """Tell whether all words name a class."""
        return all(word in self.places for word in words)


class ClassWords:
    """
    The words for the classes of a model.

    :param classes: its class names in the order of its output; or their number, where words can
        only be class indices.
    """

    def __init__(self, classes: Union[int, Sequence[str]]) -> None:
        self._labels = () if isinstance(classes, int) else tuple(classes)
        self.count = classes if isinstance(classes, int) else len(classes)

    def readings(self, words: Iterable[str], kinds: Sequence[str] = ()) -> list[Reading]:
        """
        Return every way to read words, the most likely one first, known to it or not.

        :param words: of a data set, all of them.
        :param kinds: which ways are allowed, all of them if empty.
        """
        words = set(words)
        numbers = {
            word: int(word) for word in words
            if _NUMBER.fullmatch(word) and int(word) < self.count}
        found = (
            Reading(NAMES, self._names), Reading(WORDNET, self._wordnet_ids),
            Reading(NUMBERS, numbers))
        return [one for one in found if not kinds or one.kind in kinds]

    def knows(self, word: str) -> bool:
        """Tell whether a word names a class in any way."""
        return any(word in one.places for one in self.readings([word]))

    def describe(self) -> str:
        """Return what words there are, for messages."""
        if not self._labels:
            return f'the model knows 0 to {self.count - 1}: write an index'
        return (
            f'the model knows 0 to {self.count - 1}: write an index, a name as `resnet_trt '
            'inspect` shows it' + (', or a WordNet id' if self._wordnet_ids else ''))

    @cached_property
    def _names(self) -> dict[str, int]:
        return {label: index for index, label in enumerate(self._labels)}

    @cached_property
    def _wordnet_ids(self) -> dict[str, int]:
        """Return WordNet ids of the classes: in the labels themselves, or those of ImageNet."""
        own = {
            found[0]: index for index, label in enumerate(self._labels)
            if (found := _WORDNET_ID.match(label))}
        if own:
            return own
        ids = imagenet_wordnet_ids()
        start = imagenet_start(self._labels)
        if start is not None:
            return {one: start + index for index, one in enumerate(ids)}
        return {
            one: self._names[label] for one, label in zip(ids, imagenet_labels())
            if label in self._names}


def imagenet_start(labels: Sequence[str]) -> Optional[int]:
    """
    Return the index of ImageNet's first class in a model of all its classes in the usual order.

    :param labels: of the model, however they are spelt; half of them must be ImageNet's names.
    :returns: 0, or 1 behind TensorFlow's `background`; None for other models.
    """
    start = len(labels) - 1000
    if start not in (0, 1) or (start and labels[0].lower() not in BACKGROUND):
        return None
    same = sum(
        bool(_synonyms(label) & _synonyms(known))
        for label, known in zip(labels[start:], imagenet_labels()))
    return start if same >= 500 else None


def _synonyms(label: str) -> set[str]:
    """Return the names in a label such as 'tench, Tinca tinca' or 'crane (bird)'."""
    plain = re.sub(r'\s*\(.*?\)', '', label.lower().replace('_', ' '))
    return {part.strip() for part in plain.split(',')}


def choose_reading(readings: Sequence[Reading], words: Sequence[str], where: str) -> Reading:
    """
    Return how words are to be read.

    :param readings: see `ClassWords.readings`.
    :param words: of a data set, all of them.
    :param where: what holds them, for messages.
    :returns: the reading that knows all words, else the one that knows the first and most others,
        so that the caller can name what it does not know.
    :raises DataError: if two readings know all words and do not agree.
    """
    fits = [one for one in readings if one.reads(words)]
    for one, other in zip(fits, fits[1:]):
        word = next((word for word in words if one.places[word] != other.places[word]), None)
        if word is not None:
            raise DataError(
                f'{where}: {printable(repr(word))} is class {one.places[word]} by its name and '
                f'class {other.places[word]} by its number, so it could be read two ways: head '
                'the column class_name or class_index')
    if fits:
        return fits[0]
    # The one for what looks like it: an index out of range is to be called so.
    if all(_NUMBER.fullmatch(word.lstrip('-')) for word in words):
        return readings[-1]
    return max(readings, key=lambda one: (
        words[0] in one.places, sum(word in one.places for word in words)))

"""Class names for a model: those that the user gives, or the usual ones."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Mapping, Optional, Sequence, Union

from resnet_trt_node.errors import LabelsError
from resnet_trt_node.labels.document import names_in_metadata
from resnet_trt_node.labels.file import listed, read_labels
from resnet_trt_node.labels.names import BACKGROUND, check_labels, imagenet_labels, tell_apart

#: Told in a line what was assumed.
Say = Callable[[str], None]


def silent(line: str) -> None:
    """Say nothing of an assumption."""


def given_labels(
        labels: Optional[Union[str, Path, Sequence[str]]],
        say: Say = silent) -> Optional[tuple[str, ...]]:
    """
    Return the names that a user gave, None if there are none; no two of them are equal.

    :param labels: class names, or a file of them.
    :param say: told what was assumed.
    :raises LabelsError: if they cannot be class names.
    """
    if labels is None:
        return None
    if isinstance(labels, (str, Path)):
        return read_labels(labels, say)
    return check_labels(tell_apart(labels))


def labels_in(
        metadata: Mapping[str, str], what: str, say: Say = silent) -> Optional[tuple[str, ...]]:
    """
    Return the names that an ONNX file from elsewhere has in its metadata, None if it has none.

    :param metadata: its properties, such as Ultralytics' `names`.
    :param what: the file, for messages.
    :param say: told where they were found.
    :raises LabelsError: if they are numbered, but not 0 to C - 1, or cannot be class names.
    """
    found = names_in_metadata(metadata, what, say)
    if found is None:
        return None
    key, names = found
    where = f'{key!r} in the metadata of {what}'
    labels = check_labels(tell_apart(listed(names, where)), where)
    say(f'class names: {where}')
    return labels


def labels_for(
        given: Optional[tuple[str, ...]], count: int, what: str,
        say: Say = silent) -> tuple[str, ...]:
    """
    Return the names of a model's classes.

    :param given: by the user. Without any they are the ImageNet names for 1000 classes, behind
        'background' for 1001, and 'class_0' and so on for any other number.
    :param count: C.
    :param what: has these classes, for messages.
    :param say: told what was assumed.
    :raises LabelsError: if there are more or fewer names than classes; but TensorFlow's
        `background`, the first of 1001, is left out where there are 1000.
    """
    if given is not None:
        if len(given) == count + 1 and given[0].lower() in BACKGROUND:
            say(f'{given[0]!r}, the first of {len(given)} class names, is left out: {what} has '
                f'{count} classes')
            given = given[1:]
        if len(given) != count:
            behind = len(given) + 1 == count and given[0].lower() not in BACKGROUND
            raise LabelsError(
                f'{len(given)} labels, but {what} has {count} classes: give one name a line for '
                'each class' + (
                    ", such as 'background' as the first for a model from TensorFlow"
                    if behind else ''))
        return given
    if count == 1000:
        return imagenet_labels()
    if count == 1001:
        say(f'{what} has 1001 classes: they are taken for those of TensorFlow, background first, '
            "then ImageNet's; others can be given with --labels")
        return ('background', *imagenet_labels())
    return tuple(f'class_{index:0{len(str(count - 1))}}' for index in range(count))


def binary_labels(
        given: Optional[tuple[str, ...]], what: str, say: Say = silent) -> tuple[str, str]:
    """
    Return the names of the two classes of a model that gives one number, the second's score.

    :param given: by the user: both, the negative one first, or the positive one alone. Without any
        they are 'class_0' and 'class_1'.
    :param what: the model, for messages.
    :param say: told which name was taken for which class.
    :raises LabelsError: if there are more.
    """
    if given is None:
        return 'class_0', 'class_1'
    if len(given) == 1:
        other = f'not {given[0]}'
        say(f'class names: {given[0]!r} for a score of 1, {other!r} for 0')
        return other, given[0]
    if len(given) != 2:
        raise LabelsError(
            f'{len(given)} labels, but {what} gives one number, which tells two classes apart: '
            'give the name of the class that it is the score of, or both, the other one first')
    say(f'class names: {given[0]!r} for a score of 0, {given[1]!r} for 1')
    return given[0], given[1]

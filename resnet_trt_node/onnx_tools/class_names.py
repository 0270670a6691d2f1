"""Class names for a model: those that the user gives, or the usual ones."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Sequence, Union

from resnet_trt_node.errors import LabelsError
from resnet_trt_node.label_file import read_labels
from resnet_trt_node.labels import check_labels, imagenet_labels, tell_apart


def given_labels(
        labels: Optional[Union[str, Path, Sequence[str]]]) -> Optional[tuple[str, ...]]:
    """
    Return the names that a user gave, None if there are none; no two of them are equal.

    :param labels: class names, or a file of them.
    :raises LabelsError: if they cannot be class names.
    """
    if labels is None:
        return None
    if isinstance(labels, (str, Path)):
        return read_labels(labels)
    return check_labels(tell_apart(labels))


def labels_for(given: Optional[tuple[str, ...]], count: int, what: str) -> tuple[str, ...]:
    """
    Return the names of a model's classes.

    :param given: by the user. Without any they are the ImageNet names for 1000 classes, 'class_0'
        and so on for any other number.
    :param count: C.
    :param what: has these classes, for messages.
    :raises LabelsError: if there are more or fewer names than classes.
    """
    if given is not None:
        if len(given) != count:
            raise LabelsError(
                f'{len(given)} labels, but {what} has {count} classes: give one name a line for '
                'each class')
        return given
    if count == 1000:
        return imagenet_labels()
    return tuple(f'class_{index:0{len(str(count - 1))}}' for index in range(count))

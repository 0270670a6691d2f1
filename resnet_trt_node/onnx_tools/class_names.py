"""Class names for a model: those that the user gives, or the usual ones."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Sequence, Union

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


def default_labels(count: int) -> tuple[str, ...]:
    """Return the ImageNet names for 1000 classes, 'class_0' and so on for any other number."""
    if count == 1000:
        return imagenet_labels()
    return tuple(f'class_{index:0{len(str(count - 1))}}' for index in range(count))

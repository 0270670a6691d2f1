"""Class names: reading a list of them, and the ImageNet list that ships with the package."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Optional, Union

from resnet_trt_node.errors import LabelsError


def read_labels(path: Union[str, Path], count: Optional[int] = None) -> tuple[str, ...]:
    """
    Read class names, one a line in the order of the model's output.

    :param path: a UTF-8 text file, a byte-order mark is allowed; trailing blank lines are ignored.
    :param count: how many names there must be, None for any number.
    :raises LabelsError: if the file is unreadable, a name is blank or twice there, or the count
        differs.
    """
    try:
        # Editors on Windows put a byte-order mark in front; it is no part of the first name.
        text = Path(path).read_text(encoding='utf-8-sig')
    except OSError as error:
        raise LabelsError(f'cannot read labels {path}: {error.strerror or error}') from error
    except UnicodeDecodeError as error:
        raise LabelsError(f'labels {path} are not UTF-8 text: one class name a line') from error
    # splitlines() would also split at characters that may stand in a name, such as U+0085.
    names = tuple(line.strip() for line in text.rstrip().split('\n')) if text.strip() else ()
    return check_labels(names, count, str(path))


def check_labels(
        names: tuple[str, ...], count: Optional[int] = None,
        where: str = 'labels') -> tuple[str, ...]:
    """
    Return the names if they can be class names.

    :param names: class names in the order of the model's output.
    :param count: how many there must be, None for any number.
    :param where: where they come from, for the message.
    :raises LabelsError: if there are none, a name is blank or twice there, or the count differs.
    """
    if not names:
        raise LabelsError(f'{where}: no class names; write one a line')
    if count is not None and len(names) != count:
        raise LabelsError(
            f'{where}: {len(names)} class names for {count} classes; write one a line, '
            'in the order of the output')
    seen: dict[str, int] = {}
    for line, name in enumerate(names, start=1):
        if not name:
            raise LabelsError(f'{where}, line {line}: a class name is blank')
        if name in seen:
            raise LabelsError(
                f'{where}, line {line}: {name!r} stands on line {seen[name]} already; '
                'listeners could not tell the two classes apart')
        seen[name] = line
    return names


def imagenet_labels() -> tuple[str, ...]:
    """Return the 1000 ImageNet-1k class names in the order of the published checkpoints."""
    file = resources.files('resnet_trt_node') / 'data' / 'imagenet_classes.txt'
    text = file.read_text(encoding='utf-8')
    return tuple(text.splitlines())

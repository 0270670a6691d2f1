"""Backends as the command line names them, and opening what they name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any, Mapping, Optional, Sequence, Union

from resnet_trt_node.backends.factory import BACKENDS, check_options, open_backend, options_of
from resnet_trt_node.backends.options import BackendOptions, check_precision
from resnet_trt_node.compare.subject import BackendSubject, Subject
from resnet_trt_node.errors import BackendUnavailable, UsageError

#: What Polygraphy's own runners are called here, and the options that they use.
_POLYGRAPHY_OPTIONS = {
    'polygraphy:onnxrt': frozenset({'cpu_threads'}),
    'polygraphy:trt': frozenset({'device_id', 'optimization_level', 'tf32', 'sparse_weights'}),
}
POLYGRAPHY_NAMES = tuple(_POLYGRAPHY_OPTIONS)
NAMES = (*BACKENDS, *POLYGRAPHY_NAMES)


@dataclass(frozen=True)
class Choice:
    """
    A backend, and the Python that runs it.

    :param name: one of `NAMES`.
    :param python: another Python's path or command; None is this one.
    """

    name: str
    python: Optional[str] = None

    def __str__(self) -> str:
        """Return it as the command line has it."""
        return self.name if self.python is None else f'{self.name}@{self.python}'


def parse_choices(text: str) -> tuple[Choice, ...]:
    """
    Read 'onnxruntime,tensorrt@/opt/py39/bin/python'.

    :raises UsageError: for unknown backends, none, or one named twice.
    """
    choices = []
    for part in text.split(','):
        name, at, python = part.strip().partition('@')
        if name not in NAMES:
            raise UsageError(
                f'unknown backend {name!r}: choose among {", ".join(NAMES)}, with commas between '
                'them; NAME@PYTHON runs one in another Python')
        if at and not python:
            raise UsageError(f'{part!r} names no Python: write NAME@PYTHON, or NAME alone')
        choices.append(Choice(name, python or None))
    for choice in choices:
        if choices.count(choice) > 1:
            raise UsageError(f'backend {choice} is named twice: name each once')
    return tuple(choices)


def labels_of(choices: Sequence[Choice]) -> list[str]:
    """
    Return the shortest names that tell choices apart.

    :param choices: no two equal.
    """
    names = [choice.name for choice in choices]
    short = [
        choice.name if names.count(choice.name) == 1 or choice.python is None
        else f'{choice.name}@{Path(choice.python).name}' for choice in choices]
    return [
        label if short.count(label) == 1 else str(choice)
        for label, choice in zip(short, choices)]


def open_choice(
        choice: Choice, model: Union[str, Path], options: Mapping[str, Any]) -> Subject:
    """
    Open a model on a backend.

    :returns: an open subject; the caller closes it.
    :raises UsageError: if the other Python cannot be found.
    :raises BackendError: if the backend cannot be opened; `BackendUnavailable` if it is missing.
    :raises ModelError: if it cannot use the model.
    """
    if choice.python is None:
        return open_here(choice.name, model, options)
    from resnet_trt_node.compare.remote import WorkerSubject
    return WorkerSubject(choice.python, choice.name, model, options)


def open_here(name: str, model: Union[str, Path], options: Mapping[str, Any]) -> Subject:
    """
    Open a model on a backend in this process; arguments and errors as `open_choice`.

    One set of options is for all backends of a comparison: each gets those that it uses.
    """
    known = _known(name)
    options = {option: value for option, value in options.items() if option in known}
    if name in POLYGRAPHY_NAMES:
        subject: Subject = import_runners().open_polygraphy(name, model, options)
        check_precision(subject.spec, options.get('precision'))
        return subject
    return BackendSubject(open_backend(model, name, **options))


def check_used(choices: Sequence[Choice], options: Mapping[str, Any]) -> None:
    """
    Refuse options that were set and that none of the backends uses.

    :raises UsageError: with the backends that would.
    """
    together = ' or '.join(dict.fromkeys(choice.name for choice in choices))
    union = frozenset().union(*(_known(choice.name) for choice in choices))
    check_options(together, options, {together: union, **{name: _known(name) for name in NAMES}})


def _known(name: str) -> frozenset[str]:
    if name not in POLYGRAPHY_NAMES:
        return options_of(name)
    return _POLYGRAPHY_OPTIONS[name].union(option.name for option in fields(BackendOptions))


def import_runners() -> ModuleType:
    """
    Import the module whose classes derive from Polygraphy's.

    :raises BackendUnavailable: if Polygraphy is not installed.
    """
    try:
        from resnet_trt_node.compare import runners
    except ImportError as error:
        # An error of this package's own is a bug and keeps its traceback.
        if not (error.name or '').startswith('polygraphy'):
            raise
        raise BackendUnavailable(
            f'Polygraphy cannot be imported ({error}): pip install polygraphy') from error
    return runners

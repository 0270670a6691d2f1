"""Backends as the command line names them, and opening what they name."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any, Mapping, Sequence, Union

from resnet_trt_node.backends.factory import BACKENDS, check_options, open_backend, options_of
from resnet_trt_node.backends.options import BackendOptions, check_precision
from resnet_trt_node.compare.subject import BackendSubject, Subject
from resnet_trt_node.errors import BackendUnavailable, UsageError

#: What Polygraphy's own runners are called here, and the options that they use.
_POLYGRAPHY_OPTIONS = {
    'polygraphy:onnxrt': frozenset({'threads'}),
    'polygraphy:trt': frozenset({'device', 'optimization_level', 'tf32', 'sparse_weights'}),
}
NAMES = (*BACKENDS, *_POLYGRAPHY_OPTIONS)


def parse_names(text: str) -> tuple[str, ...]:
    """
    Read 'onnxruntime,tensorrt'.

    :raises UsageError: for unknown backends, none, or one named twice.
    """
    names = [part.strip() for part in text.split(',')]
    for name in names:
        if name not in NAMES:
            raise UsageError(
                f'unknown backend {name!r}: choose among {", ".join(NAMES)}, with commas between '
                'them')
        if names.count(name) > 1:
            raise UsageError(f'backend {name} is named twice: name each once')
    return tuple(names)


def open_subject(name: str, model: Union[str, Path], options: Mapping[str, Any]) -> Subject:
    """
    Open a model on a backend.

    One set of options is for all backends of a comparison: each gets those that it uses.

    :param name: one of `NAMES`.
    :returns: an open subject; the caller closes it.
    :raises BackendError: if the backend cannot be opened; `BackendUnavailable` if it is missing.
    :raises ModelError: if it cannot use the model.
    """
    known = _known(name)
    options = {option: value for option, value in options.items() if option in known}
    if name in _POLYGRAPHY_OPTIONS:
        subject: Subject = import_runners().open_polygraphy(name, model, options)
        check_precision(subject.spec, options.get('precision'))
        return subject
    return BackendSubject(open_backend(model, name, **options))


def check_used(names: Sequence[str], options: Mapping[str, Any]) -> None:
    """
    Refuse options that were set and that none of the backends uses.

    :raises UsageError: with the backends that would.
    """
    together = ' or '.join(names)
    union = frozenset().union(*map(_known, names))
    check_options(together, options, {together: union, **{name: _known(name) for name in NAMES}})


def _known(name: str) -> frozenset[str]:
    if name not in _POLYGRAPHY_OPTIONS:
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

"""Opening a backend by name, or the best one that this machine can run."""

from __future__ import annotations

from dataclasses import fields
from importlib.metadata import distribution, EntryPoint, PackageNotFoundError
from pathlib import Path
import re
from typing import Any, Callable, Collection, FrozenSet, Mapping, Sequence, Union

from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.options import called, check_precision, discard
from resnet_trt_node.errors import BackendUnavailable, ModelError, UsageError
from resnet_trt_node.text.fitting import shortened

#: Name to 'module:class', which is imported when it is asked for; '' is found by its entry point.
BACKENDS = {
    'tensorrt': 'resnet_trt_node.backends.tensorrt.backend:TensorRtBackend',
    'tensorrt_rtx': 'resnet_trt_node.backends.tensorrt.backend:TensorRtRtxBackend',
    'tensorrt_lean': 'resnet_trt_node.backends.tensorrt.backend:TensorRtLeanBackend',
    'onnxruntime': 'resnet_trt_node.backends.onnxruntime:OnnxRuntimeBackend',
    'tvm': '',
    'simulated': 'resnet_trt_node.backends.simulated:SimulatedBackend',
}
#: Group of the entry points, see setup.py.
ENTRY_POINTS = 'resnet_trt_node.backends'
#: The same for a source tree, of which no metadata is installed.
_SOURCE_TREE = {'tvm': 'resnet_trt_node.backends.tvm.backend:TvmBackend'}
#: What `auto` tries, best first.
AUTO_ORDER = ('tensorrt', 'tensorrt_rtx', 'tensorrt_lean', 'onnxruntime')
BACKEND_CHOICES = ('auto', *BACKENDS)
_LONGEST_LINE = 110
#: Where the details of a reason begin, or the advice for who names that backend.
_DETAIL = re.compile(r' \(|[:;] ')
_NOT_INSTALLED = ' cannot be imported'
#: What `auto` has logged in this process.
_logged: set[str] = set()


def options_of(name: str) -> FrozenSet[str]:
    """
    Return the options that a backend knows: the fields of its dataclass.

    :param name: one of `BACKEND_CHOICES`; 'auto' knows what any backend does that it tries.
    :raises UsageError: for an unknown name.
    """
    if name == 'auto':
        return frozenset().union(*map(options_of, AUTO_ORDER))
    return frozenset(option.name for option in fields(_class_of(name).options_type))


def open_backend(
        path: Union[str, Path], name: str = 'auto', implied: Collection[str] = (),
        **options: Any) -> Backend:
    """
    Open a deployable model.

    `auto` takes the first of `AUTO_ORDER` that this machine can run. If that is not the best, it
    logs so, in one line, and which options are then without effect, in another; both once in a
    process. A bad model is an error, never a reason to go on.

    :param path: the deployable ONNX file.
    :param name: one of `BACKEND_CHOICES`; 'simulated:5' has options behind the name.
    :param implied: options that the caller chose by itself, or that are for another backend: one
        that does not know them may ignore them.
    :param options: fields of the backend's dataclass, see `Backend.options_type`.
    :returns: an open backend; the calling thread owns it and closes it.
    :raises UsageError: for an unknown name, or an option that was set and has no effect.
    :raises BackendUnavailable: if the runtime or its device is missing.
    :raises ModelError: if the model cannot be used.
    """
    name, _, text = name.partition(':')
    if name not in BACKEND_CHOICES or (text and name == 'auto'):
        raise UsageError(f'unknown backend {name!r}: choose one of {", ".join(BACKEND_CHOICES)}')
    if text:
        options.update(_class_of(name).options_type.from_text(text))
    check_options(name, options, {choice: options_of(choice) for choice in BACKEND_CHOICES},
                  implied)
    if name != 'auto':
        return _open(path, name, options)
    refusals = []
    for candidate in AUTO_ORDER:
        try:
            backend = _open(path, candidate, options)
        except BackendUnavailable as error:
            refusals.append((candidate, error))
            continue
        log = options.get('log', discard)
        if refusals:
            _log_once(_fallback_line(candidate, refusals), log)
        unused = unused_options(options, {*options_of(candidate), *implied})
        if unused:
            _log_once(f'{candidate} does not use {", ".join(map(called, unused))}', log)
        return backend
    raise BackendUnavailable('no backend can run here: ' + '; '.join(
        f'{candidate}: {error}' for candidate, error in refusals))


def check_options(
        name: str, options: Mapping[str, Any], known: Mapping[str, Collection[str]],
        implied: Collection[str] = ()) -> None:
    """
    Refuse options that were set and would have no effect.

    Who sets `precision` or `tf32` would else be answered by something that was not asked for.

    :param name: of the backend that was chosen, one or several words.
    :param options: what was asked for.
    :param known: backend to the options it knows; that of `name` counts, the others are advice.
    :param implied: options that nobody asked this backend for.
    :raises UsageError: with the backends that know the option.
    """
    for option in unused_options(options, {*known[name], *implied}):
        users = [other for other in known if other != name and option in known[other]]
        value = options[option]
        shown = ', '.join(map(str, value)) if isinstance(value, tuple) else value
        raise UsageError(
            f'{called(option)} is {shown}, which {name} does not use: '
            f'leave it out, or choose a backend that does ({", ".join(users)})')


def unused_options(options: Mapping[str, Any], known: Collection[str]) -> list[str]:
    """
    Return the options that are set away from their defaults and would have no effect.

    :param options: all options.
    :param known: those that the backend knows.
    :raises UsageError: for an option that no backend knows.
    """
    defaults = {option.name: option.default for name in BACKENDS
                for option in fields(_class_of(name).options_type)}
    for option in options:
        if option not in defaults:
            raise UsageError(f'unknown option {option!r}: choose among {", ".join(defaults)}')
    return [option for option, value in options.items()
            if option not in known and value != defaults[option]]


def _fallback_line(taken: str, refusals: Sequence[tuple[str, BackendUnavailable]]) -> str:
    """
    Return one line that fits a terminal, and says where to read the rest of the reason.

    It names the best backend that is installed and does not work, or else the best one.
    """
    broken = [one for one in refusals if _NOT_INSTALLED not in str(one[1])]
    refused, error = (broken or refusals)[0]
    cause = _DETAIL.split(str(error), maxsplit=1)[0]
    more = f'backend {refused} says more' if broken else 'see `resnet_trt doctor`'
    line = f'using {taken} instead of {refused}: {{}}; {more}'
    return line.format(shortened(cause, _LONGEST_LINE + len('{}') - len(line)))


def _log_once(line: str, log: Callable[[str], object]) -> None:
    """Log a line, unless it was: a backend that is opened again has nothing new to report."""
    if line not in _logged:
        _logged.add(line)
        log(line)


def _class_of(name: str) -> type[Backend]:
    if name not in BACKENDS:
        raise UsageError(f'unknown backend {name!r}: choose one of {", ".join(BACKEND_CHOICES)}')
    value = BACKENDS[name] or _entry_point(name)
    found: type[Backend] = EntryPoint(name, value, ENTRY_POINTS).load()
    return found


def _entry_point(name: str) -> str:
    """Return 'module:class' of a backend that the core does not know."""
    # Only of this package: to read the metadata of all takes 0.1 s and more, not 1 ms.
    try:
        points = list(distribution('resnet_trt_node').entry_points)
    except PackageNotFoundError:
        points = []
    return next((point.value for point in points
                 if (point.group, point.name) == (ENTRY_POINTS, name)), _SOURCE_TREE[name])


def _open(path: Union[str, Path], name: str, options: Mapping[str, Any]) -> Backend:
    # Each class has parameters of its own.
    make: Callable[..., Backend] = _class_of(name)
    known = options_of(name)
    chosen = _class_of(name).options_type(
        **{option: value for option, value in options.items() if option in known})
    backend = make(path, chosen)
    try:
        check_precision(backend.spec, chosen.precision)
    except ModelError as error:
        backend.close()
        # The simulated backend needs no file.
        where = f'{path}: ' if str(path) not in ('', '.') else ''
        raise type(error)(f'{where}{error}') from error
    return backend

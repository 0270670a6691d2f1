"""
Whether a backend can keep what its options ask for, checked in one place for all backends.

An option that a backend does not know is refused, not ignored: who set `precision` or `tf32` is
else answered by something that was not asked for.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Collection, Mapping, Optional

from resnet_trt_node.backends.base import BackendOptions
from resnet_trt_node.contract.spec import ModelSpec
from resnet_trt_node.errors import ModelError, UsageError

#: Options of every backend; each backend names its own in `Backend.own_options`.
COMMON_OPTIONS = frozenset({'max_batch_size', 'num_buffers', 'precision', 'log'})
#: Precision to the command that makes a model of it.
HOW_TO_MAKE = {
    'fp32': 'resnet_trt export --precision fp32',
    'fp16': 'resnet_trt export --precision fp16',
    'int8': 'resnet_trt quantize MODEL.onnx --calibration DIR',
}
#: What options are called on the command line where that is another name.
_CALLED = {
    'cpu_threads': 'cpu_threads (--threads)', 'opt_batch_sizes': 'opt_batch_size (--opt-batch)'}


def check_precision(spec: ModelSpec, wanted: Optional[str]) -> None:
    """
    Refuse a model that does not compute in the wanted precision.

    :raises ModelError: with the command that makes one.
    """
    if wanted is not None and spec.precision != wanted:
        raise ModelError(
            f'the model is {spec.precision} and {wanted} was asked for; the precision is in the '
            f'graph, make another model with `{HOW_TO_MAKE[wanted]}`')


def unknown_options(options: BackendOptions, known: Collection[str]) -> list[str]:
    """
    Return the options that were set away from their defaults and would have no effect.

    :param options: all options.
    :param known: the backend's own.
    """
    return [
        option.name for option in fields(options)
        if option.name not in COMMON_OPTIONS and option.name not in known
        and getattr(options, option.name) != option.default]


def narrowed(options: BackendOptions, known: Collection[str]) -> BackendOptions:
    """Return options of which those that a backend does not know have their defaults."""
    unknown = unknown_options(options, known)
    defaults: dict[str, Any] = {
        option.name: option.default for option in fields(options) if option.name in unknown}
    return replace(options, **defaults)


def check_options(
        name: str, options: BackendOptions, known: Mapping[str, Collection[str]],
        implied: Collection[str] = ()) -> None:
    """
    Refuse options that were set and would have no effect.

    :param name: of the backend that was chosen, one or several words.
    :param options: what was asked for.
    :param known: backend to its own options; that of `name` counts, the others are for advice.
    :param implied: options that nobody asked this backend for.
    :raises UsageError: with the backends that know the option.
    """
    for option in unknown_options(options, {*known[name], *implied}):
        users = [other for other in known if other != name and option in known[other]]
        raise UsageError(
            f'{called(option)} is {_text(getattr(options, option))}, which {name} does not use: '
            f'leave it out, or choose a backend that does ({", ".join(users)})')


def called(option: str) -> str:
    """Return what a user knows an option as."""
    return _CALLED.get(option, option)


def _text(value: object) -> str:
    return ', '.join(map(str, value)) if isinstance(value, tuple) else str(value)

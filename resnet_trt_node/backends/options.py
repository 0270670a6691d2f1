"""
Options of backends: a dataclass for each, whose fields are the options that it knows.

A backend's own class lies beside the backend and derives from one of these.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Tuple

from resnet_trt_node.contract.spec import ModelSpec, PRECISIONS
from resnet_trt_node.errors import check_choice, ModelError, UsageError

#: Precision to the command that makes a model of it.
HOW_TO_MAKE = {
    'fp32': 'resnet_trt export --precision fp32',
    'fp16': 'resnet_trt export --precision fp16',
    'int8': 'resnet_trt quantize MODEL.onnx --images DIR',
}
#: What the node's parameters and the commands call an option where that is another name.
_CALLED = {'max_batch_size': 'batch_size', 'opt_batch_sizes': 'opt_batch_size'}
#: What TVM may compile for.
TVM_TARGETS = ('auto', 'cpu', 'cuda')


def number(default: Any, low: float, high: float) -> Any:
    """
    Declare an option that is a number of a range, as a dataclass's field.

    :param default: None, where it is the default, is legal.
    :param low: the least that is legal.
    :param high: the most.
    """
    return field(default=default, metadata={'range': (low, high)})


def choice(default: Optional[str], choices: Tuple[str, ...]) -> Any:
    """
    Declare an option that is one of several texts, as a dataclass's field.

    :param default: None, where it is the default, is legal.
    :param choices: the texts.
    """
    return field(default=default, metadata={'choices': choices})


def check_fields(options: Any) -> None:
    """
    Check the fields of a dataclass that `number` and `choice` declared.

    :raises UsageError: for a number out of range or an unknown choice.
    """
    for option in fields(options):
        value = getattr(options, option.name)
        if value is None:
            continue
        low, high = option.metadata.get('range', (None, None))
        # `not (low <= value)` also refuses NaN.
        if low is not None and not low <= value <= high:
            raise UsageError(f'{called(option.name)} is {value}: choose {low} to {high}')
        check_choice(option.name, value, option.metadata.get('choices', (value,)))


def discard(line: str) -> None:
    """Drop a line: the log of who wants none."""


@dataclass(frozen=True)
class BackendOptions:
    """
    Options of every backend.

    :param max_batch_size: the largest batch that will be submitted.
    :param num_buffers: batch buffers, so that one is filled while another is inferred.
    :param precision: refuse a model whose graph does not compute in this, None takes any.
    :param log: takes lines such as 'building ...: 40 %'.
    :raises UsageError: for values out of range.
    """

    max_batch_size: int = number(1, 1, 1024)
    num_buffers: int = number(2, 1, 16)
    precision: Optional[str] = choice(None, PRECISIONS)
    log: Callable[[str], None] = discard

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        check_fields(self)

    @classmethod
    def from_text(cls, text: str) -> Dict[str, Any]:
        """
        Return the options that stand behind the backend's name, as in 'simulated:5'.

        :raises UsageError: for a text that means nothing to this backend.
        """
        raise UsageError(f'{text!r} behind the name of the backend: it takes nothing there')


@dataclass(frozen=True)
class EngineOptions(BackendOptions):
    """
    Options of a backend that compiles engines for a device.

    :param device: index of the accelerator.
    :param engine_dir: folder of compiled engines; None is the default one.
    """

    device: int = number(0, 0, 255)
    engine_dir: Optional[Path] = None


def called(option: str) -> str:
    """Return what a user knows an option as."""
    return _CALLED.get(option, option)


def check_precision(spec: ModelSpec, wanted: Optional[str]) -> None:
    """
    Refuse a model that does not compute in the wanted precision.

    :param spec: the model's contract.
    :param wanted: fp32, fp16 or int8; None takes any.
    :raises ModelError: with the command that makes one.
    """
    if wanted is not None and spec.precision != wanted:
        raise ModelError(
            f'the model is {spec.precision} and {wanted} was asked for; the precision is in the '
            f'graph, make another model with `{HOW_TO_MAKE[wanted]}`')

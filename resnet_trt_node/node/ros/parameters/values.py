"""Values of the node's parameters: checked, and as backends and files need them."""

from __future__ import annotations

from dataclasses import Field
from typing import Any, Mapping

from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.ros.parameters.hints import type_error
from resnet_trt_node.user_folders import full_path


def check_value(parameter: Field[Any], value: object) -> None:
    """
    Check type, range and choice of one value.

    :param parameter: one of `parameters.parameter_fields`.
    :param value: the new value; sequences are given as tuples.
    :raises UsageError: for another type, a number out of range or an unknown choice.
    """
    name, kind, metadata = parameter.name, type(parameter.default), parameter.metadata
    # `type` rather than isinstance: in Python a bool is an int.
    strings = isinstance(value, tuple) and all(isinstance(item, str) for item in value)
    if type(value) is not kind or (kind is tuple and not strings):
        raise UsageError(f'{name}: {type_error(value, parameter.default)}')
    low, high, choices = metadata['low'], metadata['high'], metadata['choices']
    # `not (low <= value <= high)` also refuses NaN.
    if low is not None and not low <= value <= high:
        raise UsageError(f'{name}: {value} is out of range, choose {low} to {high}')
    # What follows the colon of 'simulated:5', for load tests, is the backend's to read.
    if choices and (str(value).partition(':')[0] if name == 'backend' else value) not in choices:
        raise UsageError(f'{name}: {value!r} is unknown, choose one of {", ".join(choices)}')


def to_backend(given: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return values of `parameters.BACKEND_PARAMETERS` as the backends' options have them.

    A parameter has no None, and says 'any', '' or -1 for it.

    :raises UsageError: for a folder in the home of an unknown user.
    """
    options = {**given}
    for name, nothing in (('precision', 'any'), ('engine_dir', ''), ('dla_core', -1)):
        if options.get(name) == nothing:
            options[name] = None
    if options.get('engine_dir') is not None:
        options['engine_dir'] = full_path('engine_dir', options['engine_dir'])
    return options

"""What is said to write: the wording is in test/golden, here that it would be accepted."""

from __future__ import annotations

import re

import pytest
from resnet_trt_node.errors import UsageError
from resnet_trt_node.launch_support.launch_arguments import classify_arguments
from resnet_trt_node.node.ros.parameters.hints import type_error, unknown_parameter
from resnet_trt_node.node.ros.parameters.node_parameters import parameter_fields
from resnet_trt_node.node.ros.parameters.values import check_value
import yaml


@pytest.mark.parametrize('name', ['max_age_ms', 'top_k', 'tf32', 'model_path', 'cameras'])
@pytest.mark.parametrize('value', [
    5, 5.0, True, False, 'off', '5', '5.5', '7e2', '1e400', 'nan', 'a', '', '[a]', 'a, b',
    '"a" \'b\'', (), (1,), (True, 'x'), (0.5,), None])
def test_what_is_offered_is_of_the_right_type(name, value):
    parameter = parameter_fields()[name]
    kind = type(parameter.default)
    if type(value) is kind and (kind is not tuple or all(type(item) is str for item in value)):
        # Refused for another reason, if at all.
        return
    with pytest.raises(UsageError, match=': write '):
        check_value(parameter, value)
    offered = re.search(r': write .*?((?:[-\d][-\d.e+]*|"[^"]*"|\[.*\]|true|false|one string))',
                        type_error(value, parameter.default))
    assert offered, type_error(value, parameter.default)
    read = yaml.safe_load(offered[1])
    assert type(read) is (list if kind is tuple else kind)
    if kind is tuple:
        assert all(type(item) is str for item in read)


def test_every_launch_argument_is_a_parameter_or_has_a_hint():
    known = parameter_fields()
    # rclpy's own.
    for name in {argument.name for argument in classify_arguments()} - set(known) - {
            'use_sim_time'}:
        message = unknown_parameter(name, 'x', known)
        assert 'none like it' not in message, message
        assert 'did you mean' not in message, message

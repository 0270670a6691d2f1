"""Declares `NodeParameters` with rclpy, reads the values and checks changes."""

from __future__ import annotations

from array import array
from dataclasses import Field, replace
from typing import Any, Callable

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.parameter import Parameter
from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.distribution import HAS_POST_SET_CALLBACKS
from resnet_trt_node.node.ros.parameters.hints import type_error, unknown_parameter
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters, parameter_fields
from resnet_trt_node.node.ros.parameters.qos_overrides import PREFIX
from resnet_trt_node.node.ros.parameters.values import check_value

#: Parameters that ROS itself declares or reads in every node.
_ROS_PARAMETERS = ('use_sim_time', 'start_type_description_service')


class NodeOfCheckedParameters(LifecycleNode):
    """
    A lifecycle node that refuses parameters in our words, and takes overrides without a value.

    rclpy reads an empty YAML list as no value, and refuses to declare it automatically.
    """

    def declare_parameters(  # type: ignore[override]  # Its types differ between releases.
            self, namespace: str, parameters: list[tuple[Any, ...]],
            ignore_override: bool = False) -> list[Parameter[Any]]:
        """Override rclpy's method: declare parameters without a value dynamically typed."""
        unset = ParameterDescriptor(dynamic_typing=True)
        return super().declare_parameters(
            namespace, [(one[0], None, unset) if one[1] is None else one for one in parameters],
            ignore_override)

    def set_parameters_atomically(
            self, parameter_list: list[Parameter[Any]]) -> SetParametersResult:
        """
        Override rclpy's method, which the services call: refuse first what rclpy would refuse.

        Its checks of name, type and range come before all callbacks, and do not say what to write.
        """
        known = parameter_fields()
        try:
            for change in parameter_list:
                if change.name in known:
                    _check_change(change, known[change.name])
                elif not self.has_parameter(change.name):
                    raise UsageError(unknown_parameter(change.name, change.value, known))
                elif change.type_ != Parameter.Type.NOT_SET:
                    _check_time(change)
        except UsageError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return super().set_parameters_atomically(parameter_list)


class ParameterServer:
    """
    Holds the current `NodeParameters` of a node.

    :param node: a node created with `automatically_declare_parameters_from_overrides`, so that
        overrides of unknown parameters are visible.
    :param may_reconfigure: returns whether parameters that are not live may change now.
    :param on_change: called with the new values after a change.
    :raises UsageError: for unknown names and invalid values.
    """

    def __init__(
            self, node: Node, may_reconfigure: Callable[[], bool],
            on_change: Callable[[NodeParameters], None]) -> None:
        self._node = node
        self._may_reconfigure = may_reconfigure
        self._on_change = on_change
        self._known = parameter_fields()
        self._refuse_unknown()
        for parameter in self._known.values():
            self._declare(parameter)
        #: The current values.
        self.values = NodeParameters()
        self.values = self._changed(node.get_parameters([*self._known]))
        node.add_on_set_parameters_callback(self._on_set)
        # Another callback may reject what this one accepts, so values are applied only after ROS
        # has set them, where it can say so.
        if HAS_POST_SET_CALLBACKS:
            node.add_post_set_parameters_callback(self._commit)

    def _refuse_unknown(self) -> None:
        for name, given in self._node.get_parameters_by_prefix('').items():
            _check_time(given)
            if not (name in self._known or name in _ROS_PARAMETERS or name.startswith(PREFIX)):
                raise UsageError(unknown_parameter(name, given.value, self._known))

    def _declare(self, parameter: Field[Any]) -> None:
        # rclpy has declared it from the override, without description and range.
        if self._node.has_parameter(parameter.name):
            given = self._node.get_parameter(parameter.name).value
            # An empty YAML list has no type, and rclpy gives None for it.
            check_value(parameter, _to_field(given, parameter))
            self._node.undeclare_parameter(parameter.name)
        self._node.declare_parameter(
            parameter.name, _to_ros(parameter.default), _descriptor(parameter))

    def _on_set(self, changes: list[Parameter[Any]]) -> SetParametersResult:
        """Reject invalid values; another callback may still reject valid ones."""
        try:
            for change in changes:
                if change.name in self._known:
                    self._check_may_change(change, self._known[change.name])
            self._changed(changes)
        except UsageError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if not HAS_POST_SET_CALLBACKS:
            self._commit(changes)
        return SetParametersResult(successful=True)

    def _check_may_change(self, change: Parameter[Any], parameter: Field[Any]) -> None:
        if parameter.metadata['at_start']:
            raise UsageError(
                f'{change.name} is read when the process starts: restart it with '
                f'-p {change.name}:=... or another YAML file')
        if not parameter.metadata['live'] and not self._may_reconfigure():
            raise UsageError(
                f'{change.name} is read when the node is configured: deactivate and clean up '
                'the node, set it, then configure and activate')

    def _commit(self, changes: list[Parameter[Any]]) -> None:
        """Apply the values that ROS has set."""
        if any(change.name in self._known for change in changes):
            self.values = self._changed(changes)
            self._on_change(self.values)

    def _changed(self, changes: list[Parameter[Any]]) -> NodeParameters:
        return replace(self.values, **{
            change.name: _to_field(change.value, self._known[change.name])
            for change in changes if change.name in self._known})


def _check_time(given: Parameter[Any]) -> None:
    # As an override, rclpy logs an error and goes on by the system's time.
    if given.name == 'use_sim_time' and type(given.value) is not bool:
        raise UsageError(f'{given.name}: {type_error(given.value, False)}')


def _check_change(change: Parameter[Any], parameter: Field[Any]) -> None:
    if change.type_ == Parameter.Type.NOT_SET:
        # rclpy would undeclare a dynamically typed parameter, which ends all changes.
        raise UsageError(f'{change.name} cannot be deleted: set a value')
    check_value(parameter, _to_field(change.value, parameter))


def _to_ros(value: object) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _to_field(value: object, parameter: Field[Any]) -> Any:
    if not isinstance(parameter.default, tuple):
        return value
    if value is None:
        return ()
    # A string is a sequence of letters too; `check_value` rejects anything but a list.
    items = tuple(value) if isinstance(value, (list, tuple, array)) else value
    # `cameras: [""]` is how ROS 1 style YAML writes an empty list of strings.
    return () if items == ('',) else items


def _descriptor(parameter: Field[Any]) -> ParameterDescriptor:
    metadata = parameter.metadata
    descriptor = ParameterDescriptor(description=metadata['description'])
    if metadata['choices']:
        descriptor.additional_constraints = 'One of ' + ', '.join(metadata['choices'])
    if isinstance(parameter.default, tuple):
        # An empty default has no element type that rclpy could infer.
        descriptor.dynamic_typing = True
    if metadata['low'] is not None:
        limits = {'from_value': metadata['low'], 'to_value': metadata['high']}
        if isinstance(parameter.default, int):
            descriptor.integer_range = [IntegerRange(**limits)]
        else:
            descriptor.floating_point_range = [FloatingPointRange(**limits)]
    return descriptor

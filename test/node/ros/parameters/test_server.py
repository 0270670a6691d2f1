"""Parameters that ROS holds and those that the node works with: never two things."""

from __future__ import annotations

from typing import Any, Iterator

import pytest
from rcl_interfaces.msg import SetParametersResult
import rclpy
from rclpy.parameter import Parameter
from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.ros.parameters import server as parameter_server
from resnet_trt_node.node.ros.parameters.server import NodeOfCheckedParameters, ParameterServer
from resnet_trt_node.text.spelling import RENAMED_PARAMETERS

pytestmark = pytest.mark.slow


class Vetoing(NodeOfCheckedParameters):
    """A node of which another part vetoes some changes, after the parameter server was asked."""

    def __init__(self, context: rclpy.Context) -> None:
        super().__init__(
            'vetoing', automatically_declare_parameters_from_overrides=True, context=context,
            start_parameter_services=False, enable_rosout=False)
        self.vetoes = False
        self.applied: list[Any] = []
        # rclpy asks the last one first.
        self.add_on_set_parameters_callback(lambda changes: SetParametersResult(
            successful=not self.vetoes, reason='vetoed' if self.vetoes else ''))

    def held(self, name: str) -> Any:
        return self.get_parameter(name).value


@pytest.fixture
def node() -> Iterator[Vetoing]:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Vetoing(context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


@pytest.mark.parametrize(('former', 'present'), RENAMED_PARAMETERS.items())
def test_a_former_name_in_a_file_is_answered_with_the_present_one(tmp_path, former, present):
    path = tmp_path / 'params.yaml'
    path.write_text(f'/**:\n  ros__parameters:\n    {former}: 4\n')
    context = rclpy.Context()
    rclpy.init(context=context, args=['--ros-args', '--params-file', str(path)])
    node = Vetoing(context)
    try:
        with pytest.raises(UsageError, match=f"'{former}': it is called {present} now$"):
            serve(node)
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def serve(node: Vetoing) -> ParameterServer:
    server = ParameterServer(node, lambda: True, node.applied.append)
    node.applied.clear()
    return server


def agree(node: Vetoing, server: ParameterServer) -> bool:
    return all(node.held(name) == getattr(server.values, name)
               for name in ('top_k', 'max_age_ms', 'model_path'))


@pytest.mark.parametrize('atomically', [False, True])
def test_what_another_callback_vetoes_is_not_taken_over(node, atomically):
    server = serve(node)

    def change(top_k, age_ms):
        changes = [Parameter('top_k', value=top_k), Parameter('max_age_ms', value=age_ms)]
        return node.set_parameters_atomically(changes) if atomically \
            else node.set_parameters(changes)[0]

    node.vetoes = True
    assert change(3, 50.0).reason == 'vetoed'
    assert (server.values.top_k, server.values.max_age_ms) == (5, 0.0)
    assert node.applied == []
    assert agree(node, server)
    node.vetoes = False
    assert change(3, 50.0).successful
    assert (server.values.top_k, server.values.max_age_ms) == (3, 50.0)
    assert agree(node, server)
    assert node.applied[-1] == server.values
    assert len(node.applied) == (1 if atomically else 2)


def test_one_bad_value_of_several_changes_nothing(node):
    server = serve(node)
    assert not node.set_parameters_atomically([
        Parameter('top_k', value=3), Parameter('max_age_ms', value=float('nan'))]).successful
    assert server.values.top_k == 5
    assert agree(node, server)
    assert node.applied == []


def test_parameters_of_others_are_none_of_its_business(node):
    serve(node)
    node.declare_parameter('qos_overrides./image.subscription.depth', 5)
    assert node.applied == []


def test_where_rclpy_has_no_callback_behind_the_change_the_validating_one_does_it(
        node, monkeypatch):
    """ROS 2 Humble."""
    monkeypatch.delattr(rclpy.node.Node, 'add_post_set_parameters_callback')
    monkeypatch.setattr(parameter_server, 'HAS_POST_SET_CALLBACKS', False)
    server = serve(node)
    assert node.set_parameters([Parameter('top_k', value=3)])[0].successful
    assert server.values.top_k == 3
    assert node.applied == [server.values]

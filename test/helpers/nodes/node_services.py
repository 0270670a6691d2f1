"""Asking a node in another process through its services."""

from __future__ import annotations

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nodes.node_process import Peer
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters, SetParametersAtomically


def lifecycle(peer: Peer, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(peer.call(ChangeState, '/classifier/change_state', request).success)


def state(peer: Peer) -> str:
    answer = peer.call(GetState, '/classifier/get_state', GetState.Request())
    return str(answer.current_state.label)


def set_parameter(
        peer: Peer, name: str, value: ParameterValue,
        atomically: bool = False) -> tuple[bool, str]:
    changes = [Parameter(name=name, value=value)]
    result = peer.call(
        SetParametersAtomically, '/classifier/set_parameters_atomically',
        SetParametersAtomically.Request(parameters=changes)).result if atomically else peer.call(
        SetParameters, '/classifier/set_parameters',
        SetParameters.Request(parameters=changes)).results[0]
    return result.successful, result.reason

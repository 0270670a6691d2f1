"""The options of regions, by the names of the node's parameters."""

from __future__ import annotations

from argparse import Namespace
from typing import Any, Sequence

from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters, parameter_fields

#: What is cropped.
CROP_OPTIONS = ('region_margin', 'region_aspect', 'min_region_px')
#: Everything about regions that the node's parameters say.
REGION_OPTIONS = (
    'regions_slop_ms', 'regions_wait_ms', 'regions_queue', 'region_classes', *CROP_OPTIONS,
    'max_regions', 'keep_source_results', 'track_cache', 'reinfer_interval_ms', 'reinfer_growth',
    'reinfer_below', 'smoothing', 'smoothing_window')


def region_parameters(arguments: Namespace, names: Sequence[str]) -> NodeParameters:
    """
    Return the parameters of a node that classifies regions as the options say.

    :param names: those of `REGION_OPTIONS` that the command has.
    :raises UsageError: for a value that the node refuses too.
    """
    given = {name: _value(arguments, name) for name in names}
    return NodeParameters(input='regions', resize_method=arguments.resize_method, **given)


def refuse_region_options(arguments: Namespace, names: Sequence[str], switch: str) -> None:
    """
    Refuse options of regions where there are none.

    :param names: as for `region_parameters`.
    :param switch: the option that they need.
    :raises UsageError: if one of them was given.
    """
    for name in names:
        if _value(arguments, name) != parameter_fields()[name].default:
            raise UsageError(
                f'--{name.replace("_", "-")} is about regions: give {switch} too, or leave it out')


def _value(arguments: Namespace, name: str) -> Any:
    value = getattr(arguments, name)
    return tuple(value or ()) if name == 'region_classes' else value

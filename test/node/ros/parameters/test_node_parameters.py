"""The parameters: one declaration, and the YAML file that repeats it."""

from __future__ import annotations

import itertools
import re

import pytest
from repository import REPOSITORY
from resnet_trt_node.contract.prediction import UnknownRule
from resnet_trt_node.errors import UsageError
from resnet_trt_node.node.ros.parameters.node_parameters import NodeParameters, parameter_fields
from resnet_trt_node.regions.selection import RegionRules
from resnet_trt_node.regions.track_cache import TrackSettings
import yaml

YAML_FILE = REPOSITORY / 'config' / 'classify.yaml'


def test_yaml_lists_every_parameter_with_its_default():
    listed = yaml.safe_load(YAML_FILE.read_text())['/**']['ros__parameters']
    defaults = {
        name: [''] if parameter.default == () else parameter.default
        for name, parameter in parameter_fields().items()}
    assert listed == defaults
    # 1 and 1.0 are equal to Python and two types to ROS.
    assert {name: type(value) for name, value in listed.items()} == {
        name: type(value) for name, value in defaults.items()}
    assert list(listed) == list(defaults), 'the order differs, a reader looks for it there'


def test_yaml_marks_live_parameters():
    lines = YAML_FILE.read_text().splitlines()
    for name, parameter in parameter_fields().items():
        above = lines[:next(i for i, line in enumerate(lines) if line.startswith(f'    {name}:'))]
        comment = ' '.join(itertools.takewhile(lambda line: line[4:5] == '#', reversed(above)))
        assert ('(live)' in comment) == parameter.metadata['live'], (name, comment)


def test_defaults_are_valid_and_every_parameter_is_described():
    NodeParameters()
    for name, parameter in parameter_fields().items():
        assert parameter.metadata['description'].endswith('.'), name


@pytest.mark.parametrize(('values', 'keyword'), [
    ({'top_k': 0}, 'top_k: 0 is out of range'),
    ({'top_k': True}, 'not an integer'),
    ({'score_threshold': 1}, 'write 1.0'),
    ({'score_threshold': float('nan')}, 'out of range'),
    ({'batch_size': 257}, 'out of range'),
    ({'image_transport': 'theora'}, 'raw, compressed, ffmpeg, foxglove'),
    ({'autostart': 'yes'}, 'true or false'),
    ({'cameras': ('',)}, 'ROS name'),
    ({'cameras': ('/front',)}, 'is a topic: name the camera, such as front,'),
    ({'cameras': ('/',)}, 'ROS name'),
    ({'cameras': ('a', 'b', 'a')}, 'twice'),
    ({'cameras': (1,)}, 'list of strings'),
    ({'input': 'boxes'}, 'image, regions'),
    ({'region_classes': 'car'}, 'write [car]'),
    ({'region_margin': -0.1}, 'out of range'),
    ({'reinfer_growth': 0.5}, 'out of range'),
    ({'smoothing': 'median'}, 'none, ema, majority'),
    ({'smoothing_window': 31}, 'out of range'),
    ({'unknown_label': ''}, 'unknown_label'),
    ({'unknown_label': 'a\0b'}, 'choose printable characters'),
    ({'unknown_below': 1.5}, 'unknown_below: 1.5 is out of range'),
    ({'unknown_criterion': 'margin'}, 'unknown_criterion'),
])
def test_unusable_values_are_refused_with_the_reason(values, keyword):
    with pytest.raises(UsageError, match=re.escape(keyword)):
        NodeParameters(**values)


@pytest.mark.parametrize(('cameras', 'depth', 'largest', 'limit'), [
    ((), 1, 8, 1), (('a', 'b', 'c'), 1, 8, 3), (('a', 'b', 'c'), 4, 8, 8), ((), 16, 8, 8)])
def test_batch_limit_is_what_can_come_together(cameras, depth, largest, limit):
    parameters = NodeParameters(cameras=cameras, queue_depth=depth, batch_size=largest)
    assert parameters.batch_limit == limit


@pytest.mark.parametrize('cameras', [(), ('a', 'b', 'c')])
def test_regions_fill_a_batch_whatever_the_number_of_cameras(cameras):
    parameters = NodeParameters(input='regions', cameras=cameras, batch_size=16)
    assert parameters.batch_limit == 16
    assert parameters.backend_options(num_buffers=2)['opt_batch_sizes'] == (1, 16)


def test_what_is_only_for_regions_does_no_harm_to_images():
    parameters = NodeParameters(
        region_classes=('car',), region_margin=0.5, track_cache=True, smoothing='ema')
    assert not parameters.has_regions
    assert parameters.batch_limit == 1


def test_unknown_classes_are_live():
    settings = NodeParameters(
        unknown_below=0.25, unknown_label='none of these',
        unknown_criterion='entropy').live_settings()
    assert settings.unknown == UnknownRule(0.25, 'none of these', 'entropy')
    assert NodeParameters().live_settings().unknown is None


def test_tracks_have_the_same_defaults_and_limits_as_their_parameters():
    assert NodeParameters().region_settings().tracks == TrackSettings()
    given = {'track_cache': True, 'reinfer_interval_ms': 3_600_000.0, 'reinfer_growth': 1000.0,
             'reinfer_below': 1.0, 'smoothing': 'majority', 'smoothing_window': 30}
    assert NodeParameters(**given).region_settings().tracks == TrackSettings(**given)
    for name, value in (
            ('reinfer_interval_ms', 3_600_001.0), ('reinfer_growth', 1000.5),
            ('reinfer_below', 1.5), ('smoothing_window', 31)):
        with pytest.raises(UsageError, match=name):
            NodeParameters(**{name: value})
        with pytest.raises(UsageError, match=name):
            TrackSettings(**{name: value})


def test_regions_have_the_same_defaults_and_limits_as_their_parameters():
    assert NodeParameters().region_settings().rules == RegionRules()
    rules = RegionRules(('car', ''), 4.0, 'pad', 1, 1)
    given = {'region_classes': rules.classes, 'region_margin': 4.0, 'region_aspect': 'pad',
             'min_region_px': 1, 'max_regions': 1}
    assert NodeParameters(**given).region_settings().rules == rules
    for name, field, value in (
            ('region_margin', 'margin', 4.5), ('region_aspect', 'aspect', 'crop'),
            ('min_region_px', 'min_px', 0), ('max_regions', 'max_regions', 0)):
        with pytest.raises(UsageError, match=name):
            NodeParameters(**{name: value})
        with pytest.raises(UsageError):
            RegionRules(**{field: value})

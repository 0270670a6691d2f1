"""The compiled vision_msgs are the real ones: other nodes compare type hashes before they talk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

vision_msgs = pytest.importorskip('vision_msgs.msg', reason='vision_msgs is not installed')

#: From vision_msgs 4.1.1's own definitions, compiled with rosidl of ROS 2 Kilted.
TYPE_HASHES = {
    'Classification': 'RIHS01_f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143',
    'LabelInfo': 'RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783',
    'ObjectHypothesis': 'RIHS01_51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90',
    'VisionClass': 'RIHS01_1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a',
}

FIELDS = {
    'Classification': {
        'header': 'std_msgs/Header', 'results': 'sequence<vision_msgs/ObjectHypothesis>'},
    'LabelInfo': {
        'header': 'std_msgs/Header', 'class_map': 'sequence<vision_msgs/VisionClass>',
        'threshold': 'float'},
    'ObjectHypothesis': {'class_id': 'string', 'score': 'double'},
    'VisionClass': {'class_id': 'uint16', 'class_name': 'string'},
}


@pytest.mark.parametrize('name', sorted(TYPE_HASHES))
def test_type_hash_is_the_real_one(name: str) -> None:
    """The hash covers names, types and order of all fields, nested ones too."""
    prefix = next(p for p in Path(vision_msgs.__file__).parents if (p / 'share').is_dir())
    description = prefix / 'share' / 'vision_msgs' / 'msg' / f'{name}.json'
    if not description.is_file():
        pytest.skip('this ROS 2 is older than type hashes (Iron)')
    hashes = json.loads(description.read_text(encoding='utf-8'))['type_hashes']
    found = {entry['type_name']: entry['hash_string'] for entry in hashes}
    assert found[f'vision_msgs/msg/{name}'] == TYPE_HASHES[name]


@pytest.mark.parametrize('name', sorted(FIELDS))
def test_fields_are_the_real_ones(name: str) -> None:
    """Python's classes have the fields in their order."""
    fields = getattr(vision_msgs, name).get_fields_and_field_types()
    assert list(fields.items()) == list(FIELDS[name].items())

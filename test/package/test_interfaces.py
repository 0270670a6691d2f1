"""The compiled messages are the real ones: other nodes compare type hashes before they talk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

#: From the definitions of vision_msgs 4.1.1, ffmpeg_image_transport_msgs 1.2.2 and foxglove_msgs,
#: compiled with rosidl of ROS 2 Kilted.
TYPE_HASHES = {
    'CompressedVideo': 'RIHS01_32039eafc3770e589c86c4dabff9c392ce9955ebffd43f5f60763011d43d8d1d',
    'FFMPEGPacket': 'RIHS01_648d84e0d33cbf76daf54b094d8f06154b8a24800a19c14371754df799fbaf79',
    'BoundingBox2D': 'RIHS01_008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f',
    'Classification': 'RIHS01_f74db28d0eaef3afb78f48bf2161cd709a1383a0309d3454383b25be11345143',
    'Detection2D': 'RIHS01_0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea',
    'Detection2DArray': 'RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968',
    'LabelInfo': 'RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783',
    'ObjectHypothesis': 'RIHS01_51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90',
    'ObjectHypothesisWithPose':
        'RIHS01_41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc',
    'Point2D': 'RIHS01_eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247',
    'Pose2D': 'RIHS01_b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648',
    'VisionClass': 'RIHS01_1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a',
}

FIELDS = {
    'BoundingBox2D': {'center': 'vision_msgs/Pose2D', 'size_x': 'double', 'size_y': 'double'},
    'Classification': {
        'header': 'std_msgs/Header', 'results': 'sequence<vision_msgs/ObjectHypothesis>'},
    'Detection2D': {
        'header': 'std_msgs/Header', 'results': 'sequence<vision_msgs/ObjectHypothesisWithPose>',
        'bbox': 'vision_msgs/BoundingBox2D', 'id': 'string'},
    'Detection2DArray': {
        'header': 'std_msgs/Header', 'detections': 'sequence<vision_msgs/Detection2D>'},
    'LabelInfo': {
        'header': 'std_msgs/Header', 'class_map': 'sequence<vision_msgs/VisionClass>',
        'threshold': 'float'},
    'CompressedVideo': {
        'timestamp': 'builtin_interfaces/Time', 'frame_id': 'string', 'data': 'sequence<uint8>',
        'format': 'string'},
    'FFMPEGPacket': {
        'header': 'std_msgs/Header', 'width': 'int32', 'height': 'int32', 'encoding': 'string',
        'pts': 'uint64', 'flags': 'uint8', 'is_bigendian': 'boolean',
        'data': 'sequence<uint8>'},
    'ObjectHypothesis': {'class_id': 'string', 'score': 'double'},
    'ObjectHypothesisWithPose': {
        'hypothesis': 'vision_msgs/ObjectHypothesis', 'pose': 'geometry_msgs/PoseWithCovariance'},
    'Point2D': {'x': 'double', 'y': 'double'},
    'Pose2D': {'position': 'vision_msgs/Point2D', 'theta': 'double'},
    'VisionClass': {'class_id': 'uint16', 'class_name': 'string'},
}


#: Those that are not of vision_msgs.
_PACKAGES = {'CompressedVideo': 'foxglove_msgs', 'FFMPEGPacket': 'ffmpeg_image_transport_msgs'}


def _package(name: str) -> Any:
    package = _PACKAGES.get(name, 'vision_msgs')
    return pytest.importorskip(f'{package}.msg', reason=f'{package} is not installed')


@pytest.mark.parametrize('name', sorted(TYPE_HASHES))
def test_type_hash_is_the_real_one(name: str) -> None:
    """The hash covers names, types and order of all fields, nested ones too."""
    package = _package(name)
    prefix = next(p for p in Path(package.__file__).parents if (p / 'share').is_dir())
    folder = package.__name__.partition('.')[0]
    description = prefix / 'share' / folder / 'msg' / f'{name}.json'
    if not description.is_file():
        pytest.skip('this ROS 2 is older than type hashes (Iron)')
    hashes = json.loads(description.read_text(encoding='utf-8'))['type_hashes']
    found = {entry['type_name']: entry['hash_string'] for entry in hashes}
    assert found[f'{folder}/msg/{name}'] == TYPE_HASHES[name]


@pytest.mark.parametrize('name', sorted(FIELDS))
def test_fields_are_the_real_ones(name: str) -> None:
    """Python's classes have the fields in their order."""
    fields = getattr(_package(name), name).get_fields_and_field_types()
    assert list(fields.items()) == list(FIELDS[name].items())

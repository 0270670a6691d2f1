"""Messages of other packages, compiled with those of their fields that this package reads."""

from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess
import sys

import pytest
from repository import REPOSITORY

#: By package and message.
DEFINITIONS = {
    'yolo_msgs': {
        'Point2D': 'float64 x\nfloat64 y\n',
        'Vector2': 'float64 x\nfloat64 y\n',
        'Pose2D': 'Point2D position\nfloat64 theta\n',
        'BoundingBox2D': 'Pose2D center\nVector2 size\n',
        'Detection': 'string class_name\nfloat64 score\nstring id\nBoundingBox2D bbox\n',
        'DetectionArray': 'std_msgs/Header header\nDetection[] detections\n'},
    'tier4_perception_msgs': {
        'TrafficLightRoi':
            'sensor_msgs/RegionOfInterest roi\nint64 traffic_light_id\n'
            'uint8 traffic_light_type\n',
        'TrafficLightRoiArray': 'std_msgs/Header header\nTrafficLightRoi[] rois\n'}}
_CMAKE = (
    'cmake_minimum_required(VERSION 3.16)\n'
    'project({package})\n'
    'include({interfaces}/wheels.cmake)\n'
    'find_package(ament_cmake REQUIRED)\n'
    'find_package(rosidl_default_generators REQUIRED)\n'
    'find_package(sensor_msgs REQUIRED)\n'
    'drop_missing_folders(builtin_interfaces service_msgs std_msgs geometry_msgs sensor_msgs)\n'
    'rosidl_generate_interfaces({package} {files} DEPENDENCIES sensor_msgs std_msgs)\n'
    'load_type_support()\n'
    'ament_package()\n')
_MANIFEST = (
    '<package format="3">\n'
    '  <name>{package}</name><version>1.0.0</version><description>For tests.</description>\n'
    '  <maintainer email="nobody@resnet-trt-node.invalid">nobody</maintainer>\n'
    '  <license>Apache-2.0</license>\n'
    '  <buildtool_depend>ament_cmake</buildtool_depend>\n'
    '  <buildtool_depend>rosidl_default_generators</buildtool_depend>\n'
    '  <depend>sensor_msgs</depend>\n'
    '  <member_of_group>rosidl_interface_packages</member_of_group>\n'
    '</package>\n')


def compile_messages(package: str, folder: Path) -> Path:
    """
    Compile a package of `DEFINITIONS` as tools/setup_venv.sh compiles those of interfaces/.

    :param folder: an empty one.
    :returns: the folder for the path of Python; skips the test where CMake is missing.
    """
    if shutil.which('cmake') is None:
        pytest.skip('no cmake: messages of other detectors cannot be compiled')
    source, build, prefix = (folder / name for name in ('source', 'build', 'prefix'))
    (source / 'msg').mkdir(parents=True)
    for name, text in DEFINITIONS[package].items():
        (source / 'msg' / f'{name}.msg').write_text(text)
    (source / 'package.xml').write_text(_MANIFEST.format(package=package))
    (source / 'CMakeLists.txt').write_text(_CMAKE.format(
        package=package, interfaces=REPOSITORY / 'interfaces',
        files=' '.join(f'msg/{name}.msg' for name in DEFINITIONS[package])))
    environment = dict(os.environ)
    if 'ROS_DISTRO' not in os.environ:
        # Wheels: the generators and what they need lie in the virtual environment.
        environment.update(
            AMENT_PREFIX_PATH=sys.prefix, CMAKE_PREFIX_PATH=sys.prefix,
            PATH=f'{sys.prefix}/bin{os.pathsep}{os.environ["PATH"]}')
    # As deep as in an installation, where the libraries find each other.
    site = 'lib/python/site-packages'
    for words in (
            ['-S', str(source), '-B', str(build), f'-DCMAKE_INSTALL_PREFIX={prefix}',
             '-DBUILD_TESTING=OFF', f'-DPython3_EXECUTABLE={sys.executable}',
             '-DPython3_FIND_VIRTUALENV=ONLY', f'-DPYTHON_INSTALL_DIR={site}'],
            ['--build', str(build)], ['--install', str(build)]):
        done = subprocess.run(
            ['cmake', *words], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return prefix / site

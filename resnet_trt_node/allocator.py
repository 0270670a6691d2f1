"""
Configures glibc's allocator to reuse the memory of a frame for the next one.

By default glibc maps new memory for each large message and unmaps it with the message, so that
the kernel clears megabytes of pages for each frame: the page faults take more CPU time than the
frame. `configure_allocator` makes glibc allocate such blocks from its heap and keep them there.
`touch_memory` has the kernel assign that memory before the first frames come.

The policy applies to the whole process, so only `classifier_node`'s main and the readers of a
fleet set it, never an import or the node class: a node in another process leaves that process
unchanged. It is chosen by an environment variable instead of a ROS parameter, because parameters
are known only after the threads of the middleware have started to allocate.
"""

from __future__ import annotations

from collections.abc import Mapping
import ctypes
import os
from typing import Optional

from resnet_trt_node.errors import UsageError

#: The environment variable with the policy: keep (the default) or system, which changes nothing.
VARIABLE = 'RESNET_TRT_ALLOCATOR'
POLICIES = ('keep', 'system')

#: Blocks up to this size come from the heap: the largest value that glibc allows, enough for a 4K
#: frame of four bytes a pixel. Larger blocks are still mapped and unmapped.
HEAP_BLOCK_BYTES = 32 * 2**20
#: Free memory at the top of the heap beyond this is returned to the system. So the process keeps
#: at most this much more than it uses, plus what is fragmented below blocks still in use.
KEPT_BYTES = 128 * 2**20
#: `touch_memory` touches so much, and so much again for each camera: a 1080p frame of 6 MB is held
#: by the queue of the middleware, and copied twice while it is made a message.
TOUCHED_BYTES = 16 * 2**20
#: And at most this; `KEPT_BYTES` less what may be free before.
MOST_TOUCHED_BYTES = KEPT_BYTES - TOUCHED_BYTES

# Numbers of mallopt, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_OPTIONS = (
    (_M_MMAP_THRESHOLD, HEAP_BLOCK_BYTES), (_M_TRIM_THRESHOLD, KEPT_BYTES),
    # One heap for all threads: with one arena each, every thread that handles frames would keep
    # its own free memory.
    (_M_ARENA_MAX, 1))
#: Variables by which a user sets glibc's policy; the user's choice is kept.
_OF_GLIBC = (
    'MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_', 'MALLOC_TOP_PAD_', 'MALLOC_ARENA_MAX')
_OTHER_ALLOCATORS = ('jemalloc', 'tcmalloc', 'mimalloc')

#: The C library, if `configure_allocator` has configured it.
_keeping: Optional[ctypes.CDLL] = None
#: Bytes that `touch_memory` has touched, until `give_free_memory_back`.
_touched = 0


def configure_allocator(environment: Mapping[str, str] = os.environ) -> str:
    """
    Make glibc keep freed memory for the next frames, unless the environment configures it.

    Call it before anything is imported that starts threads, such as NumPy: a thread that has a
    heap of its own already keeps it. It cannot be undone.

    :param environment: the process's environment variables.
    :returns: a log line with the policy and its reason.
    :raises UsageError: if the variable has an unknown value.
    """
    global _keeping
    policy = environment.get(VARIABLE) or POLICIES[0]
    if policy not in POLICIES:
        raise UsageError(
            f'{VARIABLE}: {policy!r} is unknown, choose one of {", ".join(POLICIES)}')
    if policy == 'system':
        return f'memory: default of the C library, set by {VARIABLE}'
    own = [name for name in _OF_GLIBC if environment.get(name)]
    if 'glibc.malloc.' in environment.get('GLIBC_TUNABLES', ''):
        own.append('GLIBC_TUNABLES')
    if own:
        return f'memory: as set by {", ".join(own)} in the environment'
    preloaded = environment.get('LD_PRELOAD', '')
    if any(name in preloaded for name in _OTHER_ALLOCATORS):
        return f'memory: default of the preloaded {preloaded}'
    if not _is_glibc():
        return 'memory: default of the C library, which is not glibc'
    libc = ctypes.CDLL(None)
    refused = [option for option, value in _OPTIONS if not libc.mallopt(option, value)]
    if refused:
        return f'memory: glibc refuses the mallopt options {refused}; frames cause page faults'
    _keeping = libc
    return (
        f'memory: the process keeps up to {KEPT_BYTES // 2**20} MiB for the next frames; '
        f'{VARIABLE}=system changes that')


def touch_memory(cameras: int) -> None:
    """
    Have the kernel assign the memory of the first frames now, if `configure_allocator` keeps it.

    Otherwise the first frames pay for it with a page fault every 4 KiB: six 1080p cameras need 70
    to 110 MB, which takes 30 ms, and a second on a virtual machine whose host has to find that
    memory, while frames are dropped. A second call touches nothing unless there are more cameras,
    or the memory was given back. Takes as long as those faults and releases the GIL.

    :param cameras: how many send frames.
    """
    global _touched
    wanted = min(MOST_TOUCHED_BYTES, TOUCHED_BYTES * (1 + cameras))
    if _keeping is None or wanted <= _touched:
        return
    _keeping.malloc.restype = ctypes.c_void_p
    _keeping.malloc.argtypes = [ctypes.c_size_t]
    _keeping.free.argtypes = [ctypes.c_void_p]
    # Larger blocks would be mapped, and unmapped again.
    blocks = [_keeping.malloc(TOUCHED_BYTES) for _ in range(wanted // TOUCHED_BYTES)]
    for block in filter(None, blocks):
        ctypes.memset(block, 0, TOUCHED_BYTES)
    # Only now, so that each block is another one; together they are the free end of the heap.
    for block in blocks:
        _keeping.free(block)
    _touched = wanted


def give_free_memory_back() -> None:
    """
    Return the free memory of the heap to the system, if `configure_allocator` made glibc keep it.

    Call it when no frames are in flight: it takes milliseconds. DDS queues are allocated anew at
    each activation and fragment the heap, so that without this the process would keep several
    times the memory of its queues.
    """
    global _touched
    if _keeping is not None:
        _keeping.malloc_trim(0)
        _touched = 0


def _is_glibc() -> bool:
    try:
        return (os.confstr('CS_GNU_LIBC_VERSION') or '').startswith('glibc')
    except (AttributeError, ValueError, OSError):
        # Other systems lack the function, the name or the value.
        return False

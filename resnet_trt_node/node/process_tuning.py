"""
How the process keeps memory between frames; without it page faults cost more than the frame does.

For each large message glibc maps new memory and gives it back with the message, so that the
kernel clears megabytes of pages, frame after frame. `settle_allocator` has it take such blocks
from its heap and leave them there for the next frame.

The policy holds for a whole process, so only `classifier_node`'s main settles it, never an import
or the node class: a node in somebody else's process changes nothing there. An environment variable
chooses it and no ROS parameter, because parameters are known only when the middleware's threads
already allocate.
"""

from __future__ import annotations

from collections.abc import Mapping
import ctypes
import os
from typing import Optional

from resnet_trt_node.errors import UsageError

#: The environment variable that chooses: keep (the default) or system, which changes nothing.
VARIABLE = 'RESNET_TRT_ALLOCATOR'
POLICIES = ('keep', 'system')

#: Blocks up to this size come from the heap. It is the most that glibc allows, and enough for a
#: 4K frame of four bytes a pixel; larger ones are mapped and given back as before.
HEAP_BLOCK_BYTES = 32 * 2**20
#: Free memory at the heap's end goes back to the system beyond this. So the process keeps what it
#: needed at most, or this much more than it needs now, whichever is less; a small block that
#: lives on above free ones holds them too, as in any heap.
KEPT_BYTES = 128 * 2**20

# Numbers of mallopt, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_OPTIONS = (
    (_M_MMAP_THRESHOLD, HEAP_BLOCK_BYTES), (_M_TRIM_THRESHOLD, KEPT_BYTES),
    # One heap for all threads: with one for each, every thread that handles frames would keep its
    # own megabytes, beside those that the others keep.
    (_M_ARENA_MAX, 1))
#: With these users settle glibc's policy themselves; theirs stays.
_OF_GLIBC = (
    'MALLOC_MMAP_THRESHOLD_', 'MALLOC_TRIM_THRESHOLD_', 'MALLOC_TOP_PAD_', 'MALLOC_ARENA_MAX')
_OTHER_ALLOCATORS = ('jemalloc', 'tcmalloc', 'mimalloc')

#: The C library, where `settle_allocator` has it keep memory.
_keeping: Optional[ctypes.CDLL] = None


def settle_allocator(environment: Mapping[str, str] = os.environ) -> str:
    """
    Have glibc keep freed memory for the next frames, unless the environment says otherwise.

    Call it before other threads start. It cannot be undone.

    :param environment: the process's environment variables.
    :returns: what was done and why, in words, for the log.
    :raises UsageError: if the variable has a value that means nothing.
    """
    global _keeping
    policy = environment.get(VARIABLE) or POLICIES[0]
    if policy not in POLICIES:
        raise UsageError(
            f'{VARIABLE}: {policy!r} is unknown, choose one of {", ".join(POLICIES)}')
    if policy == 'system':
        return f'memory: as the C library has it, by {VARIABLE}'
    own = [name for name in _OF_GLIBC if environment.get(name)]
    if 'glibc.malloc.' in environment.get('GLIBC_TUNABLES', ''):
        own.append('GLIBC_TUNABLES')
    if own:
        return f'memory: as {", ".join(own)} in the environment has it'
    preloaded = environment.get('LD_PRELOAD', '')
    if any(name in preloaded for name in _OTHER_ALLOCATORS):
        return f'memory: as the preloaded {preloaded} has it'
    if not _is_glibc():
        return 'memory: as the C library has it, which is not glibc'
    libc = ctypes.CDLL(None)
    refused = [option for option, value in _OPTIONS if not libc.mallopt(option, value)]
    if refused:
        return f'memory: glibc refuses the mallopt options {refused}; frames cost page faults'
    _keeping = libc
    return (
        f'memory: up to {KEPT_BYTES // 2**20} MiB stay with the process for the next frames; '
        f'{VARIABLE}=system changes that')


def give_free_memory_back() -> None:
    """
    Give the system what is free in the heap, where `settle_allocator` has glibc keep it.

    Call it when no frames are under way. Queues of DDS that end and begin lie elsewhere in the
    heap each time, between what others hold: without this the process comes to keep several times
    what its queues take. It takes milliseconds.
    """
    if _keeping is not None:
        _keeping.malloc_trim(0)


def _is_glibc() -> bool:
    try:
        return (os.confstr('CS_GNU_LIBC_VERSION') or '').startswith('glibc')
    except (AttributeError, ValueError, OSError):
        # Other systems lack the function, the name or the value.
        return False

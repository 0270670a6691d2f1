"""
Show why one process pays page faults for every large message and another of the same program none.

Once glibc has freed a block that it had mapped by itself, it takes blocks of that size from the
heap, and gives the heap's free end back to the system when that is longer than twice the block
(mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD). A node that holds a received frame three times
(serialised, as a message, converted) frees three blocks one after the other: if they lie at the
heap's end it goes back with every frame, and the next frame faults every page in again. If
anything small that stays lies above them, it never does. What lies above is decided by what else
the process allocated when its first frame came.

    python3 -m tools.heap_trim

prints the page faults a frame of both cases.
"""

from __future__ import annotations

import ctypes
import resource
import subprocess
import sys

#: Bytes of a 1080p bgr8 frame.
_FRAME = 1920 * 1080 * 3
_COPIES = 3
_FRAMES = 50
#: Larger than what is free below it, so that it is placed above the frames.
_SMALL = 100_000


def faults_a_frame(pinned: bool) -> float:
    """
    Allocate, fill and free a frame's copies again and again, in this process.

    :param pinned: whether a block that stays is allocated above those of an early frame.
    :returns: minor page faults a frame.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc.argtypes = [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]

    def frame(pin: bool = False) -> None:
        blocks = [libc.malloc(_FRAME) for _ in range(_COPIES)]
        for block in blocks:
            ctypes.memset(block, 1, _FRAME)
        if pin:
            libc.malloc(_SMALL)
        for block in blocks:
            libc.free(block)

    for number in range(8):
        frame(pinned and number == 4)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(_FRAMES):
        frame()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / _FRAMES


def measure() -> dict[bool, float]:
    """Return page faults a frame by whether the heap is pinned, each from a process of its own."""
    return {pinned: float(subprocess.run(
        [sys.executable, __file__, str(int(pinned))], capture_output=True, text=True,
        check=True).stdout) for pinned in (False, True)}


if __name__ == '__main__':
    if len(sys.argv) > 1:
        print(faults_a_frame(sys.argv[1] == '1'))
    else:
        for case, faults in measure().items():
            print(f'{"something above the frames" if case else "nothing above the frames":28}'
                  f'{faults:8.1f} page faults a frame')

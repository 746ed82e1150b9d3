"""How the C library hands out large blocks on a CPU.

glibc serves every block above a threshold (at most 32 MiB) by a fresh ``mmap`` and gives it back on ``free``, so each
activation of a forward pass is paged in and zeroed by the kernel again. For matrices of a few megabytes this costs
several times the multiplication itself. Telling glibc to keep such blocks makes them ordinary reused heap memory.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4


def reuse_large_blocks() -> bool:
    """Keep freed blocks of any size in the heap of this process instead of returning them to the kernel.

    Process-wide, so it is for programs to call (the command line and the training entry point do), not for the
    library. Returns whether the C library took the setting; anything but glibc is left alone.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, 2**31 - 1))
    return all(mallopt(name, value) == 1 for name, value in settings)

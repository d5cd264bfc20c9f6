"""What to say when a batch does not fit in a device's memory, and how to keep the host's."""

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import jax

from palaestra.sim.errors import PalaestraError

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # parameters of mallopt(3)


def keep_freed_memory() -> None:
    """Let this process keep what it frees, to use it again.

    glibc gives large arrays back to the kernel at once. XLA on a CPU allocates and frees them in every call, so that each time the
    kernel has to find and clear their pages anew. Where there is no glibc nothing changes.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


class OutOfMemoryError(PalaestraError):
    """A batch that does not fit; the message names one that would."""


@contextmanager
def out_of_memory(num_envs: int) -> Iterator[None]:
    """Turn XLA's RESOURCE_EXHAUSTED inside the block into an OutOfMemoryError about this batch."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error) and "out of memory" not in str(error).lower():
            raise
        raise OutOfMemoryError(advice(num_envs, str(error), _limit())) from error


def advice(num_envs: int, message: str, limit: int | None) -> str:
    """The batch that failed and the one that would fit, from XLA's message and the device's limit in bytes.

    Memory grows in proportion to the batch. Where the message does not say how much was wanted, half of it is the advice.
    """
    wanted = _bytes(message)
    fits = num_envs // 2
    if wanted and limit and wanted > limit:
        fits = int(num_envs * 0.9 * limit / wanted)
    fits = max(1, 2 ** (fits.bit_length() - 1)) if fits else 1
    size = f" ({wanted / 2**30:.1f} GiB wanted" + (f", {limit / 2**30:.1f} GiB there)" if limit else ")") if wanted else ""
    return f"num_envs: got {num_envs}, which does not fit in the memory of {jax.devices()[0].device_kind}{size}. Fix: --num-envs {fits}"


def _bytes(message: str) -> int:
    """The largest amount of memory that a message of XLA's names."""
    units = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
    found = re.findall(r"([\d.]+)\s*([KMGT]?)i?B(?:ytes)?\b|allocat\w* ([\d]+) bytes", message, re.IGNORECASE)
    return max((int(float(a) * units[u.lower()]) if a else int(b) for a, u, b in found), default=0)


def _limit() -> int | None:
    stats = jax.devices()[0].memory_stats() or {}
    return stats.get("bytes_limit")

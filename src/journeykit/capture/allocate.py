"""Real blocks for a file that is to be mapped."""

from __future__ import annotations

import errno
import os
from typing import Final

#: What a file system answers that cannot allocate; then zeros are written instead.
_CANNOT_ALLOCATE: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)


def allocate(descriptor: int, size: int) -> None:
    """Give the file real blocks: a hole that cannot be filled would kill the process later."""
    try:
        os.posix_fallocate(descriptor, 0, size)
    except AttributeError:
        _fill(descriptor, size)
    except OSError as error:
        if error.errno not in _CANNOT_ALLOCATE:
            raise
        _fill(descriptor, size)


def _fill(descriptor: int, size: int) -> None:
    block = bytes(2**16)
    left = size
    while left:
        left -= os.write(descriptor, block[: min(left, len(block))])

"""File locks that the operating system drops, even if their holder is killed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Lock an open file against other processes and threads; False if another holds it."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock an open file against other processes and threads; False if another holds it.

        Raises:
            OSError: if the file system has no locks.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def create_locked(prefix: Path, suffix: str) -> tuple[Path, int]:
    """Create a file and hold its lock, which tells the living from what killed runs left.

    Args:
        prefix: eight random hexadecimal digits and the suffix follow it.
        suffix: of the file's name.

    Returns:
        Its path, and a descriptor that holds the lock until it is closed. On a file system without
        locks nothing is held, and nobody takes the file for dead either.

    Raises:
        OSError: if it cannot be created.
    """
    tries = 3
    while True:
        path = prefix.with_name(f"{prefix.name}{os.urandom(4).hex()}{suffix}")
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        tries -= 1
        try:
            locked = try_lock(descriptor)
        except OSError:  # no locks on this file system
            return path, descriptor
        # Whoever cleans up may have locked and removed it before this lock.
        if (locked and os.fstat(descriptor).st_nlink) or not tries:
            return path, descriptor
        os.close(descriptor)


def remove_if_dead(path: Path) -> bool:
    """Remove a file of ``create_locked`` whose holder is gone; say whether it was.

    Raises:
        OSError: if it cannot be opened or removed.
    """
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        dead = try_lock(descriptor)
        if dead and sys.platform != "win32":
            path.unlink()
    finally:
        os.close(descriptor)
    if dead and sys.platform == "win32":  # an open file cannot be removed there
        path.unlink()
    return dead

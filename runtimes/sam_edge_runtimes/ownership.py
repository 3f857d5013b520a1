"""Whose a folder is: what another user could have put there is not believed."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path


def is_ours(path: Path) -> bool:
    """Whether a folder is this user's alone, so that nobody else can have written what is in it.

    It is a folder and no link, belongs to this user, and no group and nobody else may write it:
    make it with mode ``0o700``. Of the folders above it, none may let everybody exchange what lies
    there: one that everybody may write must have the sticky bit, and be root's or this user's, as
    an owner may exchange things in spite of the bit. Groups may write those: where every user has
    a group of his own they are made so.

    False, not an error, in a container whose volume is another user's: that is no cache, then.
    Windows keeps other users out of a profile by itself: there, a folder that is no link is ours.
    """
    try:
        if path.is_symlink() or not path.is_dir():
            return False
        if sys.platform == "win32":
            return True
        found = path.lstat()
        if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return False
        return not any(_all_may_exchange(above.stat()) for above in path.absolute().parents)
    except (OSError, ValueError):  # a name with a zero byte is a ValueError
        return False


def _all_may_exchange(folder: os.stat_result) -> bool:
    """Whether every user may put another thing in the place of one in this folder."""
    kept = folder.st_mode & stat.S_ISVTX and folder.st_uid in (0, os.geteuid())
    return bool(folder.st_mode & stat.S_IWOTH) and not kept

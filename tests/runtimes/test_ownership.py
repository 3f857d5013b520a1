"""What another user could have written is not ours."""

import os
import sys

import pytest

from sam_edge_runtimes.ownership import is_ours

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
as_root = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root gives files away"
)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "above" / "entry"
    path.mkdir(parents=True)
    path.chmod(0o700)
    path.parent.chmod(0o755)
    return path


def test_a_folder_of_this_user_alone_is_ours(folder):
    assert is_ours(folder)
    folder.chmod(0o755)
    assert is_ours(folder)


def test_what_is_no_folder_is_not_ours(folder):
    (folder / "file").write_text("")
    (folder / "link").symlink_to(folder)
    for path in (folder / "file", folder / "link", folder / "missing", folder / "a\0b"):
        assert not is_ours(path)
    assert not is_ours(folder / ("x" * 300))


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_folder_that_others_may_write_is_not_ours(folder, mode):
    folder.chmod(mode)
    assert not is_ours(folder)


@pytest.mark.parametrize(
    ("mode", "ours"), [(0o755, True), (0o775, True), (0o1777, True), (0o777, False)]
)
def test_nobody_may_exchange_it_from_above(folder, mode, ours):
    folder.parent.chmod(mode)
    assert is_ours(folder) == ours


@as_root
def test_another_users_folder_is_not_ours(folder):
    os.chown(folder, 54321, 54321)
    assert not is_ours(folder)


@as_root
def test_the_owner_of_a_folder_above_may_exchange_what_lies_in_it(folder):
    os.chown(folder.parent, 54321, 54321)
    folder.parent.chmod(0o755)  # a container's volume: its owner can do more than this anyhow
    assert is_ours(folder)
    folder.parent.chmod(0o1777)  # what anybody can make under /tmp, and wait for us to use
    assert not is_ours(folder)

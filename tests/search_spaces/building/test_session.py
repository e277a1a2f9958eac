"""One process a folder, one thread; files written whole."""

from __future__ import annotations

import pytest
import torch

from evo.errors import RunLockedError
from search_spaces.building.files import replace
from search_spaces.building.session import locked, one_thread


def test_a_folder_is_held_once_and_again_after_it_is_let_go(tmp_path):
    with locked(tmp_path), pytest.raises(RunLockedError, match="another process"):
        locked(tmp_path).__enter__()
    with locked(tmp_path):
        pass


def test_the_number_of_threads_is_put_back():
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        _fail_on_one_thread()
    assert torch.get_num_threads() == before


def _fail_on_one_thread():
    assert torch.get_num_threads() == 1
    raise ZeroDivisionError


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "new" / "file"
    replace(path, b"one")
    replace(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]

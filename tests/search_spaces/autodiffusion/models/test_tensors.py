"""Files of tensors: the same bytes for the same content, read by safetensors, damage told."""

import pytest
import torch
from safetensors.torch import load_file

from search_spaces.autodiffusion.models.tensors import read_tensors, write_tensors
from search_spaces.building.errors import BenchmarkError, DamagedBenchmarkError

TENSORS = {"b": torch.arange(6).reshape(2, 3), "a": torch.tensor([0.1, float("nan")]), "c": torch.ones(2).half()}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"n": 3, "words": "é"})
    tensors, meta = read_tensors(path)
    assert meta == {"n": 3, "words": "é"}
    for found in (tensors, load_file(path)):
        assert set(found) == set(TENSORS)
        for name, tensor in TENSORS.items():
            torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True)
    first = path.read_bytes()
    write_tensors(path, dict(reversed(TENSORS.items())), {"words": "é", "n": 3})
    assert path.read_bytes() == first


@pytest.mark.parametrize("place", [3, 40, -1])
def test_damage_is_told(tmp_path, place):
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"n": 3})
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)
    with pytest.raises((DamagedBenchmarkError, BenchmarkError)):
        read_tensors(path)


def test_a_file_cut_short_is_told(tmp_path):
    path = tmp_path / "x.safetensors"
    write_tensors(path, TENSORS, {"n": 3})
    for length in (0, 5, 100, len(path.read_bytes()) - 1):
        path.with_name("y").write_bytes(path.read_bytes()[:length])
        with pytest.raises(DamagedBenchmarkError):
            read_tensors(path.with_name("y"))


def test_files_of_others_and_none_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(BenchmarkError, match="none of our files"):
        read_tensors(tmp_path / "other.safetensors")
    with pytest.raises(BenchmarkError, match="cannot be read"):
        read_tensors(tmp_path / "absent.safetensors")

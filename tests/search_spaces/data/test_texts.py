"""The shipped texts are whole, small, and apart."""

from __future__ import annotations

import gzip
import hashlib
import lzma
from pathlib import Path

import pytest

from evo.errors import ConfigError
from search_spaces.data import DataError, build, texts
from search_spaces.data.texts import TEXTS, text

LENGTHS = {"python_tutorial": 256_327, "python_library": 1_367_347, "jargon": 851_690}
"""As NOTICE.md gives them."""


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_whole_and_its_file_small(name: str) -> None:
    assert len(text(name)) == LENGTHS[name]
    assert text(name) is text(name)
    assert (Path(texts.__file__).parent / TEXTS[name].file).stat().st_size <= 300_000


def test_texts_share_no_paragraph_worth_naming() -> None:
    """Selection and judge see text that the search did not."""
    paragraphs = {name: {block for block in text(name).split("\n\n") if len(block) > 200} for name in TEXTS}
    names = sorted(TEXTS)
    for place, name in enumerate(names):
        assert len(paragraphs[name]) > 200
        for other in names[place + 1 :]:
            assert not paragraphs[name] & paragraphs[other]


def test_an_unknown_text_is_refused_with_the_known_names() -> None:
    with pytest.raises(ConfigError, match="python_tutorial"):
        text("shakespeare")


@pytest.mark.parametrize(("file", "pack"), [("a.gz", gzip.compress), ("a.xz", lzma.compress)])
def test_a_damaged_text_is_refused(file: str, pack: object) -> None:
    content = "größer".encode()
    packed, digest = pack(content), hashlib.sha256(content).hexdigest()
    assert texts.unpack(packed, file, digest) == "größer"
    for wrong in (packed[:-3], b"nothing", pack(b"other")):
        with pytest.raises(DataError, match=file):
            texts.unpack(wrong, file, digest)


def test_building_joins_the_pages_and_cuts_the_lexicon_at_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "usr/share/doc/python3.11/html/_sources"
    for folder, pages in (("tutorial", build.TUTORIAL_PAGES), ("library", build.LIBRARY_PAGES)):
        (sources / folder).mkdir(parents=True)
        for page in pages:
            (sources / folder / f"{page}.rst.txt").write_text(f"{page}\n")
    build.build_python(tmp_path, tmp_path)
    assert gzip.decompress((tmp_path / "python_tutorial.txt.gz").read_bytes()).startswith(b"index\n\n\nappetite\n")
    assert lzma.decompress((tmp_path / "python_library.txt.xz").read_bytes()).endswith(b"decimal\n\n\ntyping\n")

    lexicon = tmp_path / "usr/share/doc/jargon-text/jargon.txt.gz"
    lexicon.parent.mkdir(parents=True)
    lexicon.write_bytes(gzip.compress(b"Contents\n\n   :a: n.\n\n   First.\n\n   :b: n.\n\n   Second.\n"))
    monkeypatch.setattr(build, "JARGON_LENGTH", 3)
    build.build_jargon(tmp_path, tmp_path)
    assert lzma.decompress((tmp_path / "jargon.txt.xz").read_bytes()) == b"   :a: n.\n\n   First.\n\n"
    monkeypatch.setattr(build, "JARGON_LENGTH", 1000)
    with pytest.raises(DataError, match="no such lexicon"):
        build.build_jargon(tmp_path, tmp_path)

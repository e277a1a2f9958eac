"""Backends are found and named openly; the compiler's work is shared by processes and survives damage."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings

import pytest

import kernels
from kernels import build, dispatch
from kernels.build import CLibrary
from kernels.errors import BackendFallbackWarning, BackendUnavailableError, BuildError, KernelError

needs_c = pytest.mark.skipif(not kernels.backends()["c"]["available"], reason="no C compiler")


@pytest.fixture
def fresh(monkeypatch):
    """Nothing probed yet; forgotten again afterwards."""
    monkeypatch.setattr(dispatch, "_found", {})
    monkeypatch.setattr(dispatch, "_warned", set())
    build.toolchain.cache_clear()
    monkeypatch.setattr("kernels.programs.c_path.LIBRARY._loaded", None)
    yield monkeypatch
    build.toolchain.cache_clear()


def test_backends_says_what_is_there_and_why():
    found = kernels.backends()
    assert set(found) == {"c", "numpy", "torch", "triton", "default", "digest"}
    for name in dispatch.NAMES:
        assert isinstance(found[name]["available"], bool)
        assert found[name]["why"]
    json.dumps(found)
    assert found["digest"] == kernels.digest()


def test_the_environment_chooses_and_an_argument_overrides_it(monkeypatch):
    monkeypatch.setenv("EVO_KERNEL_BACKEND", "torch")
    assert dispatch.choose(None) == "torch"
    assert dispatch.choose("numpy") == "numpy"
    monkeypatch.setenv("EVO_KERNEL_BACKEND", "cobol")
    with pytest.raises(KernelError, match="EVO_KERNEL_BACKEND='cobol' is no backend"):
        dispatch.choose(None)


def test_a_cpu_backend_is_refused_for_cuda_arrays():
    with pytest.raises(KernelError, match="runs on CPU arrays"):
        dispatch.choose("numpy", "cuda")


def test_without_a_compiler_asking_for_c_is_an_error_and_not_asking_a_warning(fresh):
    fresh.setenv("EVO_KERNEL_CC", "no-such-compiler")
    found = kernels.backends()
    assert not found["c"]["available"]
    assert "no-such-compiler" in found["c"]["why"]
    assert found["default"]["cpu"] == "numpy"
    with pytest.raises(BackendUnavailableError, match="EVO_KERNEL_CC"):
        dispatch.choose("c")
    dispatch._warned.clear()
    with pytest.warns(BackendFallbackWarning, match="no C compiler"):
        assert dispatch.choose(None) == "numpy"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dispatch.choose(None)  # said once


def test_triton_without_a_device_is_an_error(monkeypatch):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a device")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(BackendUnavailableError):
        dispatch.choose("triton")


@needs_c
def test_the_digest_depends_on_the_instruction_set(fresh):
    before = kernels.digest("c")
    fresh.setenv("EVO_KERNEL_ISA", "x86-64" if build.toolchain().isa == "x86-64-v3" else "x86-64-v3")
    build.toolchain.cache_clear()
    dispatch._found.clear()
    try:
        tools = build.toolchain()
    except BackendUnavailableError:
        pytest.skip("one instruction set only")
    assert CLibrary("x", []).digest() != before
    assert f"-march={tools.isa}" in tools.flags


@needs_c
@pytest.mark.parametrize("isa", ["x86-64", "x86-64-v3"])
def test_every_instruction_set_passes_the_agreement_tests(isa, tmp_path):
    """The other baselines, compiled into a cache of their own, in a process of their own."""
    if not build.toolchain().isa.startswith("x86-64") or (isa.endswith("v3") and build.toolchain().isa != isa):
        pytest.skip(f"no {isa} here")
    environment = os.environ | {"EVO_KERNEL_ISA": isa, "EVO_KERNEL_CACHE": str(tmp_path)}
    code = (
        "import numpy as np\n"
        "from tests.kernels.test_programs import compare\n"
        "from tests.kernels import cases\n"
        "programs = {n: cases.assemble(s) for n, s in cases.KNOWN.items()}\n"
        "compare(programs, 'c', np.float32, least=0.9)\n"
        "from tests.kernels import test_dense\n"
        "test_dense.test_losses_and_gradients_agree_with_autograd('c', (64, 32, 10))\n"
        "import kernels; print(kernels.backends()['c']['isa'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == isa
    assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == ["mlp", "programs", "ranks"]


@needs_c
def test_an_unknown_instruction_set_is_named(fresh):
    fresh.setenv("EVO_KERNEL_ISA", "x86-64-v9")
    with pytest.raises(BackendUnavailableError, match="x86-64-v9"):
        build.toolchain()


def tiny(tmp_path, text="int answer(void) { return 42; }\n"):
    source = tmp_path / "tiny.c"
    source.write_text(text)
    return CLibrary("tiny", [source])


@needs_c
def test_a_library_is_built_once_and_again_when_its_source_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("EVO_KERNEL_CACHE", str(tmp_path / "cache"))
    assert tiny(tmp_path).load().answer() == 42
    built = list((tmp_path / "cache").iterdir())
    monkeypatch.setattr(CLibrary, "_build", lambda *_: pytest.fail("built twice"))
    assert tiny(tmp_path).load().answer() == 42
    monkeypatch.undo()
    monkeypatch.setenv("EVO_KERNEL_CACHE", str(tmp_path / "cache"))
    assert tiny(tmp_path, "int answer(void) { return 43; }\n").load().answer() == 43
    assert len(list((tmp_path / "cache").iterdir())) == len(built) + 1


@needs_c
def test_a_damaged_library_is_built_again(tmp_path, monkeypatch):
    monkeypatch.setenv("EVO_KERNEL_CACHE", str(tmp_path / "cache"))
    library = tiny(tmp_path)
    target = build.cache_folder() / f"tiny-{library.digest()[:32]}.so"
    target.write_bytes(b"\x7fELF cut short")
    assert library.load().answer() == 42


@needs_c
def test_what_the_compiler_says_is_in_the_error(tmp_path, monkeypatch):
    monkeypatch.setenv("EVO_KERNEL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(BuildError, match="syntactically"):
        tiny(tmp_path, "#error syntactically\n").load()
    assert not list((tmp_path / "cache").iterdir())


@needs_c
def test_a_cache_that_cannot_be_made_is_a_typed_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EVO_KERNEL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(BackendUnavailableError, match="EVO_KERNEL_CACHE"):
        tiny(tmp_path).load()


@needs_c
def test_processes_that_build_at_once_all_get_a_whole_library(tmp_path):
    (tmp_path / "tiny.c").write_text("int answer(void) { return 42; }\n")
    code = (
        "from pathlib import Path\n"
        "from kernels.build import CLibrary\n"
        f"print(CLibrary('tiny', [Path({str(tmp_path / 'tiny.c')!r})]).load().answer())\n"
    )
    environment = os.environ | {"EVO_KERNEL_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [process.communicate(timeout=120)[0].strip() for process in started] == ["42"] * 3
    assert len(list((tmp_path / "cache").iterdir())) == 1


@needs_c
def test_no_scalar_float_function_is_called_from_vector_code():
    """A remainder or a peeled element computed by libm would make results depend on an element's place."""
    if shutil.which("nm") is None or "-DMVEC=2" not in build.toolchain().flags:
        pytest.skip("needs nm and glibc 2.35")
    from kernels.programs.c_path import LIBRARY

    path = build.cache_folder() / f"programs-{LIBRARY.digest()[:32]}.so"
    listed = subprocess.run(["nm", "-D", "--undefined-only", str(path)], capture_output=True, text=True, check=True)
    called = {line.split()[-1].split("@")[0] for line in listed.stdout.splitlines()}
    assert any(name.startswith("_ZGV") for name in called)
    assert not called & {f"{name}f" for name in ("sin", "cos", "exp", "log", "pow", "tanh", "cbrt", "asin", "expm1")}


def test_errors_survive_pickling():
    import pickle

    error = pickle.loads(pickle.dumps(BackendUnavailableError("gone", "bring it back")))
    assert isinstance(error, BackendUnavailableError)
    assert (error.message, error.hint) == ("gone", "bring it back")


def test_importing_kernels_imports_neither_triton_nor_the_engine():
    code = (
        "import sys, kernels, kernels.dense, kernels.programs\n"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('triton', 'evo', 'scipy', 'ray', 'search_spaces')]\n"
        "assert not bad, bad\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env=environment)

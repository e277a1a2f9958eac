"""Compiles the C kernels with the system's compiler, once for a machine, into a cache that processes share.

A compiled library is named by the digest of everything that decides its numbers: sources, compiler version, flags,
instruction set, C library. It is built beside its place and moved there, so that any number of processes may build at
once. The instruction set is a fixed baseline (x86-64-v3 where the processor has it), not the processor's own: the
machines of a cluster then compute the same numbers.

Environment: `EVO_KERNEL_CC` (or `CC`) names the compiler, `EVO_KERNEL_ISA` the instruction set (x86-64, x86-64-v3),
`EVO_KERNEL_CACHE` the folder of compiled libraries (default: `$XDG_CACHE_HOME/evo-search/kernels`).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kernels.errors import BackendUnavailableError, BuildError

_V3_FEATURES = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}

# No flag here implies -ffinite-math-only, and none links crtfastmath.o, which would switch denormals off for the whole
# process. Contraction to fused multiply-adds is off, so that arithmetic equals numpy's to the bit.
_FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off")
_GCC_FLAGS = ("--param", "vect-max-peeling-for-alignment=0")


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What compiles, and for what.

    Attributes:
        command: the compiler, as a command line.
        version: first line of what `--version` prints.
        isa: instruction set baseline, e.g. "x86-64-v3"; the machine's name where there is no choice.
        flags: all that is passed beside sources and output.
        libraries: linker flags.
        libc: C library and its version, "" if unknown.
    """

    command: tuple[str, ...]
    version: str
    isa: str
    flags: tuple[str, ...]
    libraries: tuple[str, ...]
    libc: str


@functools.lru_cache(maxsize=1)
def toolchain() -> Toolchain:
    """The system's C compiler.

    Raises:
        BackendUnavailableError: there is none, it does not run, or the instruction set is unknown.
    """
    named = os.environ.get("EVO_KERNEL_CC") or os.environ.get("CC")
    for candidate in [named] if named else ["gcc", "cc", "clang"]:
        command = shlex.split(candidate)
        if command and shutil.which(command[0]):
            break
    else:
        raise BackendUnavailableError(
            f"no C compiler found ({named or 'tried gcc, cc, clang'})",
            "install gcc, or name a compiler in EVO_KERNEL_CC, or use the backend 'numpy'",
        )
    try:
        shown = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=60, check=True)
        macros = subprocess.run(
            [*command, "-dM", "-E", "-x", "c", os.devnull], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise BackendUnavailableError(f"the C compiler {candidate!r} does not run: {error}") from error
    clang = "__clang__" in macros
    libc = _libc()
    isa = _isa()
    flags = [*_FLAGS, *(() if clang else _GCC_FLAGS)]
    if isa.startswith("x86-64"):
        flags.append(f"-march={isa}")
    level = 0 if clang or not isa.startswith("x86-64") else _libmvec_level(libc)
    flags.append(f"-DMVEC={level}")
    libraries = ("-lmvec", "-lm") if level else ("-lm",)
    return Toolchain(tuple(command), shown.stdout.splitlines()[0].strip(), isa, tuple(flags), libraries, libc)


def _libc() -> str:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").strip()
    except (AttributeError, ValueError, OSError):
        return " ".join(platform.libc_ver()).strip()


def _libmvec_level(libc: str) -> int:
    """2: vectors of all functions in use (glibc 2.35), 1: of sin, cos, exp, log, pow (2.22), 0: of none."""
    name, _, version = libc.partition(" ")
    if name != "glibc":
        return 0
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return 2 if numbers >= (2, 35) else 1 if numbers >= (2, 22) else 0


def _isa() -> str:
    machine = platform.machine().lower()
    named = os.environ.get("EVO_KERNEL_ISA")
    if machine not in ("x86_64", "amd64"):
        if named and named != machine:
            raise BackendUnavailableError(
                f"EVO_KERNEL_ISA={named} does not exist on {machine}", f"unset it or say {machine}"
            )
        return machine
    features: set[str] = set()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                features = set(line.split(":", 1)[1].split())
                break
    except OSError:
        pass  # not Linux: the plain baseline is right everywhere
    best = "x86-64-v3" if features >= _V3_FEATURES else "x86-64"
    if named is None:
        return best
    if named not in ("x86-64", "x86-64-v3"):
        raise BackendUnavailableError(f"EVO_KERNEL_ISA={named} is unknown", "say x86-64 or x86-64-v3")
    if named == "x86-64-v3" and best != named:
        raise BackendUnavailableError("EVO_KERNEL_ISA=x86-64-v3, but this processor does not have it", "say x86-64")
    return named


def cache_folder() -> Path:
    """Where compiled libraries are kept; created, readable by its owner alone."""
    named = os.environ.get("EVO_KERNEL_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(named) if named else Path(base) / "evo-search" / "kernels"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BackendUnavailableError(
            f"the folder for compiled kernels cannot be made: {error}", "name a writable one in EVO_KERNEL_CACHE"
        ) from error
    return folder


class CLibrary:
    """A kernel's C sources, and the library they become when it is first needed.

    Args:
        name: of the file, without digest and ending.
        sources: C files; the first is compiled, the others are what it includes.
    """

    def __init__(self, name: str, sources: Sequence[Path]) -> None:
        self.name = name
        self.sources = tuple(sources)
        self._loaded: ctypes.CDLL | None = None

    def digest(self) -> str:
        """Hexadecimal digest of all that decides what the library computes."""
        tools = toolchain()
        state = hashlib.sha256()
        for part in (*(source.read_bytes() for source in self.sources), repr(tools).encode()):
            state.update(hashlib.sha256(part).digest())
        return state.hexdigest()

    def load(self) -> ctypes.CDLL:
        """The library, compiled if no process has done so before; calls of its functions release the interpreter lock.

        Raises:
            BackendUnavailableError: no compiler, or no place to put the library.
            BuildError: the compiler failed; the message holds what it said.
        """
        if self._loaded is None:
            target = cache_folder() / f"{self.name}-{self.digest()[:32]}.so"
            if not target.exists():
                self._build(target)
            try:
                self._loaded = ctypes.CDLL(str(target))
            except OSError:
                self._build(target)  # a file cut short by a full disk, say
                try:
                    self._loaded = ctypes.CDLL(str(target))
                except OSError as error:
                    raise BuildError(
                        f"{target} does not load: {error}", "see EVO_KERNEL_CC and EVO_KERNEL_ISA"
                    ) from error
        return self._loaded

    def _build(self, target: Path) -> None:
        tools = toolchain()
        try:
            with tempfile.TemporaryDirectory(dir=target.parent, prefix="build-") as folder:
                built = Path(folder) / target.name
                command = [
                    *tools.command,
                    *tools.flags,
                    "-shared",
                    "-o",
                    str(built),
                    str(self.sources[0]),
                    *tools.libraries,
                ]
                done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
                if done.returncode:
                    raise BuildError(f"{shlex.join(command)} failed:\n{done.stderr[-4000:]}", "use the backend 'numpy'")
                os.replace(built, target)
        except OSError as error:
            raise BackendUnavailableError(
                f"{target.parent} cannot be written: {error}", "name a writable folder in EVO_KERNEL_CACHE"
            ) from error
        except subprocess.SubprocessError as error:
            raise BuildError(f"compiling {self.name} did not end: {error}", "use the backend 'numpy'") from error

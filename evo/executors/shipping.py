"""The project's code as one archive, for workers on machines that share no disk with the driver.

What is shipped is what `evo.codebase.source_digest` looks at, with the data files of those packages; each worker's
digest is then compared with the driver's before it is used.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from evo.codebase import PROJECT_PACKAGES, files_below, package_folders, root_modules
from evo.errors import ExecutorError

LARGEST_MB = 200


def pack_code(import_roots: Sequence[str]) -> tuple[bytes, str]:
    """The archive and its digest: `project/<package>/...` and `root-<i>/...` for each import root.

    Raises:
        ExecutorError: it would be larger than `LARGEST_MB`.
    """
    buffer = io.BytesIO()
    total = 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, path in _contents(import_roots):
            content = path.read_bytes()
            total += len(content)
            if total > LARGEST_MB << 20:
                raise ExecutorError(
                    f"the code to ship to the cluster exceeds {LARGEST_MB} MB at {path}",
                    "keep data out of packages and import roots, or install the project on every machine",
                )
            # A fixed date, so that equal files make an equal archive.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    data = buffer.getvalue()
    return data, hashlib.blake2b(data, digest_size=16).hexdigest()


def project_root() -> str:
    """The directory that holds `evo`; on `sys.path` of every worker of this machine."""
    return str(package_folders(["evo"])["evo"].parent)


def _contents(import_roots: Sequence[str]) -> Iterator[tuple[str, Path]]:
    folders = package_folders(PROJECT_PACKAGES)
    for name, folder in folders.items():
        for file in files_below(folder, code_only=False):
            yield f"project/{name}/{file.relative_to(folder).as_posix()}", file
    for number, root in enumerate(import_roots):
        for name, entry in root_modules(Path(root)).items():
            if name.removesuffix(".py") in folders:
                continue
            for file in files_below(entry, code_only=False):
                yield f"root-{number}/{file.relative_to(root).as_posix()}", file

"""The actor class, sent to Ray by value: it makes the project importable in a bare worker process, then hands over.

Nothing of the project may be imported at the top of this module: on another machine it is not there yet.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import zipfile
from typing import Any


def unpack_code(data: bytes, digest: str) -> str:
    """Unpack shipped code once a machine and user; returns the folder.

    Args:
        data: the archive made by `evo.executors.shipping.pack_code`.
        digest: its digest, the folder's name.
    """
    base = os.path.join(tempfile.gettempdir(), f"evo-code-{os.getuid()}")
    os.makedirs(base, mode=0o700, exist_ok=True)
    if os.stat(base).st_uid != os.getuid():
        raise PermissionError(f"{base} belongs to another user")
    target = os.path.join(base, digest)
    if not os.path.isdir(target):
        scratch = tempfile.mkdtemp(dir=base)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(scratch)
        try:
            os.rename(scratch, target)
        except OSError:
            if not os.path.isdir(target):  # else another worker of this machine was first
                raise
    return target


class RemoteWorker:
    """One evaluator process.

    Args:
        paths: directories of this machine for `sys.path`; used where no code is shipped.
        shipped: None, or ([reference to the archive], digest, number of import roots in it).
    """

    def __init__(self, paths: list[str], shipped: tuple[list[Any], str, int] | None) -> None:
        roots = None
        if shipped is not None:
            import ray

            (reference,), digest, count = shipped
            folder = unpack_code(ray.get(reference), digest)
            roots = [os.path.join(folder, f"root-{i}") for i in range(count)]
            paths = [os.path.join(folder, "project"), *roots]
        sys.path[:0] = [path for path in paths if path not in sys.path]
        from evo.executors.host import WorkerHost

        self._host = WorkerHost(roots)

    def setup(self, payload: bytes, prepared: list[Any]) -> bytes:
        """Build the evaluator; `prepared` holds a reference or nothing."""
        import ray

        return self._host.setup(payload, ray.get(prepared[0]) if prepared else None)

    def run(self, payload: bytes) -> bytes:
        """Evaluate blocks."""
        return self._host.run(payload)

    def apply(self, payload: bytes) -> bytes:
        """Map a function."""
        return self._host.apply(payload)

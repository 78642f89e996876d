"""A trial run of a bundle's networks in a process of its own, with little memory and time.

Loading a network already computes what is constant in it, and a few bytes can ask for more memory
than there is.  `verify.py` starts this file; nothing else does.

Prints one JSON object: ``{"error": ..., "network": ...}``, or ``{"outputs": {network: {name:
[type, shape]}}}``.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.models.bundle import AvatarBundle, load_bundle
from daetalker.models.verify import open_network

CPU_S = 300
_MEMORY_BYTES = 3 * 1024**3
_MEMORY_PER_FILE_BYTE = 8


def main(folder: str) -> None:
    """Open each network of the bundle and run it once on zeros."""
    bundle = load_bundle(Path(folder))
    largest = max((bundle.path / name).stat().st_size for name in bundle.manifest.files)
    for what, most in (
        (resource.RLIMIT_AS, _MEMORY_BYTES + _MEMORY_PER_FILE_BYTE * largest),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    outputs: dict[str, Any] = {}
    made: dict[str, NDArray[Any]] = {}
    for name in bundle.networks:
        try:
            outputs[name] = _run(bundle, name, made)
        except Exception as error:  # ONNX Runtime's errors share no public base class
            print(json.dumps({"network": name, "error": str(error)[:2000]}))
            return
    print(json.dumps({"outputs": outputs}))


def _run(bundle: AvatarBundle, name: str, made: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Run one network; ``made`` collects results, which later ones may take by their names."""
    session = open_network(bundle, name)
    feed = {}
    for value in session.get_inputs():
        shape = [side if isinstance(side, int) else 1 for side in value.shape]
        dtype = np.int64 if value.type == "tensor(int64)" else np.float32
        feed[value.name] = made.get(value.name, np.zeros(shape, dtype))
    names = [value.name for value in session.get_outputs()]
    results = dict(zip(names, session.run(None, feed), strict=True))
    # Their widths are the networks' own affair, so each is given what the one before makes.
    made.update({key: results[key] for key in ("features", "hidden") if key in results})
    return {key: [str(value.dtype), list(value.shape)] for key, value in results.items()}


if __name__ == "__main__":
    main(sys.argv[1])

"""A bundle's networks, opened and tried before anyone relies on them.

A manifest's checksums say that files have arrived as they were sent, not that they are an avatar.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from daetalker.models.bundle import AvatarBundle, BundleError
from daetalker.models.onnx_check import Value
from daetalker.models.signature import signature, words

__all__ = ["TRIAL_S", "check_networks", "open_network"]

TRIAL_S = 600.0
"""A trial that takes longer is given up; its own limit is on processor time."""

_DTYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}


def check_networks(bundle: AvatarBundle) -> list[str]:
    """Examine every network and run it once, in a process with little memory; their names.

    Raises:
        BundleError: naming the network and what is wrong with it.
    """
    for name in bundle.networks:
        bundle.read_network(name)
    bundle.noise()
    for name, made in _try(bundle).items():
        _, wanted = signature(name, bundle.manifest)
        for key, value in wanted.items():
            dtype, shape = made[key]
            _compare(bundle, name, key, Value(_DTYPES.get(dtype, dtype), tuple(shape)), value)
    return list(bundle.networks)


def open_network(bundle: AvatarBundle, name: str) -> Any:
    """An ONNX Runtime session of one network, on one thread.

    Raises:
        BundleError: if the file is no network of an avatar.
    """
    import onnxruntime as ort

    data = bundle.read_network(name)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors share no public base class
        raise _fail(bundle, name, f"cannot be opened: {_first_line(error)}") from error


def _try(bundle: AvatarBundle) -> dict[str, dict[str, Any]]:
    """What the networks make of zeros: type and shape by output and network; see `trial.py`."""
    # The child finds this package where we have found it, installed or not.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-B", "-m", "daetalker.models.trial", str(bundle.path.absolute())]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            cwd=Path(bundle.path),
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=TRIAL_S,
            check=False,
        )
        report = json.loads(done.stdout or b"null")
    except subprocess.TimeoutExpired:
        raise BundleError(
            f"avatar '{bundle.manifest.name}': its networks did not finish one run in "
            f"{TRIAL_S:.0f} s"
        ) from None
    except ValueError:
        report = None
    if not isinstance(report, dict):
        raise BundleError(
            f"avatar '{bundle.manifest.name}': its networks broke off a trial run; they take more "
            "memory or time than their size explains, or are damaged"
        )
    if "error" in report:
        raise _fail(bundle, report["network"], f"fails: {_first_line(report['error'])}")
    outputs: dict[str, dict[str, Any]] = report["outputs"]
    return outputs


def _compare(bundle: AvatarBundle, name: str, key: str, found: Value, wanted: Value) -> None:
    # One of what the signature leaves open, unless it is a width that the network chooses.
    good = found.dtype == wanted.dtype and len(found.shape) == len(wanted.shape)
    sides = zip(found.shape, wanted.shape, strict=False)
    if not good or not all(want in (None, side) for side, want in sides):
        raise _fail(
            bundle, name, f"must give {words(wanted)} as output '{key}', not {words(found)}"
        )


def _fail(bundle: AvatarBundle, name: str, reason: str) -> BundleError:
    return BundleError(f"avatar '{bundle.manifest.name}': {name}.onnx {reason}")


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [""])[0][:200]

"""The virtual camera device, through pyvirtualcam, and what to do where there is none."""

from __future__ import annotations

import platform
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daetalker.plugins.camera.errors import CameraError

__all__ = ["VirtualCamera", "how_to_get_a_camera"]

_ALTERNATIVE = (
    "or, without any device, let OBS show the page http://127.0.0.1:8080/stage of "
    "`daetalker serve` as a browser source"
)


def how_to_get_a_camera(system: str = platform.system()) -> str:
    """What to do on this operating system, and the alternative."""
    if system == "Linux":
        return (
            "install and load it once with `sudo apt-get install v4l2loopback-dkms && "
            "sudo modprobe v4l2loopback exclusive_caps=1 card_label=daetalker`; " + _ALTERNATIVE
        )
    return (
        "install OBS Studio (obsproject.com), start it, click 'Start Virtual Camera' once and "
        "close it again; " + _ALTERNATIVE
    )


class VirtualCamera:
    """An open camera device; `send` and `close` belong to one thread."""

    def __init__(
        self,
        width: int,
        height: int,
        fps: int,
        *,
        device: str | None = None,
        backend: str | None = None,
    ) -> None:
        """Open the device.

        Args:
            width, height: frame size in pixels.
            fps: about how many frames a second will be sent.
            device: such as ``/dev/video9``; None: the first one that is free.
            backend: pyvirtualcam's name of the kind of device; None: whichever works.

        Raises:
            MissingExtra: if pyvirtualcam is not installed.
            CameraError: if there is no such device; says what to do.
        """
        pyvirtualcam = import_pyvirtualcam()
        backends = list(pyvirtualcam.camera.BACKENDS)
        if backend is not None and backend not in backends:
            raise CameraError(
                f"--backend '{backend}' is unknown here; there is: {', '.join(backends)}"
            )
        try:
            self._camera = pyvirtualcam.Camera(width, height, fps, device=device, backend=backend)
        except RuntimeError as error:
            raise _refusal(str(error), device) from None
        self.device: str = self._camera.device

    def send(self, frame: NDArray[np.uint8]) -> None:
        """Show ``[height, width, 3]`` uint8 RGB now; takes a few milliseconds.

        Raises:
            CameraError: if the device has gone.
        """
        try:
            self._camera.send(frame)
        except (RuntimeError, OSError) as error:
            raise CameraError(f"the virtual camera takes no more pictures ({error})") from None

    def close(self) -> None:
        """Free the device; may be called again."""
        self._camera.close()


def import_pyvirtualcam() -> Any:
    """The package, which is GPL-2.0 and therefore an extra that is imported only when used.

    Raises:
        MissingExtra: if it is not installed.
    """
    from daetalker.streamer.plugin import MissingExtra

    try:
        return import_module("pyvirtualcam")
    except ImportError:
        raise MissingExtra("camera", "pyvirtualcam") from None


def _refusal(reasons: str, device: str | None) -> CameraError:
    reason = "; ".join(line.strip() for line in reasons.splitlines())
    if "busy" in reason.lower():
        return CameraError(
            f"the virtual camera is used by another program ({reason})", "close that one first"
        )
    which = f"no virtual camera '{device}'" if device else "no virtual camera"
    return CameraError(f"there is {which} here ({reason})", how_to_get_a_camera())

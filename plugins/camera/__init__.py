"""The virtual camera and the virtual microphone: a session as a meeting tool sees and hears it.

The third-party packages are imported when a device is opened, never before.
"""

from daetalker.plugins.camera.plugin import CameraPlugin
from daetalker.plugins.camera.settings import CameraSettings

__all__ = ["CameraPlugin", "CameraSettings"]

"""Engine: the live path's only door to the networks, on ONNX Runtime.

It blocks; `async_engine.AsyncEngine` is the awaitable in front of it.
S is the frame size, H the width of the speech encoder, D = 512 the width of a latent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from daetalker.models.bundle import LIVE_NETWORKS, AvatarBundle
from daetalker.models.ddim_numpy import ddim_sample
from daetalker.models.mel import log_mel
from daetalker.streamer.errors import EngineError
from daetalker.streamer.media import SAMPLES_PER_FRAME

__all__ = ["Engine", "EngineError", "Speech"]

_Feed = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Speech:
    """What the speech network heard in one window of W frames.

    Attributes:
        hidden: ``[W, H]`` float32.
        pose: ``[W, 3]`` float32, yaw, pitch, roll in degrees.
    """

    hidden: NDArray[np.float32]
    pose: NDArray[np.float32]


class Engine:
    """The networks of one bundle.  Every call blocks; any thread may call.

    Frames are always decoded one by one, so that a result never depends on its neighbours.
    """

    def __init__(self, bundle: AvatarBundle, *, threads: int = 2) -> None:
        """Open the live networks.

        Args:
            threads: processor threads one network call may use.

        Raises:
            EngineError: if a network cannot be opened.
            BundleError: if the bundle lacks one.
        """
        self.bundle = bundle
        self._threads = threads
        self._lock = threading.Lock()
        self._silence: Speech | None = None
        self._networks = {name: self._open(name) for name in LIVE_NETWORKS}

    @property
    def provider(self) -> str:
        """What computes, in ONNX Runtime's words."""
        return str(self._networks["student"].get_providers()[0])

    def speech(self, samples: NDArray[np.float32]) -> Speech:
        """Hear one window, ``[640 W]`` float32 at 16 kHz in [-1, 1].

        Raises:
            EngineError: if a network fails.
        """
        wanted = self.bundle.manifest.window_frames * SAMPLES_PER_FRAME
        if samples.shape != (wanted,):
            raise EngineError(f"the speech network hears [{wanted}] samples, got {samples.shape}")
        (features,) = self._run("acoustic", self._heard(samples))
        hidden, pose = self._run("speech", {"features": features})
        return Speech(hidden[0], pose[0])

    def silence(self) -> Speech:
        """What the speech network makes of a window of digital silence; computed once."""
        with self._lock:
            if self._silence is None:
                samples = self.bundle.manifest.window_frames * SAMPLES_PER_FRAME
                self._silence = self.speech(np.zeros(samples, np.float32))
            return self._silence

    def latents(
        self, hidden: NDArray[np.float32], control: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Latents ``[W, D]`` from ``hidden`` ``[W, H]`` and ``control`` ``[W, 4]``.

        Control is yaw, pitch, roll in degrees, and eye closure from 0 to 1.

        Raises:
            EngineError: if the network fails.
        """
        feed = {"hidden": hidden[None], "control": control[None].astype(np.float32)}
        (latents,) = self._run("latent", feed)
        result: NDArray[np.float32] = latents[0]
        return result

    def frames(self, latents: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Decode ``[N, D]`` with the student to ``[N, S, S, 3]`` uint8 RGB.

        Raises:
            EngineError: if the network fails.
        """
        size = self.bundle.manifest.size
        frames = np.empty((latents.shape[0], size, size, 3), np.uint8)
        for i, latent in enumerate(latents):
            if i and np.array_equal(latent, latents[i - 1]):
                frames[i] = frames[i - 1]
            else:
                frames[i] = self._run("student", {"latent": latent[None]})[0][0]
        return frames

    def teacher_frames(self, latents: NDArray[np.float32], steps: int) -> NDArray[np.uint8]:
        """Decode ``[N, D]`` with the teacher's DDIM to ``[N, S, S, 3]`` uint8 RGB.

        Args:
            steps: evaluations a frame, 1 to the bundle's ``diffusion_steps``.

        Raises:
            BundleError: if the bundle has no teacher.
            EngineError: if the network fails or ``steps`` is out of range.
        """
        with self._lock:
            if "teacher" not in self._networks:
                self._networks["teacher"] = self._open("teacher")
        manifest = self.bundle.manifest
        noise = self.bundle.noise()
        frames = np.empty((latents.shape[0], manifest.size, manifest.size, 3), np.uint8)
        for i, latent in enumerate(latents):

            def denoise(
                x_t: NDArray[np.float32],
                t: NDArray[np.int64],
                condition: NDArray[np.float32] = latent[None],
            ) -> NDArray[np.float32]:
                feed: _Feed = {"x_t": x_t, "t": t, "latent": condition}
                x0: NDArray[np.float32] = self._run("teacher", feed)[0]
                return x0

            try:
                image = ddim_sample(denoise, noise, steps, manifest.diffusion_steps)[0]
            except ValueError as error:
                raise EngineError(str(error)) from error
            frames[i] = np.rint((image.transpose(1, 2, 0) + 1.0) * 127.5)
        return frames

    def warm_up(self, rounds: int = 5) -> dict[str, float]:
        """Run every live network on made-up input; median milliseconds of each by name."""
        manifest = self.bundle.manifest
        window = np.zeros(manifest.window_frames * SAMPLES_PER_FRAME, np.float32)
        silence = self.silence()
        control = np.zeros((manifest.window_frames, 4), np.float32)
        latents = self.latents(silence.hidden, control)[:1]
        (features,) = self._run("acoustic", self._heard(window))
        jobs: dict[str, Callable[[], object]] = {
            "acoustic": lambda: self._run("acoustic", self._heard(window)),
            "speech": lambda: self._run("speech", {"features": features}),
            "latent": lambda: self.latents(silence.hidden, control),
            "student": lambda: self.frames(latents),
        }
        return {name: _median_ms(job, rounds) for name, job in jobs.items()}

    def _heard(self, samples: NDArray[np.float32]) -> _Feed:
        """What the acoustic network takes of a window: samples as they are, or a log-mel."""
        if self._networks["acoustic"].get_inputs()[0].name == "samples":
            return {"samples": samples[None]}
        return {"mel": log_mel(samples)[None]}

    def _open(self, name: str) -> ort.InferenceSession:
        self.bundle.network(name)
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        # Spinning threads burn the core that the video encoder and the neighbours need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        options.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            # Bytes, not the path: what is opened is what was examined.
            data = self.bundle.read_network(name)
            return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no public base class
            raise EngineError(f"{self._named(name)} cannot be opened: {error}") from error

    def _run(self, name: str, feed: _Feed) -> list[NDArray[Any]]:
        try:
            return list(self._networks[name].run(None, feed))
        except Exception as error:  # as above
            raise EngineError(f"{self._named(name)} failed: {error}") from error

    def _named(self, name: str) -> str:
        return f"network '{name}' of avatar '{self.bundle.manifest.name}'"


def _median_ms(job: Callable[[], object], rounds: int) -> float:
    times: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        job()
        times.append(1000.0 * (time.perf_counter() - start))
    return float(np.median(times))

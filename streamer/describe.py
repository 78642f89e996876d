"""What clients are told: of an avatar, its presets, and how a session is doing."""

from __future__ import annotations

from daetalker.models.bundle import Manifest
from daetalker.streamer.presets import PresetBook
from daetalker.streamer.protocol import (
    AvatarInfo,
    ConsentInfo,
    PoseAngles,
    PoseRange,
    PresetInfo,
    State,
)
from daetalker.streamer.session import Session

__all__ = ["avatar_info", "preset_infos", "state_of"]


def avatar_info(manifest: Manifest, book: PresetBook) -> AvatarInfo:
    """An avatar, with the presets that it has in that book."""
    limits = {axis: list(limit) for axis, limit in manifest.pose_range_deg.items()}
    return AvatarInfo(
        name=manifest.name,
        label=manifest.label,
        size=manifest.size,
        fps=manifest.fps,
        synthetic=manifest.synthetic,
        consent=ConsentInfo(**manifest.consent.as_json()),
        pose_range=PoseRange(**limits),
        presets=preset_infos(manifest, book),
    )


def preset_infos(manifest: Manifest, book: PresetBook) -> list[PresetInfo]:
    """An avatar's presets: its own, changed and added to by the user's file."""
    return [
        PresetInfo(
            name=preset.name,
            label=preset.label,
            yaw=preset.yaw,
            pitch=preset.pitch,
            roll=preset.roll,
            ease_s=preset.ease_s,
            natural=preset.natural,
            hold_s=preset.hold_s,
            own=book.is_own(preset.name, manifest),
        )
        for preset in book.for_avatar(manifest)
    ]


def state_of(session: Session) -> State:
    """How a session is doing at this moment."""
    stats, control = session.stats(), session.control
    yaw, pitch, roll = (round(float(angle), 2) for angle in stats.pose)
    return State(
        speaking=stats.speaking,
        fps=round(stats.fps, 2),
        latency_ms=round(stats.delay_s * 1000, 1),
        late=stats.late,
        pose=PoseAngles(yaw=yaw, pitch=pitch, roll=roll),
        preset=control.preset,
        muted=control.muted,
        load=stats.load,
    )

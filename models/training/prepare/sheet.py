"""The contact sheet: what was kept, with its landmarks, and what was dropped and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from daetalker.models.training.data import FPS
from daetalker.models.training.prepare.crop import Crop
from daetalker.models.training.prepare.judge import KEPT, REASONS
from daetalker.models.training.prepare.measure import Measures, whole_file
from daetalker.models.training.prepare.source import Clip, picture_at

TILE, COLUMNS = 192, 6
KEPT_TILES, DROPPED_TILES = 18, 12
LABEL = 16
GOLDEN = 0.618034  # multiples of it fall evenly between the whole numbers, in no rhythm
INK, PAPER, DOT, BAD = (230, 230, 230), (24, 24, 24), (90, 255, 120), (255, 120, 100)

Judged = tuple[Clip, Crop, Measures, NDArray[np.int64]]


def write_sheet(path: Path, judged: list[Judged], size: int) -> None:
    """Write a PNG of examples spread over all clips.

    Args:
        judged: of each clip, its crop, what was measured and the verdict on each frame.
        size: pixels a side in which landmarks are given.

    Raises:
        DataError: if the file cannot be written.
    """
    chosen = _spread(_where(judged, None), KEPT_TILES)
    reasons = [r for r in range(len(REASONS)) if any((v == r).any() for *_, v in judged)]
    if reasons:
        share = max(1, DROPPED_TILES // len(reasons))
        chosen += [at for r in reasons for at in _spread(_where(judged, r), share)]
    tiles = [_tile(judged[clip], frame, size) for clip, frame in chosen]
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + LABEL)), PAPER)
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % COLUMNS * TILE, i // COLUMNS * (TILE + LABEL)))
    with whole_file(path) as partial:
        sheet.save(partial)


def _where(judged: list[Judged], reason: int | None) -> list[tuple[int, int]]:
    """(clip, frame) of every frame dropped for ``reason``, or kept."""
    wanted = KEPT if reason is None else reason
    return [
        (i, int(frame))
        for i, (*_, verdict) in enumerate(judged)
        for frame in np.flatnonzero(verdict == wanted)
    ]


def _spread(items: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """At most ``count`` items, spread over all, but not in step with clips of one length."""
    if len(items) <= count:
        return items
    within = (np.arange(count) * GOLDEN) % 1
    return [items[i] for i in ((np.arange(count) + within) * len(items) / count).astype(int)]


def _tile(judged: Judged, frame: int, size: int) -> Image.Image:
    clip, crop, seen, verdict = judged
    tile = Image.new("RGB", (TILE, TILE + LABEL), PAPER)
    draw = ImageDraw.Draw(tile)
    rgb = picture_at(clip, frame)
    if rgb is not None:
        tile.paste(Image.fromarray(crop.cut(rgb, TILE)), (0, 0))
    reason = int(verdict[frame])
    for x, y in np.nan_to_num(seen.landmarks[frame] * (TILE / size), nan=-9.0):
        draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=DOT if reason == KEPT else BAD)
    time = f"{frame / FPS:.1f} s"
    if reason == KEPT:
        yaw, pitch, roll = seen.pose_deg[frame]
        label = f"{time}  {yaw:+.0f} {pitch:+.0f} {roll:+.0f}"
    else:
        label = f"{time}  {REASONS[reason]}"
    draw.text((4, TILE + 2), label, fill=INK if reason == KEPT else BAD)
    return tile

"""The tables as text, Markdown and one page: complete, legible, and nothing loaded from outside."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs the training extra")
pytest.importorskip("matplotlib", reason="needs the training extra")
pytest.importorskip("jinja2", reason="needs the training extra")

from daetalker.models.training.tables import table1
from daetalker.models.training.tables.page import html_page, markdown
from daetalker.models.training.tables.pictures import (
    Album,
    Clip,
    Strip,
    difference,
    jpeg_uri,
    mp4_uri,
)
from daetalker.models.training.tables.plots import jitter_plot, loss_plot, quality_plot
from daetalker.models.training.tables.sheets import as_markdown, as_text, cell, sheets


def _figures(**others: Any) -> dict[str, Any]:
    figures: dict[str, Any] = {m.key: 0.5 for m in table1.METRICS}
    figures |= {"lse_d": None, "lse_c": None, "frames": 150, "av_offset_confidence": 0.9}
    steady = {"jitter_levels": 0.01, "flicker_levels": 0.5, "pose_jerk_deg": 0.2}
    return figures | steady | others


def _pose(value: float | None) -> dict[str, Any]:
    return {"msd_deg2": value, "msd_sum_deg2": None if value is None else 3 * value}


def result() -> dict[str, Any]:
    """What an evaluation of two sets gives, in small."""
    rows = {name: _figures() for name in table1.LABELS}
    rows[table1.OTHER] |= {"av_offset_ms": 333.0, "av_offset_confidence": 0.1}
    lose = {m.key: True for m in table1.METRICS} | {"lse_d": None, "light_asd": False}
    one1 = {"truth": "ground truth", "rows": rows, "controls_lose": lose,
            "opening": {"truth": [0.1, None, 0.3], "student": [0.1, 0.2, 0.25]}}  # fmt: skip
    noise = {
        steps: {"shared_jitter_levels": 0.01, "fresh_jitter_levels": fresh, "jitter_ratio": 1.5,
                "shared_flicker_levels": 0.4, "fresh_flicker_levels": 0.6, "apart_levels": 0.2}
        for steps, fresh in (("1", 0.06), ("100", 0.015))
    }  # fmt: skip
    one2 = {
        "truth": "MediaPipe",
        "rows": [
            {"key": "reference", "label": "ours", "kind": "ours", "figures": _figures()},
            {"key": "without_augmentation", "label": "w/o pseudo-sentences", "kind": "",
             "figures": None, "reason": "not measured: no such <folder>"},
        ],
        "noise": noise,
        "explanation": "Less than the bar, because.",
    }  # fmt: skip
    scores = {"psnr_db": 34.0, "ssim": 0.95, "lpips": 0.02, "mouth_psnr_db": 30.0}
    kinds = (("baseline", None), ("teacher", 1), ("teacher", 100), ("student", 1))
    table3 = {
        "set": "test_a", "frames": 24, "student_gain_db": 0.4, "student_gain_lpips": 0.009,
        "rows": [{"label": k, "kind": k, "evaluations": e, **scores} for k, e in kinds],
    }  # fmt: skip
    keys = ("natural", "specified", "natural_against_prediction", "natural_against_truth", "floor")
    one4 = {key: _pose(0.8) for key in keys} | {"truth": "ground truth"}
    one4["specified_by_pose"] = {"straight": _pose(0.7), "left": _pose(None)}
    curves = {"reference": [[0, 1.0], [10, 0.2]], "no_pose": [[0, 1.0], [10, 0.6]]}
    gaps = {"steps": 10.0, "with_pose_adaptor": 0.2, "without": 0.6, "times_smaller": 3.0}
    base = {"avatar": "mira", "data": "test_a", "size": 256, "psnr_db": 35.4}
    return {
        **base,
        "sets": [base, base | {"data": "test_b", "psnr_db": 34.4}],
        "table1": {"sets": {"test_a": one1}, "decoder_steps": 100, "notes": ["No SyncNet."]},
        "table2": {"sets": {"test_a": one2}, "decoder_steps": 100},
        "table3": table3,
        "table4": {"sets": {"test_a": one4, "test_b": one4},
                   "figure6": {"curves": {"test_a": curves}, "gaps": {"test_a": gaps}}},
    }  # fmt: skip


def album() -> Album:
    grey = [np.full((32, 32, 3), level, np.uint8) for level in (50, 100, 150)]
    made = Album()
    made.add("table1", Strip("Frames", "a note", ["0 s", "1 s"], [("truth", grey[:2])]))
    made.add("table1", Clip("A clip", "left and right", grey, np.zeros(1920, np.float32)))
    made.add("table2", Strip("empty", "", [], []), Clip("empty", "", [], np.zeros(0, np.float32)))
    return made


def test_every_table_has_its_sheet_with_our_rows_and_the_papers() -> None:
    made = sheets(result())
    assert [s.table for s in made] == [
        "table1", "table2", "table2", "table3", "table4", "table4",
    ]  # fmt: skip
    for sheet in made:
        assert all(len(line.cells) == len(sheet.head) for line in sheet.lines), sheet.title
    text = "\n\n".join(map(as_text, made))
    for words in (
        "7.25 / 6.98 / 7.63",
        "33.70",
        "113.93 / 90.84 / 76.94",
        "The controls lose on LSE-C",
        "do NOT lose on Light-ASD.",
        "not measured: no such <folder>",
        "Less than the bar, because.",
        "+0.40 dB, LPIPS -0.0090",
        "0.80 (2.40)",
        "unclear",
    ):
        assert words in text, words


def test_columns_line_up_in_a_terminal_and_in_markdown() -> None:
    for sheet in sheets(result()):
        lines = as_text(sheet).splitlines()[1 : 2 + len(sheet.lines)]
        assert len({len(line) for line in lines}) == 1
        table = [line for line in as_markdown(sheet).splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in table}) == 1


def test_numbers_are_shown_with_sense() -> None:
    assert cell(None, 2) == "not measured"
    assert cell(1.234, 2) == "1.23"
    assert cell(0.0, 3) == "0.000"
    assert cell(0.000012, 3) == "1e-05", "small is not nothing"


def test_markdown_holds_all_tables_and_the_figures_of_every_set() -> None:
    text = markdown(result())
    for title in ("Table 1, lip-sync: test_a", "Table 2", "Table 3", "Table 4", "Figure 6",
                  "All figures: test_b"):  # fmt: skip
        assert f"### {title}" in text
    assert "34.4" in text


def test_the_page_stands_alone_and_shows_everything() -> None:
    page = html_page(json.loads(json.dumps(result())), album(), "Mira & <Co>")
    assert "Mira &amp; &lt;Co&gt;" in page
    assert "not measured: no such &lt;folder&gt;" in page
    outside = [u for u in re.findall(r'(?:src|href)="([^"]*)"', page)
               if not u.startswith(("data:", "#"))]  # fmt: skip
    assert outside == []
    assert "<script" not in page and "@import" not in page and "url(http" not in page
    assert page.count("<svg") == 4
    assert page.count('src="data:image/jpeg') == 2
    assert page.count('src="data:video/mp4') == 1
    assert "empty" not in page
    for section in ("table1", "table2", "table3", "table4", "figures"):
        assert f'id="{section}"' in page


def test_the_page_shows_as_much_as_was_measured() -> None:
    small = {k: v for k, v in result().items() if k in ("avatar", "data", "size", "table3")}
    page = html_page(small, Album(), "Mira")
    assert 'id="table3"' in page and 'id="table1"' not in page


def test_plots_need_something_to_draw() -> None:
    whole = result()
    assert quality_plot({"rows": []}) is None
    assert jitter_plot({"1": whole["table2"]["sets"]["test_a"]["noise"]["1"]}) is None
    assert loss_plot({}) is None
    drawn = quality_plot(whole["table3"])
    assert drawn is not None and drawn == quality_plot(whole["table3"]), "same numbers, same file"


def test_plots_have_numbers_on_their_axes() -> None:
    drawn = jitter_plot(result()["table2"]["sets"]["test_a"]["noise"])
    assert drawn is not None
    assert {"1", "100", "0.00", "0.06"} <= set(re.findall(r">([^<>]*)</text>", drawn))


def _decoded(uri: str) -> tuple[list[NDArray[np.uint8]], int]:
    content = base64.b64decode(uri.split(",", 1)[1])
    with av.open(io.BytesIO(content), "r") as movie:
        pictures = [
            f.to_ndarray(format="rgb24").astype(np.uint8, copy=False) for f in movie.decode(video=0)
        ]
    with av.open(io.BytesIO(content), "r") as movie:
        sounds = movie.decode(audio=0) if movie.streams.audio else []
        return pictures, sum([int(f.samples) for f in sounds])


def test_a_clip_has_its_pictures_and_its_sound() -> None:
    frames = [np.full((32, 64, 3), 20 * i, np.uint8) for i in range(10)]
    sound = np.sin(np.arange(6400) / 5).astype(np.float32)
    pictures, heard = _decoded(mp4_uri(frames, sound))
    assert len(pictures) == 10 and pictures[0].shape == (32, 64, 3)
    assert abs(int(pictures[5].mean()) - 100) < 6
    assert heard >= 6400


def test_pictures_and_differences() -> None:
    picture = np.full((16, 16, 3), 90, np.uint8)
    pictures, _ = _decoded(jpeg_uri(picture))
    assert abs(int(pictures[0].mean()) - 90) < 3
    assert difference(picture, picture, 20)[0, 0, 0] == 128
    assert difference(picture + 2, picture, 20)[0, 0, 0] == 168

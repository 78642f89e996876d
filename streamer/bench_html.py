"""A measurement as one self-contained page: verdicts, figures, small charts, no scripts."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from daetalker.streamer.bench_bars import bar_lines

__all__ = ["bench_page"]

STYLE = """
:root{--ink:#1d2430;--soft:#5b6675;--line:#d9dfe7;--paper:#fff;--tile:#f5f7fa;--mark:#2f6fde;
--good:#1d7f4e;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf2;--soft:#9aa6b5;--line:#323b48;--paper:#14181e;
--tile:#1c222b;--mark:#7aa8ff;--good:#5cc98f;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:2.5rem auto;max-width:62rem;padding:0 1.25rem;color:var(--ink);background:var(--paper);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .6rem}
.sub{color:var(--soft);margin:.2rem 0 1.5rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:.75rem}
.tile{background:var(--tile);border-radius:.6rem;padding:.8rem 1rem}
.tile b{display:block;font-size:1.5rem;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:.85rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--line);
vertical-align:top}
th{color:var(--soft);font-weight:500}
.ok{color:var(--good)}.bad{color:var(--bad);font-weight:600}
.wide{overflow-x:auto}svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font:11px system-ui,sans-serif}
"""

_TILES = (
    ("mouth_to_screen_ms", "p95", "ms", "mouth to screen, p95"),
    ("first_motion_ms", "p95", "ms", "first moving frame, p95"),
    ("fps", None, "", "frames a second"),
    ("freezes", "count", "", "freezes over 100 ms"),
    ("drift_ms", "p95", "ms", "picture against voice, drift p95"),
    ("cpu_cores", None, "", "cores used by the server"),
    ("rss_mb", None, "MB", "memory of the server"),
    ("sessions", None, "", "sessions served"),
)


def bench_page(figures: Mapping[str, Any]) -> str:
    """The page of what `bench live`, `soak` or `check` found."""
    live = figures.get("live") or figures.get("resident") or figures
    machine = live["machine"]
    about = [
        f"avatar {live['avatar']}",
        f"profile {live['profile']}",
        f"{live['seconds']:g} s of {live['audio']} speech",
        f"network {live['network']['name']} ({live['network']['by']})",
        f"{machine['cores']} cores of {machine['cpu']}",
    ]
    parts = [f"<h1>daetalker bench {_text(figures['bench'])}</h1>"]
    parts.append(f'<p class="sub">{_text(" · ".join(about))}</p>')
    if "bars" in figures:
        parts.append(_verdicts(figures["bars"]))
    parts.append(_tiles(live))
    if figures["bench"] == "sweep":
        parts.append(_sweep(figures["runs"]))
    else:
        parts.append(_parts(live["parts_ms"]))
        intervals = {
            edge.replace("<=", "≤"): count for edge, count in live["interval_histogram_ms"].items()
        }
        parts.append("<h2>Time between frames, ms</h2>" + _columns(intervals))
        if "overload" in live:
            parts.append(_overload(live["overload"]))
        for stage, steps in live["stage_histograms_s"].items():
            shown = {_ms(edge): count for edge, count in steps.items()}
            parts.append(f"<h2>Stage {_text(stage)}, ms</h2>" + _columns(shown))
        if len(live["clients"]) > 1:
            parts.append(_clients(live["clients"]))
    if "samples" in figures:
        parts.append(_samples(figures["samples"]))
    body = "\n".join(parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>daetalker bench</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def _verdicts(bars: Sequence[dict[str, Any]]) -> str:
    rows = []
    for bar, line in zip(bars, bar_lines(bars), strict=True):
        verdict, rest = line[:11].strip(), line[11:]
        kind = "ok" if bar["ok"] else "bad"
        rows.append(f'<tr><td class="{kind}">{_text(verdict)}</td><td>{_text(rest)}</td></tr>')
    return f"<h2>Bars</h2><table>{''.join(rows)}</table><h2>Figures</h2>"


def _tiles(live: Mapping[str, Any]) -> str:
    tiles = []
    for name, key, unit, label in _TILES:
        value = live.get(name)
        if isinstance(value, Mapping):
            value = value.get(key)
        if value is not None:
            shown = f"{value:g} {unit}".strip()
            tiles.append(f'<div class="tile"><b>{shown}</b><span>{label}</span></div>')
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _parts(parts_ms: Mapping[str, float | None]) -> str:
    """A bar of the parts of mouth to screen; a negative one, which is time saved, stands below."""
    known = {name: ms for name, ms in parts_ms.items() if ms is not None}
    total = sum(ms for ms in known.values() if ms > 0)
    if not total:
        return ""
    shapes, x = [], 0.0
    for i, (name, ms) in enumerate(known.items()):
        if ms <= 0:
            continue
        width = 900 * ms / total
        shade = 0.35 + 0.6 * (i % 3) / 2
        shapes.append(
            f'<rect x="{x:.1f}" width="{max(width - 2, 1):.1f}" height="30" rx="3" '
            f'fill="var(--mark)" opacity="{shade:.2f}"/>'
        )
        if width > 90:
            shapes.append(f'<text x="{x + 2:.1f}" y="45">{_text(name)} {ms:g}</text>')
        x += width
    rows = ", ".join(f"{_text(name)} {ms:g}" for name, ms in known.items())
    picture = f'<svg viewBox="0 0 900 52" role="img">{"".join(shapes)}</svg>'
    return f'<h2>Parts of mouth to screen, ms</h2>{picture}<p class="sub">{rows}</p>'


def _columns(counts: Mapping[str, int]) -> str:
    most = max(counts.values(), default=0)
    if not most:
        return '<p class="sub">nothing was measured</p>'
    step = 900 / len(counts)
    shapes = []
    for i, (edge, count) in enumerate(counts.items()):
        height = 110 * count / most
        x = i * step
        if count:
            shapes.append(
                f'<rect x="{x + 3:.1f}" y="{130 - max(height, 1.5):.1f}" width="{step - 6:.1f}" '
                f'height="{max(height, 1.5):.1f}" rx="2" fill="var(--mark)"/>'
                f'<text x="{x + step / 2:.1f}" y="{124 - height:.1f}" text-anchor="middle">'
                f"{count}</text>"
            )
        shapes.append(
            f'<text x="{x + step / 2:.1f}" y="146" text-anchor="middle">{_text(edge)}</text>'
        )
    return f'<svg viewBox="0 -4 900 154" role="img">{"".join(shapes)}</svg>'


def _overload(overload: Mapping[str, Any]) -> str:
    phases = ("before", "during", "after")
    keys = ("fps", "interval_ms_p50", "interval_ms_p95", "longest_gap_ms")
    rows = [[phase, *(f"{overload[phase][key]:g}" for key in keys)] for phase in phases]
    recovery = overload["recovery_s"]
    told = "not within the run" if recovery is None else f"{recovery:g} s after its end"
    table = _table(("", "frames a second", "interval p50, ms", "p95, ms", "longest, ms"), rows)
    count = overload["processes"]
    return f"<h2>Load of {count} processes; all frames again {told}</h2>{table}"


def _clients(clients: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            str(number + 1),
            f"{one['fps']:g}",
            _of(one["mouth_to_screen_ms"], "p95"),
            _of(one["drift_ms"], "p95"),
            str(one["freezes"]["count"]),
        ]
        for number, one in enumerate(clients)
    ]
    head = ("client", "frames a second", "mouth to screen p95, ms", "drift p95, ms", "freezes")
    return f"<h2>Clients</h2>{_table(head, rows)}"


def _sweep(runs: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            str(run["clients"]),
            "yes" if run["served"] else "no",
            f"{run['fps']:g}",
            _of(run["mouth_to_screen_ms"], "p95"),
            _of(run["drift_ms"], "p95"),
            "" if run["cpu_cores"] is None else f"{run['cpu_cores']:g}",
        ]
        for run in runs
    ]
    head = ("clients", "served", "frames a second", "mouth to screen p95, ms", "drift p95, ms",
            "cores")  # fmt: skip
    return f"<h2>Clients at the same time</h2>{_table(head, rows)}"


def _samples(rows: Sequence[Mapping[str, Any]]) -> str:
    named = {"rss_mb": "memory, MB", "threads": "threads", "files": "open files and sockets",
             "sessions": "sessions"}  # fmt: skip
    return "".join(
        f"<h2>{label}</h2>{_line([(row['at_s'], row[name]) for row in rows])}"
        for name, label in named.items()
    )


def _line(points: Sequence[tuple[float, float | None]]) -> str:
    known = [(x, y) for x, y in points if y is not None]
    if len(known) < 2:
        return '<p class="sub">not measured</p>'
    right, top = max(x for x, _ in known) or 1.0, max(y for _, y in known) or 1.0
    path = " ".join(f"{40 + 850 * x / right:.1f},{104 - 94 * y / top:.1f}" for x, y in known)
    return (
        f'<svg viewBox="0 0 900 124" role="img"><text x="0" y="14">{top:g}</text>'
        '<text x="0" y="108">0</text><line x1="40" x2="890" y1="104" y2="104" '
        'stroke="var(--line)"/>'
        f'<polyline points="{path}" fill="none" stroke="var(--mark)" stroke-width="1.6"/>'
        f'<text x="890" y="120" text-anchor="end">{right:.0f} s</text></svg>'
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{top}</tr>{lines}</table></div>'


def _of(figures: Mapping[str, Any], key: str) -> str:
    return "not measured" if figures[key] is None else f"{figures[key]:g}"


def _ms(edge: str) -> str:
    return ">" if edge == "+Inf" else f"≤{float(edge) * 1000:g}"


def _text(text: object) -> str:
    return html.escape(str(text))

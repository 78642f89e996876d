"""The command `daetalker`.

Exit codes: 0 all well; 1 the measurement or check itself found a fault; 2 a mistake of the user,
told in one sentence on standard error.  Commands import what they need, so that ``--help`` is fast.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from daetalker.models.bundle import BundleError
from daetalker.streamer.errors import StreamerError
from daetalker.streamer.options import ALL_TABLES, make_parser, settings_of

if TYPE_CHECKING:
    from daetalker.streamer.mark import Mark

OK, FAULT, MISTAKE = 0, 1, 2


class Mistake(StreamerError):
    """Options that do not go together, or a value out of range."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _no_core_dumps()
    if arguments[:1] == ["train"]:
        return _train(arguments[1:])
    if arguments[:1] == ["prepare"]:
        return _prepare(arguments[1:])
    try:
        added = _added(arguments)
        if added is not None:
            main_of, rest = added
            return main_of(rest)
        options = make_parser(arguments).parse_args(arguments)
        code = COMMANDS[options.command](options)
    except (StreamerError, BundleError) as error:
        text = str(error)
        print(f"daetalker: {text}", file=sys.stderr)
        return MISTAKE
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output left, as `head` does
        sys.stderr.close()
        return OK
    return code


def _no_core_dumps() -> None:
    """What the kernel writes of a crashed process holds the last seconds of everybody's voice."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def _added(arguments: list[str]) -> tuple[Callable[[list[str]], int], list[str]] | None:
    """A command that is not ours; the entry points are looked through only if it is not."""
    if not arguments or " ".join(arguments[:2]) in COMMANDS or arguments[0] in COMMANDS:
        return None
    from daetalker.streamer.extensions import find_command

    return find_command(arguments)


# --- the commands -------------------------------------------------------------------------------


def _serve(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    from daetalker.streamer.logs import configure_logging
    from daetalker.streamer.server import serve

    configure_logging(settings.log_level, settings.log_format, secrets=settings.secrets())
    asyncio.run(serve(settings, announce=lambda line: print(line, flush=True)))
    return OK


def _render(options: argparse.Namespace) -> int:
    from daetalker.models.bundle import find_avatar, load_bundle
    from daetalker.streamer.control import Control, Timeline
    from daetalker.streamer.credentials import find_credentials
    from daetalker.streamer.engine import Engine
    from daetalker.streamer.media import frame_count, to_model_rate
    from daetalker.streamer.offline import read_voice, stream_synthesise, synthesise, write_mp4
    from daetalker.streamer.preset_command import open_book
    from daetalker.streamer.profile import PROFILES
    from daetalker.streamer.provenance import Provenance
    from daetalker.streamer.timeline_file import read_timeline

    mark, credentials = _mark_of(options), None
    if options.c2pa == "auto":
        credentials = find_credentials(options.c2pa_cert, options.c2pa_key)
    if options.stream and options.steps is not None:
        raise Mistake("--stream shows what a live session shows, which has no --steps")
    bundle = load_bundle(find_avatar(options.avatar))
    control: Control | Timeline = Control()
    if options.preset is not None:
        control = Control.of(open_book(options.presets).find(bundle.manifest, options.preset))
    elif options.timeline is not None:
        control = read_timeline(options.timeline, open_book(options.presets), bundle.manifest)
    elif options.pose is not None:
        control = Control(pose=_pose_in_range(options.pose, bundle.manifest.pose_range_deg))
    voice = read_voice(options.speech)
    engine = Engine(bundle, threads=options.threads)
    profile = PROFILES[options.profile]
    count = frame_count(voice)
    if options.stream:
        frames = stream_synthesise(
            bundle, engine, voice, control=control, profile=profile, mark=mark
        )
    else:
        frames = synthesise(
            bundle,
            engine,
            to_model_rate(voice),
            control=control,
            profile=profile,
            steps=options.steps,
            frames=count,
            mark=mark,
        )
    about = Provenance(bundle.manifest.label)
    written = write_mp4(
        options.output,
        _with_progress(frames, count),
        voice,
        about=about,
        sign=None if credentials is None else partial(credentials.sign, about=about),
    )
    print(f"{options.output}: {written} frames, {written / bundle.manifest.fps:.2f} s")
    return OK


def _evaluate(options: argparse.Namespace) -> int:
    from daetalker.streamer.evaluation import Request, evaluate, tables_text

    tables = options.table
    if tables is None:  # a report without its tables would be a strange one
        tables = ALL_TABLES if options.html or options.markdown else frozenset()
    figures = evaluate(
        options.avatar,
        Request(
            data=options.data,
            weights=options.weights,
            cache=options.cache,
            tables=tables,
            references=options.references,
            ablations=options.ablations,
            syncnet=options.syncnet,
            seconds=options.seconds,
            decoder_seconds=options.decoder_seconds,
            html=options.html,
            markdown=options.markdown,
            profile=options.profile,
            threads=options.threads,
            quick=options.quick,
        ),
    )
    print(json.dumps(figures) if options.json else tables_text(figures))
    return OK


def _train(arguments: list[str]) -> int:
    try:
        from daetalker.models.training.cli import main as train
    except ImportError as error:
        print(
            f"daetalker: training needs its extra ({error.name} is not installed): "
            'pip install "daetalker[train]"',
            file=sys.stderr,
        )
        return MISTAKE
    code: int = train(arguments)
    return code


def _prepare(arguments: list[str]) -> int:
    try:
        from daetalker.models.training.prepare.cli import main as prepare
    except ImportError as error:
        print(
            f"daetalker: preparing a video needs the extra 'train' ({error.name} is not "
            'installed): pip install "daetalker[train]"',
            file=sys.stderr,
        )
        return MISTAKE
    code: int = prepare(arguments)
    return code


def _avatars(options: argparse.Namespace) -> int:
    from daetalker.streamer.avatars import avatars_command

    return OK if avatars_command(options) else FAULT


def _presets(options: argparse.Namespace) -> int:
    from daetalker.streamer.preset_command import presets_command

    presets_command(options)
    return OK


def _bench(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    from daetalker.streamer.bench_command import check_command, live_command, soak_command
    from daetalker.streamer.logs import configure_logging

    configure_logging("warning")
    measure = {
        "bench live": live_command, "bench soak": soak_command, "bench check": check_command
    }[options.command]  # fmt: skip
    return OK if measure(options, settings) else FAULT


def _link(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    from daetalker.streamer.link_command import link_command

    link_command(options, settings)
    return OK


def _doctor(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    from daetalker.streamer.doctor import as_json, examine

    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not options.json:
            print(f"{finding.status:8}{finding.name}: {finding.message}", flush=True)
            if finding.fix:
                print(f"{'':8}  -> {finding.fix}", flush=True)
    result = as_json(findings)
    if options.json:
        print(json.dumps(result))
    return OK if result["ok"] else FAULT


def _mark_of(options: argparse.Namespace) -> Mark:
    from daetalker.streamer.mark import Mark

    try:
        return Mark(options.mark, options.mark_corner)
    except ValueError as error:
        raise Mistake(f"--mark: {error}") from None


def _pose_in_range(
    pose: tuple[float, float, float], limits: dict[str, tuple[float, float]]
) -> tuple[float, float, float]:
    for (axis, (low, high)), angle in zip(limits.items(), pose, strict=True):
        if not low <= angle <= high:
            raise Mistake(
                f"--pose: {axis} {angle:g} is outside this avatar's {low:g} to {high:g} degrees"
            )
    return pose


def _with_progress(frames: Any, count: int) -> Any:
    """Pass frames on; say how far on a terminal."""
    talks = sys.stderr.isatty()
    for number, frame in enumerate(frames, start=1):
        yield frame
        if talks and (number % 25 == 0 or number == count):
            print(f"\r{number} of {count} frames", end="", file=sys.stderr, flush=True)
    if talks:
        print(file=sys.stderr)


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "serve": _serve,
    "render": _render,
    "evaluate": _evaluate,
    "avatars": _avatars,
    "presets": _presets,
    "bench live": _bench,
    "bench soak": _bench,
    "bench check": _bench,
    "link": _link,
    "doctor": _doctor,
}


if __name__ == "__main__":
    sys.exit(main())

"""The options of the command `daetalker`, and what ``--help`` says of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daetalker.streamer.bench_options import BENCH_SETTINGS, add_benches

if TYPE_CHECKING:
    from daetalker.streamer.settings import Settings

ALL_TABLES = frozenset({1, 2, 3, 4})
LINK_SETTINGS = ("token_hours", "public_url", "state_folder", "access_secret")


def make_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser for these arguments; what it parses has the command's name in ``command``."""
    from daetalker.streamer.extensions import command_names

    added = ", ".join(name.replace("-", " ") for name in command_names())
    parser = argparse.ArgumentParser(
        prog="daetalker",
        description="Talk, and a synthetic face says what you say, live.",
        epilog="`daetalker COMMAND --help` explains a command and its options.  "
        + (f"Added by plugins: {added}." if added else ""),
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    serve = commands.add_parser(
        "serve",
        help="start the server and print the page's address",
        description="Start the server and print the page's address.  Every option can also be "
        "set by an environment variable (DAETALKER_PORT for --port) or in a TOML file "
        "(port = 8080); options win over variables, and those over the file.",
    )
    serve.set_defaults(command="serve")

    render = commands.add_parser("render", help="make a video file from a speech file")
    render.set_defaults(command="render")
    render.add_argument("speech", type=Path, help="speech in any file format FFmpeg reads")
    render.add_argument(
        "-o", "--output", type=Path, default=Path("out.mp4"), help="MP4 file to write (out.mp4)"
    )
    _add_avatar(render)
    pose = render.add_mutually_exclusive_group()
    pose.add_argument("--preset", help="take one of the avatar's named poses, or of your own")
    pose.add_argument(
        "--pose",
        type=_angles,
        metavar="YAW,PITCH,ROLL",
        help="hold this pose, in degrees; write --pose=-10,0,0 if it starts with a minus",
    )
    pose.add_argument(
        "--timeline",
        type=Path,
        metavar="FILE",
        help="change presets on the way: a text file of lines such as '2.5, left' or "
        "'1:30, natural' (docs/presets.md)",
    )
    _add_presets(render)
    render.add_argument(
        "--steps",
        type=_positive,
        help="decode with the diffusion teacher in so many DDIM steps (slow); left out: the "
        "one-step student that the live session uses",
    )
    render.add_argument(
        "--stream",
        action="store_true",
        help="pass the speech through the live session on a simulated clock; same frames",
    )
    render.add_argument(
        "--mark",
        default="AI",
        metavar="TEXT",
        help="text drawn small into every picture, so that whoever sees it knows that it is "
        "synthetic; '' draws none (AI)",
    )
    render.add_argument(
        "--mark-corner",
        choices=("top-left", "top-right", "bottom-left", "bottom-right"),
        default="bottom-right",
        help="where it is drawn (bottom-right)",
    )
    render.add_argument(
        "--c2pa",
        choices=("auto", "off"),
        default="auto",
        help="auto signs content credentials into the file if the extra 'c2pa' is installed (auto)",
    )
    for flag, text in (
        ("--c2pa-cert", "PEM certificate to sign with; left out: one made on this computer"),
        ("--c2pa-key", "PEM private key of that certificate"),
    ):
        render.add_argument(flag, type=Path, metavar="FILE", help=text)
    _add_profile_and_threads(render)

    # Listed here only: the training extra reads its own options.
    commands.add_parser(
        "prepare", help="make training data of videos of a person (needs the extra 'train')"
    )
    commands.add_parser("train", help="train an avatar (needs the extra 'train')")

    evaluate = commands.add_parser(
        "evaluate", help="measure an avatar on held-out data (needs the extra 'train')"
    )
    evaluate.set_defaults(command="evaluate")
    evaluate.add_argument("avatar", help="avatar's name, or the folder of a bundle")
    _add_evaluation(evaluate)
    _add_profile_and_threads(evaluate)

    avatars = commands.add_parser("avatars", help="list, show, verify, import or export avatars")
    avatars.set_defaults(command="avatars")
    _add_avatar_actions(avatars)

    presets = commands.add_parser("presets", help="list head poses, or check the file of yours")
    presets.set_defaults(command="presets")
    actions = presets.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="an avatar's presets and your own")
    listing.add_argument("--json", action="store_true", help="print one JSON list")
    checking = actions.add_parser("check", help="is the file right, and can the avatar show it?")
    for action in (listing, checking):
        _add_avatar(action)
        _add_presets(action)

    bench = commands.add_parser("bench", help="measure speed and delay")
    benches = bench.add_subparsers(metavar="WHAT", required=True)
    add_benches(benches)

    link = _add_link(commands)
    doctor = commands.add_parser("doctor", help="check this machine and say what to fix")
    doctor.set_defaults(command="doctor")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")

    # Building flags from the settings imports pydantic: only for the command that needs them.
    wanted = arguments[:1]
    if wanted == ["serve"]:
        _add_settings(serve, None)
    elif wanted == ["bench"]:
        for one in benches.choices.values():
            _add_settings(one, BENCH_SETTINGS)
    elif wanted == ["link"]:
        _add_settings(link, LINK_SETTINGS)
    elif wanted == ["doctor"]:
        _add_settings(doctor, None)
    return parser


def _add_evaluation(evaluate: argparse.ArgumentParser) -> None:
    def file(flag: str, metavar: str, text: str) -> None:
        evaluate.add_argument(flag, type=Path, metavar=metavar, help=text)

    evaluate.add_argument(
        "--data",
        type=Path,
        required=True,
        nargs="+",
        metavar="DATA",
        help="held-out sets (folders with video.mp4, audio.wav and truth.npz), or datasets, whose "
        "folders test* are taken",
    )
    evaluate.add_argument(
        "--table",
        type=_tables,
        metavar="1|2|3|4|all",
        help="measure these tables of the paper too: 1 lip-sync, 2 ablations, 3 reconstruction, "
        "4 head pose; several with commas (none; all for --html and --markdown)",
    )
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    file("--html", "FILE", "write one self-contained page with tables, curves, pictures and clips")
    file("--markdown", "FILE", "write the tables as Markdown")
    evaluate.add_argument("--quick", action="store_true", help="fewer frames: a first impression")
    evaluate.add_argument(
        "--seconds",
        type=_seconds_from(2),
        help="seconds of each set's speech in the rows of tables 1 and 2 (60)",
    )
    evaluate.add_argument(
        "--decoder-seconds",
        type=_seconds_from(2),
        help="seconds of it that the paper's decoder draws, which takes a hundred evaluations a "
        "frame (6)",
    )
    file(
        "--references",
        "TRAINSET",
        "training set of table 3's landmark baseline (the folder train beside the first set)",
    )
    file(
        "--ablations",
        "DIR",
        "folder RUN/ablations of `daetalker train --stage ablations`, for table 2 and figure 6",
    )
    file("--syncnet", "FILE", "public SyncNet v2 weights; without them no LSE-D and LSE-C")
    file(
        "--weights",
        "DIR",
        "folder with the measuring networks ($DAETALKER_WEIGHTS or ~/.cache/daetalker/weights; "
        "what is missing is fetched)",
    )
    evaluate.add_argument(
        "--cache",
        type=Path,
        default=Path(".cache/evaluate"),
        help="folder for decoded frames (.cache/evaluate)",
    )


def _add_link(commands: Any) -> argparse.ArgumentParser:
    link: argparse.ArgumentParser = commands.add_parser(
        "link",
        help="print a link that lets one more person in",
        description="Print a link that opens the page of this user's server once, in one "
        "browser; or a token for a program.  Needs no running server.",
    )
    link.set_defaults(command="link")
    link.add_argument(
        "--hours",
        type=_hours,
        help="hours for which it may be opened (token_hours, which is 12); a program's token ends "
        "then",
    )
    what = link.add_mutually_exclusive_group()
    what.add_argument("--watch", metavar="ID", help="only to see and hear the session of that id")
    what.add_argument(
        "--operator",
        action="store_true",
        help="to do everything: change presets, watch and steer every session",
    )
    what.add_argument(
        "--metrics", action="store_true", help="a program's token for /metrics and nothing else"
    )
    link.add_argument(
        "--program",
        action="store_true",
        help="a token for programs (Authorization: Bearer ...) in the place of a link",
    )
    link.add_argument(
        "--url", help="address of the page, if it is another than the server printed at its start"
    )
    return link


def _tables(text: str) -> frozenset[int]:
    if text == "all":
        return ALL_TABLES
    parts = text.split(",")
    if not all(part in {"1", "2", "3", "4"} for part in parts):
        raise argparse.ArgumentTypeError(f"'{text}' must be 1, 2, 3, 4 or all")
    return frozenset(map(int, parts))


def _add_avatar_actions(avatars: argparse.ArgumentParser) -> None:
    actions = avatars.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the embedded and the imported avatars")
    listing.add_argument("--json", action="store_true", help="print one JSON list")
    named = {
        "show": "size, poses, figures, consent and licences of an avatar",
        "verify": "check an avatar's files against their checksums, and that its networks fit",
        "export": "write an avatar into one ZIP file to hand on",
    }
    parsers = {name: actions.add_parser(name, help=text) for name, text in named.items()}
    for parser in parsers.values():
        parser.add_argument("name", help="avatar's name, or the folder of a bundle")
    parsers["show"].add_argument("--json", action="store_true", help="print one JSON object")
    parsers["export"].add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path(),
        metavar="FILE.zip",
        help="file to write, or a folder for NAME.zip (this folder)",
    )
    parsers["export"].add_argument(
        "--replace", action="store_true", help="replace a file that is there"
    )
    taking = actions.add_parser(
        "import",
        help="take over an avatar from a ZIP file or a folder",
        description="Check a bundle and copy it into $DAETALKER_AVATARS, or else "
        "~/.local/share/daetalker/avatars, so that it can be used by its name.",
    )
    taking.add_argument("source", type=Path, help="ZIP file, or the folder of a bundle")
    taking.add_argument(
        "--replace", action="store_true", help="replace an imported avatar of the same name"
    )


def _add_avatar(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--avatar", default="mira", help="avatar's name, or the folder of a bundle (mira)"
    )


def _add_presets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--presets",
        type=Path,
        metavar="FILE",
        help="TOML file of your own presets (daetalker/presets.toml in $XDG_CONFIG_HOME or "
        "~/.config)",
    )


def _add_profile_and_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--profile",
        choices=("default", "low_latency"),
        default="default",
        help="how speech is cut into windows (default)",
    )
    parser.add_argument(
        "--threads", type=_positive, default=2, help="processor threads a network may use (2)"
    )


def _add_settings(parser: argparse.ArgumentParser, names: Sequence[str] | None) -> None:
    """A flag for each setting; values stay text, so that the settings do all the checking."""
    from daetalker.streamer.settings import Settings

    parser.add_argument("--config", type=Path, help="TOML file with settings (daetalker.toml)")
    for name, field in Settings.model_fields.items():
        if name == "plugin" or (names is not None and name not in names):
            continue  # tables are for the file
        default = field.default
        shown = "" if default in (None, ()) or not str(default) else f" ({default})"
        text = (field.description or "") + shown
        parser.add_argument(
            "--" + name.replace("_", "-"),
            dest=f"setting_{name}",
            metavar=name.upper(),
            help=text.replace("%", "%%"),
        )


def _angles(text: str) -> tuple[float, float, float]:
    try:
        yaw, pitch, roll = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"'{text}' must be three numbers in degrees, such as 10,0,-5"
        ) from None
    return yaw, pitch, roll


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' must be a whole number of 1 or more")
    return int(text)


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 600:
        raise argparse.ArgumentTypeError(f"'{text}' must be 0 to 600 seconds")
    return value


def _hours(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 24 * 366:
        raise argparse.ArgumentTypeError(f"'{text}' must be hours, more than 0 and at most 8784")
    return value


def _seconds_from(least: int) -> Callable[[str], float]:
    def seconds(text: str) -> float:
        value = _not_negative(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"'{text}' must be {least} to 600 seconds")
        return value

    return seconds


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings that the options of ``serve``, ``bench`` or ``doctor`` ask for.

    Raises:
        SettingsError: one sentence naming the setting and what is wrong with it.
    """
    from daetalker.streamer.settings import load_settings

    flags: dict[str, Any] = {
        name.removeprefix("setting_"): value
        for name, value in vars(options).items()
        if name.startswith("setting_") and value is not None
    }
    return load_settings(flags, options.config)

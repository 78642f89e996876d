"""Targets: SDP and ICE candidates as we hand them to aiortc, presets, timelines."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from daetalker.models.bundle import find_avatar, read_manifest
from daetalker.models.manifest import Preset
from daetalker.streamer import preset_file
from daetalker.streamer.peer import check_offer, parse_candidate
from daetalker.streamer.presets import PresetBook
from daetalker.streamer.protocol import Candidate, ProtocolError
from daetalker.streamer.timeline_file import TimelineError, parse_timeline
from tests.fuzz.messages import refused
from tests.fuzz.target import Target, damaged, texts

OFFER = "\r\n".join(
    """v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS stream
m=audio 9 UDP/TLS/RTP/SAVPF 111 0
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2122260223 192.168.1.7 56143 typ host generation 0 network-id 1
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=ice-options:trickle
a=fingerprint:sha-256 D2:FA:0E:C3:22:59:5E:14:95:69:92:3D:13:B4:84:24:2C:C2:A2:C0:3E:FD:34:8E:5E:EA:6F:AF:52:CE:E6:0F
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendrecv
a=msid:stream audio
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:0 PCMU/8000
a=ssrc:1905690388 cname:NXrTjtPClPMbpSNq
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=fingerprint:sha-256 D2:FA:0E:C3:22:59:5E:14:95:69:92:3D:13:B4:84:24:2C:C2:A2:C0:3E:FD:34:8E:5E:EA:6F:AF:52:CE:E6:0F
a=setup:actpass
a=mid:1
a=recvonly
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=ssrc-group:FID 3570614608 2231627014
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=fingerprint:sha-256 D2:FA:0E:C3:22:59:5E:14:95:69:92:3D:13:B4:84:24:2C:C2:A2:C0:3E:FD:34:8E:5E:EA:6F:AF:52:CE:E6:0F
a=setup:actpass
a=sctp-port:5000
a=max-message-size:262144
a=mid:2
""".splitlines()
)
LINES = OFFER.split("\r\n")


@st.composite
def offers(draw: st.DrawFn) -> str:
    """The lines of an offer in another order, some twice, some with other values."""
    lines = list(LINES)
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(lines)))
        match draw(st.integers(0, 4)):
            case 0:
                lines[at : at + draw(st.integers(1, 8))] = []
            case 1:
                lines.insert(at, draw(st.sampled_from(LINES)))
            case 2:
                head = draw(st.sampled_from(["a=", "m=", "c=", "a=rtpmap:", "a=candidate:", "b="]))
                lines.insert(at, head + draw(texts))
            case 3 if lines:
                line = lines[at % len(lines)]
                cut = draw(st.integers(0, len(line)))
                lines[at % len(lines)] = line[:cut] + draw(texts)
            case _:
                lines += lines[at:] * draw(st.integers(0, 3))
    return draw(st.sampled_from(["\r\n", "\n"])).join(lines)


def offer(sdp: str) -> None:
    """Usable or refused."""
    for needs_audio in (True, False):
        try:
            check_offer(sdp, needs_audio)
        except ProtocolError as error:
            refused(error)


CANDIDATES = (
    "candidate:1 1 udp 2122260223 192.168.1.7 56143 typ host generation 0 ufrag EsAw",
    "candidate:2 1 tcp 1518214911 ::1 9 typ host tcptype active",
    "candidate:842163049 1 udp 1677729535 203.0.113.9 46154 typ srflx raddr 0.0.0.0 rport 0",
    "candidate:3 1 udp 41819902 7f0f1c2e-1111-4222-8333-944455566677.local 59243 typ host",
)
_words = st.sampled_from(sorted({word for line in CANDIDATES for word in line.split()})) | texts
candidates = (
    st.lists(_words, max_size=14).map(" ".join)
    | damaged([line.encode() for line in CANDIDATES]).map(lambda d: d.decode(errors="replace"))
    | texts
)


def candidate(text: str) -> None:
    """A candidate, the end of them, or a refusal."""
    message = Candidate.model_construct(candidate=text[:1024], sdpMid="0", sdpMLineIndex=0)
    try:
        parsed = parse_candidate(message)
    except ProtocolError as error:
        return refused(error)
    assert parsed is None or parsed.sdpMid == "0"


PRESETS = (
    b'# mine\n[presets.left]\nlabel = "Left"\nyaw = 20.5 # far\nease_s = 1\n\n[presets.gone]\nhidden = true\n',
    b'presets = { a = { yaw = 1 }, "b" = { pitch = -2, avatar = "mira" } }\n',
    b"presets.a.yaw = 1\npresets.a.pitch = 2\n[presets . 'x-y']\r\nhold_s=3\n",
    b"[presets]\n[presets.up]\npitch=1e1\nroll=0x1F\nnatural=+inf\n",
)
_manifest = read_manifest(find_avatar("mira"))


def presets(case: tuple[str, Preset]) -> None:
    """The file is read or refused, and edits of it either hold or leave it as it is."""
    text, preset = case
    try:
        before = preset_file.parse(text)
        for entry in before.values():
            if entry.preset is not None:
                preset_file.pose_problem(entry.preset, _manifest)
        after = preset_file.parse(preset_file.with_preset(text, preset))
        assert after[preset.name].preset is not None
        assert {k: v for k, v in after.items() if k != preset.name} == {
            k: v for k, v in before.items() if k != preset.name
        }
        for name in before:
            assert name not in preset_file.parse(preset_file.without(text, name))
    except preset_file.PresetError as error:
        assert str(error)


_a_preset = st.builds(
    Preset,
    name=st.sampled_from(["left", "a", "x-y", "new", "natural"]),
    label=texts,
    yaw=st.floats(-100, 100) | st.just(float("nan")),
    pitch=st.floats(-10, 10),
    roll=st.just(0.0),
)

TIMELINES = (b"0, straight\n2.5, left # soon\n1:02, natural\n1:05, mute\n1:06.5,unmute\n",)
# No such file: the avatar's own presets and no others.
_book = PresetBook(Path("/nonexistent/presets.toml"))


def timeline(text: str) -> None:
    """Read or refused, naming the line."""
    try:
        parse_timeline(text, _book, _manifest)
    except TimelineError as error:
        assert str(error).startswith("line ")


_unsure = Preset("left", "Left", 1.0, 0.0, 0.0)
TARGETS = (
    Target(
        "sdp",
        offers() | damaged([OFFER.encode()]).map(lambda d: d.decode(errors="replace")) | texts,
        offer,
        0.5,
        (OFFER.encode(),),
        lambda data: data.decode(errors="replace"),
    ),
    Target(
        "candidate",
        candidates,
        candidate,
        3.0,
        tuple(line.encode() for line in CANDIDATES),
        lambda data: data.decode(errors="replace"),
    ),
    Target(
        "presets",
        st.tuples(
            damaged(list(PRESETS)).map(lambda d: d.decode(errors="replace")) | texts, _a_preset
        ),
        presets,
        0.3,
        PRESETS,
        lambda data: (data.decode(errors="replace"), _unsure),
    ),
    Target(
        "timeline",
        damaged(list(TIMELINES)).map(lambda d: d.decode(errors="replace")) | texts,
        timeline,
        1.5,
        TIMELINES,
        lambda data: data.decode(errors="replace"),
    ),
)

"""A stand-in for the server that speaks docs/protocol.md, to look at the page and to test it.

It needs no avatar: a drawn face opens its mouth as loud as the microphone is.  Run it and open the
address it prints::

    PYTHONPATH=.dev:. python tests/web/mock_server.py --port 8090

``POST /mock/NAME`` changes how the next conversations go (``SCENARIOS``, ``SWITCHES``), or does
something to the present ones: ``drop`` and the ``GOODBYES`` end them, ``deaf`` leaves them without
any answer, ``freeze`` without pictures until ``thaw``, and ``LOADS`` are told to them.  ``--mouth
still`` and ``--mouth restless`` are avatars with a fault that the end-to-end test must find.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import socket
from collections.abc import AsyncIterator
from typing import Any

import av
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from daetalker.streamer.page import SECURITY_HEADERS, load_page
from tests.web.mock_conversation import (
    GOODBYES,
    LOADS,
    MOUTHS,
    SCENARIOS,
    SWITCHES,
    Conversation,
    Mock,
)
from tests.web.mock_face import SIZE, draw_face
from tests.web.mock_plugins import PLUGIN_SCRIPTS


def create_app(mock: Mock) -> Starlette:
    page = load_page()
    page["/stage"] = page["/stage.html"]
    preview = _png(draw_face(0.0))

    async def file(request: Request) -> Response:
        found = page.get(request.url.path)
        if found is None:
            return Response("Nothing here.", 404, headers=SECURITY_HEADERS)
        return Response(found.body, media_type=found.media_type, headers=SECURITY_HEADERS)

    async def avatars(_: Request) -> Response:
        return JSONResponse([mock.avatar()])

    async def picture(_: Request) -> Response:
        return Response(preview, media_type="image/png")

    async def plugin_script(request: Request) -> Response:
        script = PLUGIN_SCRIPTS[request.path_params["name"]]
        return Response(script, media_type="text/javascript", headers=SECURITY_HEADERS)

    async def greet(request: Request) -> Response:
        session = (await request.json())["session"]
        return JSONResponse({"text": f"Hello, {session}."})

    async def control(request: Request) -> Response:
        name = request.path_params["name"]
        if name in SCENARIOS:
            mock.scenario = name
        elif name in MOUTHS:
            mock.mouth = name
        elif name in SWITCHES:
            mock.switch(name)
            await mock.tell_presets()
        elif name in LOADS:
            mock.load = name.removeprefix("load_")
        elif name == "freeze":
            mock.frozen.set()
        elif name == "thaw":
            mock.frozen.clear()
        elif name in ("drop", "deaf", *GOODBYES):
            await mock.do_to_all(name)
        elif name != "count":
            return Response("No such scenario.\n", 404)
        interrupted = sum(session.interrupted for session in mock.sessions.values())
        return JSONResponse({"conversations": len(mock.conversations), "interrupted": interrupted})

    async def websocket(ws: WebSocket) -> None:
        if mock.scenario == "refuse":
            await ws.close()
            return
        if mock.scenario == "too_many":
            await ws.accept()
            await ws.close(4429)
            return
        await Conversation(mock, ws).run()

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield

    return Starlette(
        routes=[
            WebSocketRoute("/ws", websocket),
            Route("/api/avatars", avatars),
            Route("/avatar/{name}/preview.png", picture),
            Route("/plugins/{name}/page.js", plugin_script),
            Route("/plugins/hello/greet", greet, methods=["POST"]),
            Route("/mock/{name}", control, methods=["POST"]),
            Route("/{path:path}", file),
        ],
        lifespan=lifespan,
    )


def _png(rgb: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="image2pipe") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "rgb24"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return target.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    parser.add_argument("--mouth", choices=MOUTHS, default="follows")
    options = parser.parse_args()
    sock = socket.create_server((options.host, options.port))
    print(f"http://{options.host}:{sock.getsockname()[1]}/", flush=True)
    config = uvicorn.Config(create_app(Mock(options.mouth)), log_level="warning", lifespan="on")
    uvicorn.Server(config).run(sockets=[sock])


if __name__ == "__main__":
    main()

"""The LiveKit plugin: agents elsewhere ask this server for a face in their room."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from daetalker.plugins.livekit.errors import LiveKitError
from daetalker.streamer import protocol as p
from daetalker.streamer.plugin import Finding, Host, MissingExtra, Plugin, PluginSettings

if TYPE_CHECKING:
    from daetalker.plugins.livekit.worker import Worker

__all__ = ["LiveKitPlugin", "LiveKitSettings"]

_LEAVE_S = 1.5


class LiveKitSettings(PluginSettings):
    """Settings of the LiveKit plugin."""

    rooms: Annotated[int, Field(ge=1, le=8)] = 4
    """Rooms at once; each takes one of the server's places too."""


class Join(BaseModel):
    """Body of ``POST /plugins/livekit/join``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    livekit_url: Annotated[str, Field(pattern=r"^(ws|http)s?://", max_length=1024)]
    livekit_token: Annotated[str, Field(min_length=1, max_length=16_384)]
    avatar: Annotated[str, Field(max_length=256)] | None = None
    preset: Annotated[str, Field(max_length=256)] | None = None


class LiveKitPlugin(Plugin):
    """Joins rooms on request, and leaves them with their agents."""

    name: ClassVar[str] = "livekit"
    Settings = LiveKitSettings

    def __init__(self, host: Host, settings: LiveKitSettings) -> None:
        super().__init__(host, settings)
        self._workers: set[Worker] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._joining = 0

    async def start(self) -> None:
        # Seconds of importing, native libraries among it: not on the loop that must answer.
        await asyncio.to_thread(_import_all)

    def routes(self) -> Sequence[BaseRoute]:
        return (
            Route("/join", self._serve_join, methods=["POST"]),
            Route("/rooms", self._serve_rooms, methods=["GET"]),
            Route("/rooms/{room}", self._serve_leave, methods=["DELETE"]),
        )

    async def stop(self) -> None:
        for worker in self._workers:
            worker.leave("the server is stopping")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_LEAVE_S)

    @classmethod
    def examine(cls, settings: LiveKitSettings) -> Iterable[Finding]:
        try:
            versions = [f"{n} {metadata.version(n)}" for n in ("livekit", "livekit-agents")]
            _import_all()
        except metadata.PackageNotFoundError as error:
            missing = MissingExtra("livekit", str(error.name))
            yield Finding("livekit", "error", f"{error.name} is not installed", _fix(missing))
        except (ImportError, LiveKitError) as error:
            yield Finding(
                "livekit", "error", str(error), 'pip install --upgrade "daetalker[livekit]"'
            )
        else:
            yield Finding("livekit", "ok", ", ".join(versions) + "; AvatarRunner as expected")

    async def _serve_join(self, request: Request) -> Response:
        if not request.scope["operator"]:
            return _refuse(403, p.ProtocolError("not_allowed", _OPERATORS_ONLY))
        try:
            wanted = Join.model_validate_json(await request.body())
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            text = f"{where}: {first['msg'].lower()}." if where else "The body is not this JSON."
            return _refuse(400, p.ProtocolError("bad_message", text))
        try:
            return JSONResponse(await self._join(wanted), 201)
        except p.ProtocolError as error:
            return _refuse(503 if error.code == "server_full" else 404, error)
        except LiveKitError as error:
            text = str(error)
            return _answer(502, "bad_room", text[0].upper() + text[1:] + ".")

    async def _join(self, wanted: Join) -> dict[str, str]:
        from daetalker.plugins.livekit.worker import Worker

        if len(self._workers) + self._joining >= self.settings.rooms:
            raise p.ProtocolError(
                "server_full", "All rooms are taken; see the plugin's setting 'rooms'."
            )
        self._joining += 1
        try:
            session = await self.host.open_session(wanted.avatar)
            worker = Worker(session)
            try:
                if wanted.preset is not None:
                    await session.command(p.SelectPreset(name=wanted.preset))
                await worker.join(wanted.livekit_url, wanted.livekit_token)
                if worker.agent and worker.agent in (other.agent for other in self._workers):
                    raise LiveKitError(f"the agent {worker.agent} has a face from here already")
            except BaseException:
                await worker.disconnect()
                await session.close()
                raise
        finally:
            self._joining -= 1
        self._workers.add(worker)
        task = asyncio.create_task(self._serve(worker), name=f"livekit {worker.room_name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return {
            "session": session.id,
            "watch": f"/stage?session={session.id}",
            "room": worker.room_name,
            "identity": worker.identity,
        }

    async def _serve(self, worker: Worker) -> None:
        room, session = worker.room_name, worker.session
        self.host.log.info("session %s: the face of an agent in room %s", session.id, room)
        try:
            reason = await worker.run()
            self.host.log.info("session %s: left room %s: %s", session.id, room, reason)
        except Exception:  # a fault in one room does not concern the others
            self.host.log.exception("session %s: room %s failed", session.id, room)
        finally:
            self._workers.discard(worker)
            await session.close()

    async def _serve_rooms(self, request: Request) -> Response:
        if not request.scope["operator"]:
            return _refuse(403, p.ProtocolError("not_allowed", _OPERATORS_ONLY))
        return JSONResponse(
            [
                {"room": w.room_name, "session": w.session.id, "agent": w.agent}
                for w in self._workers
            ]
        )

    async def _serve_leave(self, request: Request) -> Response:
        if not request.scope["operator"]:
            return _refuse(403, p.ProtocolError("not_allowed", _OPERATORS_ONLY))
        name = request.path_params["room"]
        workers = [worker for worker in self._workers if worker.room_name == name]
        if not workers:
            return _answer(404, "unknown_room", f"There is no face in a room '{name}'.")
        for worker in workers:
            worker.leave("asked to")
        return Response(status_code=204)


_OPERATORS_ONLY = (
    "Only operators may do this: come from this machine to a server on localhost, or send the "
    "server's control_token."
)


def _refuse(status: int, error: p.ProtocolError) -> Response:
    return _answer(status, error.code, error.message)


def _answer(status: int, code: str, message: str) -> Response:
    return JSONResponse({"code": code, "message": message}, status)


def _fix(missing: MissingExtra) -> str:
    return str(missing).partition(": ")[2]


def _import_all() -> None:
    """Import what needs the LiveKit packages, and see that they are as expected.

    Raises:
        MissingExtra: if they are not installed.
        LiveKitError: if they have changed too much.
    """
    try:
        import_module("livekit.agents")
    except ModuleNotFoundError:
        raise MissingExtra("livekit", "livekit-agents") from None
    runner = import_module("daetalker.plugins.livekit.runner")
    import_module("daetalker.plugins.livekit.worker")
    runner.check()

"""A plugin for daetalker: whoever says nothing for a while looks aside, as people do who think."""

import contextlib

from daetalker.streamer.plugin import LiveSession, Plugin, PluginSettings


class GlanceSettings(PluginSettings):
    """The table [plugin.glance] of daetalker.toml, or DAETALKER_GLANCE_QUIET_S and so on."""

    quiet_s: float = 3.0
    yaw: float = 8.0


class Glance(Plugin):
    """Looks aside when there is nothing to say."""

    name = "glance"
    Settings = GlanceSettings

    async def session(self, session: LiveSession) -> None:
        """Runs once for each session, beside it, and ends with it."""
        quiet_s, looks_aside = 0.0, False
        async with contextlib.aclosing(session.moments()) as moments:
            async for moment in moments:  # 25 a second: picture, voice, pose
                quiet_s = 0.0 if moment.speaking else quiet_s + 0.04
                if looks_aside != (quiet_s > self.settings.quiet_s):
                    looks_aside = not looks_aside
                    self.host.log.info("%s", "hm..." if looks_aside else "ah!")
                    await session.command(
                        {"type": "pose", "yaw": self.settings.yaw, "pitch": 4.0, "roll": 0.0}
                        if looks_aside
                        else {"type": "natural"}
                    )

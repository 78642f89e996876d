"""A socket for voice agents: PCM in, a speaking face out."""

from daetalker.plugins.agent.plugin import AgentPlugin

__all__ = ["AgentPlugin"]

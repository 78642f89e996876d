"""MQTT: state of the sessions to a broker, commands from it; docs/mqtt.md.

Needs the extra ``mqtt`` (aiomqtt), imported when the plugin starts.
"""

from daetalker.plugins.mqtt.plugin import MqttPlugin
from daetalker.plugins.mqtt.settings import MqttSettings

__all__ = ["MqttPlugin", "MqttSettings"]

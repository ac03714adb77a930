"""Messages to an MQTT broker: results, events and a retained status under one topic."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge_runtime.errors import DependencyError
from edge_runtime.sinks.messages.address import parse_broker, without_credentials
from edge_runtime.sinks.messages.message import Messenger, encode, event_messages

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_runtime.result import Result
    from edge_runtime.sinks.messages.address import BrokerAddress
    from edge_runtime.sinks.messages.mqtt_link import BrokerLink
    from edge_runtime.sinks.spec import SinkContext, SinkSpec

PORTS = {"mqtt": 1883, "mqtts": 8883}
USER, PASSWORD, CA_FILE = "HYPERSEG_MQTT_USER", "HYPERSEG_MQTT_PASSWORD", "HYPERSEG_MQTT_CA"
"""Environment variables, for what should not stand in a command line."""


class MqttSink:
    """Publishes ``TOPIC/results`` (QoS 0), ``TOPIC/events`` (QoS 1) and ``TOPIC/status``.

    A broker that is absent, dies or refuses us costs the results of that time, which are counted
    as undelivered, and nothing else. It subscribes to nothing, so nothing can be sent to it.

    Args:
        label: as the user named the sink, without credentials.
        address: the broker and the topic.
        link: makes the connection, not yet started.
        messenger: makes the messages.
        say: takes a line in words.
    """

    def __init__(
        self,
        label: str,
        address: BrokerAddress,
        link: Callable[[], BrokerLink],
        messenger: Messenger,
        say: Callable[[str], None],
    ) -> None:
        self.label = label
        self.undelivered = 0
        self._topic = address.topic
        self._make_link = link
        self._link: BrokerLink | None = None
        self._messenger = messenger
        self._say = say

    def open(self) -> None:
        """Begin to connect, without waiting for the broker.

        Raises:
            SinkError: the trusted certificates cannot be read.
        """
        self._link = self._make_link()
        self._link.start()

    def consume(self, result: Result) -> None:
        """Hand one message to the connection, or count it as undelivered."""
        assert self._link is not None
        message = self._messenger.message(result)
        for event in event_messages(message):
            self._link.publish_event(f"{self._topic}/events", encode(event))
        self._link.publish_result(f"{self._topic}/results", encode(message))
        self.undelivered = self._link.lost

    def close(self) -> None:
        """Say ``offline`` and disconnect; waits at most some seconds."""
        link, self._link = self._link, None
        if link is None:
            return
        link.stop()
        self.undelivered = link.lost
        if events := link.unconfirmed_events:
            self._say(f"sink {self.label}: {events} event(s) are not known to be at the broker")

    discard = close


def mqtt(spec: SinkSpec, context: SinkContext) -> MqttSink:
    """The sink ``mqtt:HOST[:PORT]/TOPIC``, or ``mqtts:`` with TLS.

    Raises:
        DependencyError: paho-mqtt is not installed.
    """
    try:
        from edge_runtime.sinks.messages.mqtt_link import BrokerLink
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "paho":
            raise
        raise DependencyError(
            f"sink {spec.kind}: the package 'paho-mqtt' is not installed: "
            "pip install 'hyperseg-edge[mqtt]'"
        ) from error
    address = with_environment(parse_broker(spec.rest, PORTS[spec.kind]), os.environ.get)
    ca_file = os.environ.get(CA_FILE)

    def link() -> BrokerLink:
        return BrokerLink(
            address,
            tls=spec.kind == "mqtts",
            ca_file=None if ca_file is None else Path(ca_file),
            say=context.say,
        )

    label = without_credentials(spec.text)
    return MqttSink(label, address, link, Messenger.of(context), context.say)


def with_environment(
    address: BrokerAddress, variable: Callable[[str], str | None]
) -> BrokerAddress:
    """`address` with the user and password that it lacks; a password needs a user."""
    user = address.user if address.user is not None else variable(USER)
    password = address.password if address.password is not None else variable(PASSWORD)
    return replace(address, user=user, password=None if user is None else password)

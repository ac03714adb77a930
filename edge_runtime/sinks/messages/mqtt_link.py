"""A connection to an MQTT broker that comes, goes and misbehaves, and for which nobody waits."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from edge_runtime.errors import SinkError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_runtime.sinks.messages.address import BrokerAddress

KEEPALIVE_S = 15
"""A broker that answers nothing for so long is gone."""
CONNECT_TIMEOUT_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1, 30
"""Between two attempts to connect; doubled from one to the next."""
MAX_BACKLOG = 32
"""Results on their way to the broker; further ones are lost. Bounds memory when it stalls."""
MAX_EVENTS = 256
"""Events that wait for the broker's word that it has them; further ones are lost."""
MAX_LINES = 50
"""What is told of one connection, however often it changes."""
GOODBYE_S = 2.0
"""How long the end of a run waits for what is on its way, and then again for the connection."""


class BrokerLink:
    """Publishes to one broker, and says ``online`` and ``offline`` there, retained.

    Only the connection's own thread waits for the network. The methods are called by one thread.

    Args:
        address: the broker.
        tls: speak TLS and check the broker's certificate.
        ca_file: certificates to trust instead of the system's.
        say: takes a line in words when the connection comes, fails or goes, from its thread.

    Raises:
        SinkError: the certificates cannot be read.
    """

    def __init__(
        self,
        address: BrokerAddress,
        *,
        tls: bool,
        ca_file: Path | None,
        say: Callable[[str], None],
    ) -> None:
        self.lost = 0
        """Results that did not reach the network, so far."""
        self._address = address
        self._say = say
        self._told = ""
        self._lines = 0
        self._status_topic = f"{address.topic}/status"
        self._results: deque[paho.MQTTMessageInfo] = deque()
        self._events: deque[paho.MQTTMessageInfo] = deque()
        self._events_refused = 0
        self._client = _Client(CallbackAPIVersion.VERSION2)
        self._prepare(tls, ca_file)

    @property
    def unconfirmed_events(self) -> int:
        """Events of which the broker has not said that it has them, those refused included."""
        return self._events_refused + sum(not info.is_published() for info in self._events)

    def start(self) -> None:
        """Begin to connect, and go on trying; does not wait."""
        endpoint = self._address.endpoint
        self._client.connect_async(endpoint.host, endpoint.port, KEEPALIVE_S)
        self._client.loop_start()

    def publish_result(self, topic: str, payload: bytes) -> None:
        """Send at most once (QoS 0), now or not at all."""
        self._settle()
        if len(self._results) >= MAX_BACKLOG:
            self.lost += 1
            return
        self._results.append(self._client.publish(topic, payload, qos=0))
        self._settle()

    def publish_event(self, topic: str, payload: bytes) -> None:
        """Send at least once (QoS 1), after the next connection if there is none now."""
        info = self._client.publish(topic, payload, qos=1)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            self._events_refused += 1
            return
        if info.rc == MQTTErrorCode.MQTT_ERR_NO_CONN:
            # It is queued for the next connection, which is_published would take for lost.
            info.rc = MQTTErrorCode.MQTT_ERR_SUCCESS
        self._events.append(info)
        while self._events and self._events[0].is_published():
            self._events.popleft()

    def stop(self) -> None:
        """Say goodbye and end; waits a bounded time for what is on its way."""
        if self._client.is_connected():
            if self._events:
                self._events[-1].wait_for_publish(GOODBYE_S)
            # QoS 0: it comes after all the rest, and no queue of events can refuse it.
            info = self._client.publish(self._status_topic, "offline", retain=True)
            with suppress(ValueError, RuntimeError):
                info.wait_for_publish(GOODBYE_S)
        self._client.disconnect()
        # Its thread may be in the middle of connecting; it ends by itself after that.
        ending = threading.Thread(target=self._end, daemon=True)
        ending.start()
        ending.join(GOODBYE_S)
        self._settle()
        self.lost += len(self._results)

    def _end(self) -> None:
        self._client.loop_stop()
        # paho leaves one open that was told to stop while it was connecting.
        if (rest := self._client.socket()) is not None:
            rest.close()

    def _settle(self) -> None:
        while self._results:
            try:
                if not self._results[0].is_published():
                    return
            except (ValueError, RuntimeError):
                self.lost += 1
            self._results.popleft()

    def _prepare(self, tls: bool, ca_file: Path | None) -> None:
        client, address = self._client, self._address
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.reconnect_delay_set(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        client.max_queued_messages_set(MAX_EVENTS)
        client.will_set(self._status_topic, "offline", qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        try:
            if address.user is not None:
                client.username_pw_set(address.user, address.password)
            if tls:
                client.tls_set(None if ca_file is None else str(ca_file))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise SinkError(f"cannot prepare the connection to {address.endpoint}: {reason}") from (
                error
            )

    def _on_connect(self, client: paho.Client, *details: Any) -> None:
        # Arguments: user data, flags, reason, properties.
        reason = details[2]
        if reason.is_failure:
            self._tell(f"refused the connection: {reason}; trying again")
            return
        client.publish(self._status_topic, "online", retain=True)
        if self._told:
            self._tell("is connected")

    def _on_connect_fail(self, *_: Any) -> None:
        self._tell("cannot be reached; trying again")

    def _on_disconnect(self, *details: Any) -> None:
        # Arguments: client, user data, flags, reason, properties.
        if details[3].is_failure and not self._told.startswith("refused"):
            self._tell("has closed or lost the connection; trying again")

    def _tell(self, words: str) -> None:
        if words == self._told:
            return
        self._told = words
        self._lines += 1
        if self._lines <= MAX_LINES:
            rest = "; further changes are not told" if self._lines == MAX_LINES else ""
            self._say(f"MQTT broker {self._address.endpoint} {words}{rest}")


class _Client(paho.Client):
    """paho's client, which a peer that speaks no MQTT cannot take down."""

    def loop_forever(
        self, timeout: float = 1.0, retry_first_connection: bool = False
    ) -> MQTTErrorCode:
        while True:
            try:
                return super().loop_forever(timeout, retry_first_connection)
            except Exception:  # noqa: BLE001 - paho's parser raises anything on a malformed packet
                time.sleep(FIRST_PAUSE_S)
                self.connect_async(self.host, self.port, self.keepalive)

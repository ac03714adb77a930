"""`mqtt:` and `mqtts:` against a real broker that is absent, killed, stalled, strict or insane."""

import getpass
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest

from edge_runtime.errors import SinkError
from edge_runtime.sinks.messages.address import parse_broker
from edge_runtime.sinks.messages.mqtt import with_environment
from edge_runtime.sinks.outlets import open_outlets
from edge_runtime.sinks.spec import parse_sink
from tests.results import RULES, make_context, make_result

paho = pytest.importorskip("paho.mqtt.client", reason="pip install 'hyperseg-edge[mqtt]'")
needs_broker = pytest.mark.skipif(
    shutil.which("mosquitto", path="/usr/sbin:/usr/bin") is None,
    reason="no broker: apt-get install mosquitto",
)
PATIENCE_S = 30.0
SECRET = "hunter2/é@"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    from edge_runtime.sinks.messages import mqtt_link

    for name in ("HYPERSEG_MQTT_USER", "HYPERSEG_MQTT_PASSWORD", "HYPERSEG_MQTT_CA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(mqtt_link, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(mqtt_link, "LONGEST_PAUSE_S", 0.2)


def until(condition, what):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited {PATIENCE_S:g} s for {what}"
        time.sleep(0.02)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Broker:
    """A mosquitto on loopback that can be killed and started again at the same port."""

    def __init__(self, folder, *settings):
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            "\n".join([f"listener {self.port} 127.0.0.1", f"user {getpass.getuser()}", *settings])
        )
        self.process = None

    def add(self, *settings):
        self._config.write_text("\n".join([self._config.read_text(), *settings]))

    def start(self):
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin")
        self.process = subprocess.Popen(
            [program, "-c", str(self._config)],
            cwd=self._config.parent,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(self._answers, "the broker")

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self):
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path, "allow_anonymous true")
    broker.start()
    yield broker
    broker.kill()


class Listener:
    """Somebody else's client; keeps (topic, payload, retained) of everything under a topic."""

    def __init__(self, port, user=None, password=None):
        self.got = []
        self._ready = threading.Event()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.username_pw_set(user, password)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("car/#", qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _data, m: self.got.append(
            (m.topic, m.payload, m.retain)
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(PATIENCE_S)

    def publish(self, topic, payload, **options):
        self._client.publish(topic, payload, **options).wait_for_publish(PATIENCE_S)

    def on(self, topic):
        return [payload for name, payload, _ in list(self.got) if name == topic]

    def results(self):
        return [json.loads(payload)["index"] for payload in self.on("car/results")]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def running(address, kind="mqtt", said=None, **context):
    """The outlets of one sink, as a run has them."""
    said = [] if said is None else said
    spec = parse_sink(f"{kind}:{address}")
    with open_outlets([spec], make_context(say=said.append, **context), stopping=bool) as run:
        yield run


def offer_until(run, condition, what, columns=5):
    """Go on publishing, as a camera does, until something has happened."""
    indices = iter(range(10_000))

    def happened():
        run.offer(make_result(next(indices), columns), wait=False)
        return condition()

    until(happened, what)


@needs_broker
def test_results_events_and_status_are_published(broker, tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(RULES), encoding="utf-8")

    with Listener(broker.port) as listener:
        with running(f"127.0.0.1:{broker.port}/car", rules=rules) as run:
            until(lambda: listener.on("car/status") == [b"online"], "the status")
            for index, columns in enumerate((0, 5, None)):
                run.offer(make_result(index, columns), wait=True)
        until(lambda: listener.on("car/status") == [b"online", b"offline"], "the goodbye")

        assert listener.results() == [0, 1, 2]
        events = [json.loads(payload) for payload in listener.on("car/events")]
        assert [event["state"] for event in events] == ["clear", "raised", "unknown"]
        assert {event["schema"] for event in events} == {"hyperseg-event/1"}
    assert (run.workers[0].consumed, run.workers[0].dropped) == (3, 0)
    with Listener(broker.port) as late:
        until(lambda: late.got, "what is retained")
        assert late.got == [("car/status", b"offline", True)]


@needs_broker
def test_a_sender_that_vanishes_is_offline_by_its_last_will(broker):
    script = (
        "import sys, time; from edge_runtime.sinks.spec import parse_sink\n"
        "from edge_runtime.sinks.outlets import open_outlets\n"
        "from tests.results import make_context\n"
        f"spec = parse_sink('mqtt:127.0.0.1:{broker.port}/car')\n"
        "with open_outlets([spec], make_context(), stopping=bool): time.sleep(60)\n"
    )
    with Listener(broker.port) as listener:
        process = subprocess.Popen([sys.executable, "-c", script])
        try:
            until(lambda: listener.on("car/status") == [b"online"], "the status")
        finally:
            process.kill()
            process.wait()
        until(lambda: listener.on("car/status") == [b"online", b"offline"], "the last will")


@needs_broker
def test_a_broker_absent_at_the_start_then_killed_and_restarted(tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps(RULES), encoding="utf-8")
    broker, said = Broker(tmp_path, "allow_anonymous true"), []

    with ExitStack() as stack:
        stack.callback(broker.kill)
        run = stack.enter_context(running(f"127.0.0.1:{broker.port}/car", said=said, rules=rules))
        # given results before there is a broker, among them one with an event
        began = time.monotonic()
        for index in range(3):
            run.offer(make_result(index, 5), wait=True)
        assert time.monotonic() - began < PATIENCE_S / 3
        until(lambda: "cannot be reached" in "".join(said), "the first failure")

        # when it comes
        broker.start()
        listener = stack.enter_context(Listener(broker.port))
        until(lambda: listener.on("car/events"), "the event of before")
        offer_until(run, listener.results, "results")

        # and is killed, and comes back
        broker.kill()
        until(lambda: "lost the connection" in said[-1] or "reached" in said[-1], "the loss")
        run.offer(make_result(1), wait=True)
        broker.start()
        before = len(listener.results())
        offer_until(run, lambda: len(listener.results()) > before, "results after the restart")
        until(lambda: "is connected" in said[-1], "word of it")

    (worker,) = run.workers
    assert worker.dropped >= 3
    assert json.loads(listener.on("car/events")[0])["state"] == "raised"
    assert len(said) < 10


@needs_broker
def test_a_broker_that_stalls_costs_results_and_no_time(broker, monkeypatch):
    from edge_runtime.sinks.messages import mqtt_link

    monkeypatch.setattr(mqtt_link, "GOODBYE_S", 0.3)
    long = {"source": "s" * 200, "model": "m" * 200}
    with Listener(broker.port) as listener, running(f"127.0.0.1:{broker.port}/car", **long) as run:
        offer_until(run, listener.results, "results")
        # given a broker that takes nothing any more, and more than its sockets hold
        broker.process.send_signal(signal.SIGSTOP)
        for offered in range(16_000):
            run.offer(make_result(offered, 5, name="n" * 150), wait=True)
        broker.kill()

    # most of 16 MB were dropped, not kept in memory
    (worker,) = run.workers
    assert worker.dropped > worker.consumed


@needs_broker
def test_a_wrong_password_costs_results_and_is_told_without_it(tmp_path, capfd):
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "me", SECRET], check=True, timeout=60
    )
    broker, said = Broker(tmp_path, "allow_anonymous false", f"password_file {passwords}"), []
    broker.start()
    good = f"me:{'hunter2%2F%C3%A9%40'}@127.0.0.1:{broker.port}/car"
    try:
        with running(good.replace("hunter2", "hunter3"), said=said) as run:
            until(lambda: said, "the refusal")
            run.offer(make_result(0), wait=True)
        label = run.workers[0].label
        assert (run.workers[0].consumed, run.workers[0].dropped) == (0, 1)
        assert "refused the connection: Not authorized" in said[0]

        # and the right one is taken, from the address
        with Listener(broker.port, "me", SECRET) as listener, running(good) as run:
            offer_until(run, listener.results, "results")
    finally:
        broker.kill()
    shown = "".join([label, *said, *capfd.readouterr()])
    assert label == f"mqtt:***@127.0.0.1:{broker.port}/car"
    assert "hunter" not in shown


@needs_broker
def test_user_and_password_may_come_from_the_environment(tmp_path, monkeypatch):
    passwords = tmp_path / "passwords"
    subprocess.run(
        ["mosquitto_passwd", "-b", "-c", str(passwords), "me", SECRET], check=True, timeout=60
    )
    broker = Broker(tmp_path, "allow_anonymous false", f"password_file {passwords}")
    broker.start()
    monkeypatch.setenv("HYPERSEG_MQTT_USER", "me")
    monkeypatch.setenv("HYPERSEG_MQTT_PASSWORD", SECRET)
    try:
        with (
            Listener(broker.port, "me", SECRET) as listener,
            running(f"127.0.0.1:{broker.port}/car") as run,
        ):
            offer_until(run, listener.results, "results")
    finally:
        broker.kill()


def test_the_address_has_precedence_and_a_password_alone_is_none():
    both = {"HYPERSEG_MQTT_USER": "env", "HYPERSEG_MQTT_PASSWORD": "env-pw"}.get
    password_only = {"HYPERSEG_MQTT_PASSWORD": "env-pw"}.get

    full = with_environment(parse_broker("me:pw@host/a", 1), both)
    half = with_environment(parse_broker("me@host/a", 1), both)
    none = with_environment(parse_broker("host/a", 1), password_only)

    assert (full.user, full.password) == ("me", "pw")
    assert (half.user, half.password) == ("me", "env-pw")
    assert (none.user, none.password) == (None, None)


@needs_broker
def test_junk_on_our_topics_does_not_reach_us(broker):
    junk = [b"", b"\xff\x00" * 5000, b"online?", b"{" * 100_000]
    with Listener(broker.port) as listener:
        for payload in junk:
            for topic in ("car/results", "car/events", "car/status"):
                listener.publish(topic, payload, qos=1, retain=True)
        listener.got.clear()
        with running(f"127.0.0.1:{broker.port}/car") as run:
            until(lambda: b"online" in listener.on("car/status"), "the status")
            listener.publish("car/status", b"nonsense", qos=1, retain=True)
            run.offer(make_result(7), wait=True)
        until(lambda: b"offline" in listener.on("car/status"), "the goodbye")
        assert listener.results() == [7]


@pytest.mark.parametrize(
    "answer",
    [
        b"\x20\x02\x00\x00" + b"\x40\x02\x00\x07" + b"\x30\x01\x00" + b"\xd0\x00",
        b"\x20\x02\x00\x00" + b"\x32\x04\x00\xff\xfe\xfd",
        b"\x20\x00",
        b"\x20\xff\xff\xff\xff\x7f",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        random.Random(0).randbytes(4000),
        b"",
    ],
)
def test_a_peer_that_speaks_no_mqtt_harms_nothing(answer):
    # given a server that answers nonsense and hangs up, again and again
    with socket.create_server(("127.0.0.1", 0)) as server:
        visits = threading.Semaphore(0)

        def answer_all():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)
                    visits.release()

        thread = threading.Thread(target=answer_all, daemon=True)
        thread.start()
        with running(f"127.0.0.1:{server.getsockname()[1]}/car") as run:
            assert visits.acquire(timeout=PATIENCE_S)
            run.offer(make_result(0), wait=True)
            # then it comes again all the same
            assert visits.acquire(timeout=PATIENCE_S)
        server.shutdown(socket.SHUT_RDWR)
    thread.join(PATIENCE_S)
    assert run.workers[0].consumed + run.workers[0].dropped == 1


@needs_broker
# paho leaves the socket of a handshake that failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
def test_mqtts_checks_the_certificate(tmp_path, monkeypatch):
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("no openssl to make a certificate with")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=tmp_path, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    broker, tls_port, said = Broker(tmp_path, "allow_anonymous true"), free_port(), []
    broker.add(f"listener {tls_port} 127.0.0.1", "certfile cert.pem", "keyfile key.pem")
    broker.start()
    address = f"127.0.0.1:{tls_port}/car"
    try:
        with running(address, "mqtts", said):
            until(lambda: said, "the refusal of an unknown certificate")
        assert "cannot be reached" in said[0]

        monkeypatch.setenv("HYPERSEG_MQTT_CA", str(tmp_path / "cert.pem"))
        with Listener(broker.port) as listener, running(address, "mqtts") as run:
            offer_until(run, listener.results, "results")

        monkeypatch.setenv("HYPERSEG_MQTT_CA", str(tmp_path / "none.pem"))
        with pytest.raises(SinkError, match="No such file"), running(address, "mqtts"):
            pass
    finally:
        broker.kill()


def test_without_paho_one_line_says_what_to_install():
    script = (
        "import sys; sys.modules['paho'] = None\n"
        "from edge_runtime.sinks.spec import parse_sink\n"
        "from edge_runtime.sinks.outlets import open_outlets\n"
        "from tests.results import make_context\n"
        "try: open_outlets([parse_sink('mqtt:u:hunter2@h/t')], make_context(), stopping=bool)\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )

    assert done.stdout.startswith("DependencyError sink mqtt: the package 'paho-mqtt'")
    assert "hunter2" not in done.stdout + done.stderr

"""The page of a real run: what it answers, to whom, and what hostile clients get."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from edge_runtime.cli import main
from edge_runtime.errors import SinkError

pytest.importorskip("aiohttp", reason="the page needs aiohttp: hyperseg-edge[web]")

from edge_runtime.web import gate, handlers
from edge_runtime.web.options import WebOptions
from edge_runtime.web.server import WebPage

pytestmark = pytest.mark.gst

TOKEN = "correct horse battery staple"
PATHS = (
    "/", "/page.js", "/api/stats", "/api/events", "/api/report/camera1.json", "/pair/camera1",
    "/stream/camera1", "/snapshot/camera1.zip", "/metrics", "/nothing",
)  # fmt: skip


def get(live, path, headers=None, host=None):
    """(status, headers, body) of a request; of a stream only that it begins."""
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=10)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{live.port}")
    for name, value in (headers or {}).items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    endless = answer.getheader("Content-Type", "").startswith(("multipart/", "text/event-stream"))
    body = answer.read1(65536) if endless else answer.read()
    connection.close()
    return answer.status, answer.headers, body


def say(live, data, wait_s=10):
    """All that a connection answers to raw bytes until it is closed."""
    with socket.create_connection(("127.0.0.1", live.port), timeout=wait_s) as connection:
        connection.sendall(data)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def until(fits, limit_s=10.0):
    give_up = time.monotonic() + limit_s
    while not fits():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_a_run_tells(start_run, tmp_path):
    # Given a run on which nobody has looked yet
    live = start_run()

    # When everything is asked for
    status, headers, body = get(live, "/api/stats")
    figures = json.loads(body)
    (camera,) = figures["cameras"]
    report = json.loads(get(live, "/api/report/camera1.json")[2])
    archive = zipfile.ZipFile(io.BytesIO(get(live, "/snapshot/camera1.zip")[2]))

    # Then it is of this run
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert camera["name"] == "camera1"
    assert camera["state"] == "up"
    assert camera["published"] > 0
    assert camera["stages_ms"]["h2d"] is None
    assert [entry["name"] for entry in camera["classes"]] == ["a", "b", "c"]
    assert figures["model"]["name"] == report["model"]["name"]
    assert report["ended"] == "running"
    assert set(archive.namelist()) == {"frame.png", "mask.png", "overlay.png", "frame.json"}
    assert get(live, "/healthz")[::2] == (200, b"ok\n")
    assert get(live, "/metrics")[0] == 404


def test_pictures_and_figures_flow_until_the_run_ends(start_run):
    live = start_run()
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=10)
    connection.request("GET", "/api/events")
    events = connection.getresponse()

    # When some pictures and figures have come
    stream = b""
    viewer = http.client.HTTPConnection("127.0.0.1", live.port, timeout=10)
    viewer.request("GET", "/stream/camera1")
    pictures = viewer.getresponse()
    while stream.count(b"Content-Type: image/jpeg") < 3:
        stream += pictures.read1(65536)
    told = events.read1(65536)
    live.end()

    # Then they were newer each time, and the end is told to both
    indices = [int(number) for number in re.findall(rb"X-Index: (\d+)", stream)]
    assert indices == sorted(set(indices))
    assert b'"schema":"hyperseg-edge.page/1"' in told
    assert b"event: over" in events.read()
    pictures.read()
    connection.close()
    viewer.close()


def test_several_cameras_each_have_their_pictures(start_run):
    live = start_run(
        {"front": "test:bars?fps=20&size=54x96", "rear": "test:bars?fps=20&size=54x96"}
    )

    figures = json.loads(get(live, "/api/stats")[2])

    assert [camera["name"] for camera in figures["cameras"]] == ["front", "rear"]
    assert b"image/jpeg" in get(live, "/pair/rear")[2]
    status, _, told = get(live, "/pair/side")
    assert (status, told) == (404, b"no such camera; there are front, rear\n")


def test_metrics_are_mounted_where_there_are_any(start_run):
    pytest.importorskip("prometheus_client", reason="hyperseg-edge[metrics] brings it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    live = start_run(token=TOKEN, metrics=str(port))

    assert get(live, "/metrics")[0] == 401
    status, headers, body = get(live, "/metrics", {"Authorization": f"Bearer {TOKEN}"})
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert b"hyperseg_frames_total" in body


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd", "/page/../../options.py", "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd", "/page.css/../../../gate.py", "/login.html", "/page/page.js",
        "/snapshot/../../etc/passwd.zip", "/snapshot/..%2f..%2fetc%2fpasswd.zip",
        "/stream/%00", "/stream/camera1%0d%0aSet-Cookie:%20a=b", "//etc/passwd", "/\\..\\x",
        "/" + 3000 * "a/",
    ],
)  # fmt: skip
def test_no_path_leads_to_a_file(start_run, path):
    live = start_run()

    answer = say(
        live, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )

    assert answer.split(b" ")[1] in (b"400", b"404")
    assert b"Set-Cookie" not in answer
    assert b"root:" not in answer


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + 100_000 * b"a" + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + 5000 * b"a: b\r\n" + b"\r\n",
        b"GET /" + 100_000 * b"a" + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data\r\n"
        b"Content-Length: 999999999\r\nConnection: close\r\n\r\n",
        b"DELETE /api/stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\nConnection: close\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken=\xff",
        b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\nConnection: close\r\n"
        b"Content-Type: application/x-www-form-urlencoded; charset=nope\r\n\r\ntoken=1",
    ],
)
def test_what_is_too_large_or_no_request_is_sent_away(start_run, request_, capfd):
    live = start_run()

    try:
        answer = say(live, request_)
    except ConnectionError:
        answer = b""  # closed while it was still speaking

    assert not answer or re.match(rb"HTTP/1.[01] 4\d\d", answer), answer[:80]
    assert get(live, "/healthz")[0] == 200
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "10.0.0.7"])
def test_another_name_for_this_machine_is_not_believed(start_run, host):
    live = start_run()

    for path in PATHS:
        status, _, body = get(live, path, host=host or " ")
        assert status == 421
        assert b"hyperseg-edge" not in body
    assert get(live, "/api/stats", host=f"localhost:{live.port}")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer " + TOKEN[:-1]}, {"Authorization": b"Bearer \xff\xfe"},
        {"Authorization": "Bearer"}, {"Cookie": "hyperseg=1"}, {"X-Forwarded-For": "127.0.0.1"},
    ],
)  # fmt: skip
def test_without_the_token_there_is_nothing(start_run, headers):
    # Given a page for the whole network
    live = start_run(token=TOKEN, host="0.0.0.0")

    for path in PATHS:
        status, _, body = get(live, path, headers)
        assert status == 401
        assert b"token" in body
    assert get(live, "/healthz", headers)[::2] == (200, b"ok\n")


def test_the_token_opens_all_and_is_told_nowhere(start_run, tmp_path, capfd):
    report = tmp_path / "report.json"
    live = start_run(token=TOKEN, host="0.0.0.0", report=report)
    bearer = {"Authorization": f"Bearer {TOKEN}"}

    told = [get(live, path, bearer)[2] for path in PATHS]
    live.end()

    assert b'"schema":"hyperseg-edge.page/1"' in told[2]
    assert not [body for body in told if TOKEN.encode() in body]
    captured = capfd.readouterr()
    assert TOKEN not in captured.out + captured.err + "".join(live.said)
    assert not report.exists() or TOKEN not in report.read_text()


def test_a_browser_logs_in_and_keeps_no_token(start_run):
    live = start_run(token=TOKEN, host="0.0.0.0")

    # Given one that is sent to the login
    status, headers, _ = get(live, "/", {"Accept": "text/html"})
    assert (status, headers["Location"]) == (303, "/login")
    assert b"<form" in get(live, "/login")[2]
    assert b"Wrong token" in get(live, "/login?wrong")[2]

    # When it gives a wrong and then the right token
    def log_in(token):
        form = f"token={token.replace(' ', '+')}"
        connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=10)
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/login", form, kind)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.headers

    assert log_in("wrong token of this run")["Set-Cookie"] is None
    cookie = log_in(TOKEN)["Set-Cookie"]

    # Then a cookie that no script and no other site can use stands for it
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    kept = {"Cookie": cookie.partition(";")[0]}
    assert get(live, "/api/stats", kept)[0] == 200


def test_viewers_beyond_the_limit_are_told_so_and_leave_no_trace(start_run, monkeypatch):
    # Given a page for few
    monkeypatch.setattr(handlers, "MOST_STREAMS", 3)
    live = start_run()
    get(live, "/api/stats")
    before = descriptors()

    # When many come, of whom none reads
    request = b"GET /pair/camera1 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    viewers = [socket.create_connection(("127.0.0.1", live.port), timeout=10) for _ in range(40)]
    for viewer in viewers:
        viewer.sendall(request)
    answers = [viewer.recv(12) for viewer in viewers]

    # Then the run goes on, and when they have left nothing is left of them
    assert sorted(answers).count(b"HTTP/1.1 200") == 3
    assert answers.count(b"HTTP/1.1 503") == 37
    seen = live.published
    until(lambda: live.published > seen + 5)
    for viewer in viewers:
        viewer.close()
    until(lambda: descriptors() <= before)
    until(lambda: json.loads(get(live, "/api/stats")[2])["viewers"] == 0)
    assert get(live, "/pair/camera1")[0] == 200


def test_a_viewer_that_takes_nothing_is_sent_away(start_run, monkeypatch):
    # Given pictures that fill every buffer soon, and little patience
    monkeypatch.setattr(handlers, "WRITE_S", 0.3)
    live = start_run("test:smpte?fps=30&size=540x960")
    with socket.socket() as viewer:
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        viewer.connect(("127.0.0.1", live.port))
        viewer.sendall(b"GET /pair/camera1 HTTP/1.1\r\nHost: localhost\r\n\r\n")

        def viewers():
            return json.loads(get(live, "/api/stats")[2])["viewers"]

        until(lambda: viewers() == 1)
        until(lambda: viewers() == 0, 20)


def test_a_connection_that_does_not_come_to_the_point_is_closed(start_run, monkeypatch):
    monkeypatch.setattr(gate, "HEAD_S", 0.3)
    live = start_run()

    # When one says nothing, and one never ends its request
    assert say(live, b"") == b""
    assert say(live, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a") == b""

    # Then those who did are not cut off
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as viewer:
        viewer.sendall(b"GET /pair/camera1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        begin = time.monotonic()
        while time.monotonic() - begin < 1.0:
            assert viewer.recv(65536)


def test_more_connections_than_fit_are_closed_at_once(start_run, monkeypatch):
    monkeypatch.setattr(gate, "MOST_CONNECTIONS", 5)
    live = start_run()
    crowd = [socket.create_connection(("127.0.0.1", live.port), timeout=10) for _ in range(5)]

    with pytest.raises((ConnectionError, http.client.HTTPException)):
        get(live, "/healthz")

    for one in crowd:
        one.close()
    until(lambda: works(live))


def works(live):
    try:
        return get(live, "/healthz")[0] == 200
    except (ConnectionError, http.client.HTTPException):
        return False


def test_an_address_that_is_taken_is_told_before_the_model_is_opened(start_run):
    live = start_run()

    with pytest.raises(SinkError, match=f"127.0.0.1:{live.port}"):
        WebPage(WebOptions("127.0.0.1", live.port)).__enter__()


def test_a_run_without_a_page_needs_no_web_framework(tmp_path):
    modules = "edge_runtime.service.staff, edge_runtime.run_cli"
    code = f"import sys, {modules}; print('aiohttp' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert done.stdout.strip() == "False"


def test_the_command_serves_the_page_and_ends(tiny_model, capfd):
    source = "test:bars?fps=30&size=54x96"
    arguments = ["run", str(tiny_model), source, "--duration", "0.5", "--quiet"]

    assert main([*arguments, "--web", "127.0.0.1:0"]) == 0

    assert "hyperseg: page at http://127.0.0.1:" in capfd.readouterr().err
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("web")]

"""Where the page may listen."""

from pathlib import Path

import pytest

from edge_runtime.cli import main
from edge_runtime.errors import OptionError
from edge_runtime.run_cli import run
from edge_runtime.service.command import parse_command
from edge_runtime.web.options import WebOptions, is_loopback, parse_web

TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("8081", "127.0.0.1", 8081),
        ("localhost:80", "localhost", 80),
        ("[::1]:8080", "::1", 8080),
        ("127.0.0.1:0", "127.0.0.1", 0),
    ],
)
def test_this_machine_needs_no_token(text: str, host: str, port: int) -> None:
    assert parse_web(text) == WebOptions(host, port)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "robot.local", ""])
def test_other_addresses_need_a_token(host: str) -> None:
    with pytest.raises(OptionError, match="HYPERSEG_WEB_TOKEN"):
        WebOptions(host, 8080)

    assert WebOptions(host, 8080, TOKEN).token == TOKEN


@pytest.mark.parametrize("text", ["", "here", "host:", "1.2.3.4:70000", "a:b:1", "http://x:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="web address"):
        parse_web(text, TOKEN)


@pytest.mark.parametrize("token", ["", "short", "fifteen-letters", "längst-lang-genug"])
def test_a_token_that_can_be_guessed_is_refused_and_not_told(token: str) -> None:
    with pytest.raises(OptionError, match="expected 16 or more") as caught:
        parse_web("0.0.0.0:80", token)
    assert not token or token not in str(caught.value)


def test_the_token_is_in_no_representation() -> None:
    assert TOKEN not in repr(WebOptions("0.0.0.0", 1, TOKEN))


@pytest.mark.parametrize("name", ["127.0.0.1.evil.example", "evil.example", "10.0.0.1", "", "0"])
def test_what_only_looks_like_this_machine_is_not(name: str) -> None:
    assert not is_loopback(name)


def test_a_mistake_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HYPERSEG_WEB_TOKEN", raising=False)
    model = str(tmp_path / "none.onnx")

    assert main(["run", model, "test:", "--web", "0.0.0.0:8080"]) == 2

    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "needs a token" in told


def test_the_token_may_come_from_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HYPERSEG_WEB_TOKEN", TOKEN)

    assert main(["run", str(tmp_path / "none.onnx"), "test:", "--web", "0.0.0.0:8080"]) == 2

    # Then it is the model that is missing, not the token, which nobody sees
    told = capsys.readouterr().err
    assert "none.onnx" in told
    assert TOKEN not in told


@pytest.mark.parametrize("token", [["--web-token", TOKEN], [f"--web-token={TOKEN}"]])
def test_a_service_takes_the_token_from_a_secret_alone(token: list[str]) -> None:
    words = ["run", "street-edge-n", "test:", "--web", "0.0.0.0:8080"]

    with pytest.raises(OptionError, match="secret:NAME") as caught:
        parse_command([*words, *token])

    assert TOKEN not in str(caught.value)
    command = parse_command([*words, "--web-token", "{secret:web_token}"])
    assert command.secrets == {"web_token"}


def test_the_address_may_be_left_away() -> None:
    plain = run.make_context("run", ["model", "test:", "--web", "--quiet"]).params
    last = run.make_context("run", ["model", "test:", "--web"]).params

    assert plain["web"] == last["web"] == "127.0.0.1:8080"
    assert run.make_context("run", ["model", "test:"]).params["web"] is None

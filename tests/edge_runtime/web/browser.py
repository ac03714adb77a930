"""A headless Chromium that is told what to do by its DevTools protocol: real clicks, real keys."""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_S = 30.0


def find_browser() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One tab. An async context manager.

    Args:
        width: of the window in pixels; below 600 it passes for a phone.
        height: of it.
    """

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        self._size = (width, height)
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.errors: list[str] = []
        """What the page's scripts threw, and what the browser refused."""

    async def __aenter__(self) -> Browser:
        binary = find_browser()
        assert binary is not None
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [
                binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-dev-shm-usage", "--disable-extensions", "--mute-audio",
                "--disable-background-networking", "--disable-component-update",
                f"--user-data-dir={self._home.name}", "--remote-debugging-port=0", "about:blank",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": "disabled:"},
        )  # fmt: skip
        self._http = aiohttp.ClientSession()
        port = await self._port()
        async with self._http.get(f"http://127.0.0.1:{port}/json") as answer:
            tabs = await answer.json()
        (tab,) = [tab for tab in tabs if tab["type"] == "page"]
        self._socket = await self._http.ws_connect(
            tab["webSocketDebuggerUrl"], max_msg_size=64 * 2**20
        )
        self._reader = asyncio.create_task(self._read())
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.resize(*self._size)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._reader.cancel()
        await self._socket.close()
        await self._http.close()
        os.killpg(self._process.pid, 9)
        self._process.wait()
        self._home.cleanup()

    async def _port(self) -> int:
        file = Path(self._home.name) / "DevToolsActivePort"
        for _ in range(int(TIMEOUT_S * 10)):
            if file.exists() and (lines := file.read_text().split()):
                return int(lines[0])
            await asyncio.sleep(0.1)
        raise TimeoutError("the browser does not start")

    async def _read(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
            elif told["method"] == "Runtime.exceptionThrown":
                self.errors.append(str(told["params"]["exceptionDetails"]))
            elif told["method"] == "Log.entryAdded" and told["params"]["entry"]["level"] == "error":
                self.errors.append(str(told["params"]["entry"]["text"]))

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._ids)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        answer = await asyncio.wait_for(future, TIMEOUT_S)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    async def resize(self, width: int, height: int) -> None:
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if width < 600 else 1,
            mobile=width < 600,
        )  # fmt: skip

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def ask(self, script: str) -> Any:
        """The value of an expression."""
        answer = await self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(
        self, script: str, fits: Callable[[Any], bool] = bool, timeout_s: float = TIMEOUT_S
    ) -> Any:
        """The value of an expression as soon as it fits."""
        give_up = asyncio.get_running_loop().time() + timeout_s
        while True:
            value = await self.ask(script)
            if fits(value):
                return value
            assert asyncio.get_running_loop().time() < give_up, f"{script} stays {value!r}"
            await asyncio.sleep(0.1)

    async def click(self, selector: str) -> None:
        """Press the mouse on the middle of an element."""
        await self.point(selector, 0.5)

    async def point(self, selector: str, share: float) -> None:
        """Press the mouse on an element, so far from its left edge."""
        box = await self.ask(
            f"(() => {{ const e = document.querySelector({selector!r});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x, b.y, b.width, b.height]; })()"
        )
        x, y = box[0] + box[2] * share, box[1] + box[3] / 2
        for kind in ("mousePressed", "mouseReleased"):
            await self.call(
                "Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1
            )

    async def press(self, key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    async def type(self, text: str) -> None:
        await self.call("Input.insertText", text=text)

    async def screenshot(self, path: Path, *, whole: bool = False) -> None:
        extra: dict[str, Any] = {"captureBeyondViewport": True} if whole else {}
        if whole:
            size = (await self.call("Page.getLayoutMetrics"))["cssContentSize"]
            extra["clip"] = {"scale": 1, **size}
        answer = await self.call("Page.captureScreenshot", format="png", **extra)
        path.write_bytes(base64.b64decode(answer["data"]))

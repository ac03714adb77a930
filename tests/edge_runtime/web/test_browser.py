"""The page in a real browser, on a real run, with real clicks."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("aiohttp", reason="the page needs aiohttp: hyperseg-edge[web]")

from edge_runtime.supervision.options import SupervisionOptions
from tests.edge_runtime.web.browser import Browser, find_browser

pytestmark = [
    pytest.mark.gst,
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="no browser: apt-get install chromium"),
]

TOKEN = "correct horse battery staple"
STATE = "document.querySelector('#picture')?.dataset.state"
PIXELS = """(() => {
  const c = document.querySelector('#canvas');
  return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data);
})()"""


def text(selector: str) -> str:
    return f"document.querySelector({selector!r})?.textContent"


def distance(one: list[int], other: list[int]) -> float:
    """Mean difference of two pictures' bytes."""
    assert len(one) == len(other)
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


async def views_and_slider(browser: Browser) -> None:
    """Press every button on a picture that stands still, and look at the pixels."""
    seen: dict[str, list[int]] = {}
    for view in ("raw", "mask", "overlay"):
        await browser.click(f'[data-view="{view}"]')
        assert await browser.ask(
            f"document.querySelector('[data-view={view}]').ariaPressed === 'true'"
        )
        seen[view] = await browser.ask(PIXELS)
    assert distance(seen["raw"], seen["mask"]) > 5
    between = [(a + b) / 2 for a, b in zip(seen["raw"], seen["mask"], strict=True)]
    assert distance(seen["overlay"], between) < 1
    await browser.point("#opacity", 0.001)
    assert distance(await browser.ask(PIXELS), seen["raw"]) < 0.1
    await browser.point("#opacity", 0.999)
    assert distance(await browser.ask(PIXELS), seen["mask"]) < 0.1
    assert await browser.ask(text("#opacity-value")) == "100 %"
    await browser.press("ArrowLeft", 37)
    assert await browser.ask(text("#opacity-value")) == "99 %"


async def tour(url: str, pause: threading.Event, folder: Path) -> None:
    async with Browser() as browser:
        # A live picture with its figures
        await browser.open(f"{url}/")
        await browser.until(STATE, lambda state: state == "live")
        assert await browser.until(text("#legend li span"), bool) == "a"
        assert await browser.ask(text("#fact-state")) == "up"
        first = int(await browser.until(text("#fact-index"), str.isdecimal))
        await browser.until(text("#fact-index"), lambda now: int(now) > first + 5)
        await browser.until(
            text("#stages tbody tr:last-child td:nth-of-type(2)"), lambda now: now.count(".") == 1
        )
        # Results cease: what is shown must not pass for live any more
        pause.set()
        await browser.until(STATE, lambda state: state == "stale")
        assert "STALE PICTURE: no new picture" in await browser.ask(text("#banner"))
        assert await browser.ask("getComputedStyle(banner).display") != "none"
        await views_and_slider(browser)
        await browser.screenshot(folder / "stale.png")
        # They come again
        pause.clear()
        await browser.until(STATE, lambda state: state == "live")
        assert await browser.ask("getComputedStyle(banner).display") == "none"
        # On a phone nothing needs to be scrolled sideways
        await browser.resize(390, 844)
        assert await browser.ask("document.documentElement.scrollWidth") <= 390
        assert browser.errors == []


def test_a_run_that_hangs_and_goes_on_in_the_browser(start_run, tmp_path):
    live = start_run("test:?fps=20&size=108x192")
    pause = threading.Event()

    def hang() -> None:
        while pause.is_set():
            time.sleep(0.05)

    live.frames = hang
    try:
        asyncio.run(tour(live.url, pause, tmp_path))
    finally:
        pause.clear()


async def two_cameras_behind_a_token(url: str, end: object) -> None:
    async with Browser() as browser:
        # Without the token the browser is asked for it, and with a wrong one asked again
        await browser.open(f"{url}/")
        for token in ("a wrong token of this run", TOKEN):
            await browser.until("location.pathname === '/login' && !!document.forms.length")
            await browser.click("#token")
            await browser.type(token)
            await browser.click("button")
            await browser.until("!location.pathname.startsWith('/login') || !!location.search")
        await browser.until(STATE, lambda state: state == "live")
        # The other camera at a click: it has stalled, and its picture is not the first one's
        await browser.until("document.querySelectorAll('[data-camera]').length === 2")
        await browser.click('[data-camera="rear"]')
        await browser.until("document.title.startsWith('rear')")
        await browser.until(STATE, lambda state: state == "stale")
        told = await browser.until(text("#banner"), lambda told: "camera" in told)
        assert told.startswith("NO PICTURE: camera ")
        link = await browser.ask("document.querySelector('#link-snapshot').getAttribute('href')")
        assert link == "/snapshot/rear.zip"
        assert await browser.ask("fetch('/snapshot/rear.zip').then(a => a.status)") == 503
        await browser.click('[data-camera="front"]')
        await browser.until(STATE, lambda state: state == "live")
        assert await browser.ask("fetch('/snapshot/front.zip').then(a => a.status)") == 200
        # The run ends, and the last picture is marked
        await asyncio.to_thread(end)
        await browser.until(STATE, lambda state: state == "stale")
        assert "run is over" in await browser.ask(text("#banner"))


def test_two_cameras_behind_a_token_in_the_browser(start_run):
    source = "test:bars?fps=10&size=54x96"
    live = start_run(
        {"front": source, "rear": f"fault:stall@1+600:{source}"},
        token=TOKEN,
        host="0.0.0.0",
        supervision=SupervisionOptions(stall_timeout_s=0.5),
    )

    asyncio.run(two_cameras_behind_a_token(live.url, live.end))

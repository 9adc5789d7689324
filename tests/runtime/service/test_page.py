"""The web page in Chromium: what a person does, by mouse, and by keyboard alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rsvl.runtime.tasks.segmentation import Segmenter
from tests.support.toy_service import Served, serving

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def served(toy: Path, folder: Path, tmp_path: Path) -> Iterator[Served]:
    with serving(toy, "--root", folder, "--state", tmp_path / "state") as found:
        yield found


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """The page, loaded; at the end nothing was asked of another host, and nothing failed in it."""
    found, hosts, failed = browser.new_page(viewport={"width": 900, "height": 600}), set[str](), list[str]()
    found.set_default_timeout(30_000)
    found.on("request", lambda request: hosts.add(request.url.partition(":")[0] + request.url.split("/")[2][:9]))
    found.on("pageerror", lambda error: failed.append(str(error)))
    found.goto(served.address)
    found.wait_for_selector("#bundle option", state="attached")
    yield found
    assert failed == [] and all(host.startswith(("http127.0.0.1", "data", "blob")) for host in hosts), hosts
    found.close()


COLOURS = """canvas => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const found = new Set();
  for (let i = 0; i < pixels.length; i += 4) found.add([pixels[i] >> 5, pixels[i + 1] >> 5, pixels[i + 2] >> 5].join());
  return [...found].sort();
}"""


def colours(page: Page) -> list[str]:
    """The colours of the view's canvas, coarsely."""
    found: list[str] = page.locator("#canvas").evaluate(COLOURS)
    return found


def test_named_image_is_asked_and_its_masks_are_shown(page: Page, folder: Path, segmenter: Segmenter) -> None:
    page.select_option("#sample", "scenes/squares.png")
    page.wait_for_selector("#drop", state="hidden")
    before = colours(page)
    page.fill("#text", "the red square\nblue")
    page.click("#ask")
    page.wait_for_selector("#found li:nth-child(2)")
    expected = segmenter.segment(folder / "squares.png", ["the red square", "blue"])
    words = [f"{found.text}\n1 object, {found.area} px" for found in expected]
    assert page.locator("#found .words").all_inner_texts() == words
    assert page.locator("#found .score").all_inner_texts() == [f"{found.score:.2f}" for found in expected]
    after = colours(page)
    assert after != before
    for box in page.locator("#found input").all():
        box.uncheck()
    assert colours(page) == before
    with page.expect_download() as download:
        page.click("#downloads button")
    assert download.value.suggested_filename == "answer.json"


def test_image_of_ones_own_is_run_as_a_job(page: Page, folder: Path) -> None:
    page.set_input_files("#file", folder / "squares.png")
    page.wait_for_selector("#drop", state="hidden")
    page.fill("#text", "the red square")
    page.click("#job")
    page.wait_for_selector("#message:has-text('The job is successful')")
    assert page.locator("#found .words").all_inner_texts()[0].startswith("the red square\n1 object, ")
    with page.expect_download() as download:
        page.click("#downloads button:has-text('overlay')")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
    page.click("#jobs button:has-text('Dismiss')")
    page.wait_for_selector("#jobs li:has-text('dismissed')")


def test_keyboard_alone_is_enough(page: Page) -> None:
    def tab_to(name: str) -> None:
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate_handle("document.activeElement").as_element().get_attribute("id") == name:
                return
        raise AssertionError(f"{name} is not reached")

    tab_to("sample")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#drop", state="hidden")
    tab_to("text")
    page.keyboard.type("the red square")
    tab_to("ask")
    page.keyboard.press("Enter")
    page.wait_for_selector("#found li")
    tab_to("canvas")
    whole = colours(page)
    for _ in range(12):
        page.keyboard.press("+")
    assert len(colours(page)) < len(whole)
    page.keyboard.press("0")
    assert colours(page) == whole


def test_what_went_wrong_is_told(page: Page) -> None:
    page.click("#ask")
    page.wait_for_selector("#message.bad:has-text('Say what to find')")
    page.fill("#text", "red")
    page.click("#ask")
    page.wait_for_selector("#message.bad:has-text('Choose an image')")
    page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"no image"})
    page.click("#ask")
    page.wait_for_selector("#message.bad:has-text('not an image')")


def test_key_is_asked_for(browser: Browser, toy: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("0123456789abcdef\n")
    with serving(toy, "--api-key-file", tmp_path / "keys", "--state", tmp_path / "state") as served:
        page = browser.new_page()
        page.set_default_timeout(30_000)
        page.goto(served.address)
        page.wait_for_selector("#message.bad:has-text('API key')")
        page.fill("#key", "0123456789abcdef")
        page.keyboard.press("Tab")
        page.wait_for_selector("#bundle option", state="attached")
        page.close()

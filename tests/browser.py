"""A real headless Chromium, the system's own, that reaches nothing but this machine."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

QUIET = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
DESKTOP, PHONE = (1100, 800), (390, 844)


def find_program() -> str:
    """Chromium; without it the test is skipped, or fails where CI is set."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if not found:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("chromium is not installed (apt-get install chromium)")
    return str(found)


@contextmanager
def running() -> Iterator[Browser]:
    """One Chromium for the length of the block, with a profile of its own."""
    program = find_program()
    sandbox = os.geteuid() != 0  # as root it has none
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=program, chromium_sandbox=sandbox, args=list(QUIET)
        )
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Browser, size: tuple[int, int] = DESKTOP, dark: bool = False
) -> Iterator[tuple[Page, list[str]]]:
    """An empty page, and what goes wrong on it: errors, and all that its console has to say."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light"
    )
    page, wrong = context.new_page(), list[str]()
    page.on("console", lambda said: wrong.append(f"{said.type}: {said.text}"))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(f"{request.url} failed"))
    yield page, wrong
    context.close()

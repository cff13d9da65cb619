"""A real headless Chromium, the system's own, that reaches nothing but this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

from tests.installed import find_program

QUIET = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
DESKTOP, PHONE = (1100, 800), (390, 844)


@contextmanager
def running() -> Iterator[Browser]:
    """One Chromium for the length of the block, with a profile of its own."""
    program = find_program("chromium", "chromium-browser", "google-chrome")
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

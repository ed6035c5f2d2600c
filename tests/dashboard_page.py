"""Dashboards as somebody sees them: Superset's pages in Debian's Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.stack.native.components import Missing, apt_install

# What follows is drawn where it is in view only.
_VIEW = {"width": 1440, "height": 3600}
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
          "--disable-background-networking", "--disable-component-update"]  # fmt: skip
_DRAWN_WITHIN_MS = 120_000
SCREENSHOTS = Path(os.environ.get("LAKEHOUSE_SCREENSHOTS", "screenshots"))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window; installed where that is allowed."""
    if not shutil.which("chromium"):
        try:
            apt_install(["chromium"])
        except Missing as missing:
            unfit = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            unfit(f"dashboards are looked at in Chromium: {missing}")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_QUIET)
        yield found
        found.close()


@dataclass(frozen=True)
class Reader:
    """Somebody who has logged in."""

    page: Page
    url: str

    def open(self, slug: str, charts: int) -> None:
        """Open a dashboard, and wait until all its charts are drawn, or have failed."""
        self.page.goto(f"{self.url}/superset/dashboard/{slug}/")
        self.wait(charts)

    def wait(self, charts: int) -> None:
        """Wait until all charts of the page are drawn, or have failed."""
        expect(self.charts()).to_have_count(charts, timeout=_DRAWN_WITHIN_MS)
        done = '[data-test="slice-container"], .ant-alert, .ant-empty'
        expect(self.charts().filter(has=self.page.locator(done))).to_have_count(
            charts, timeout=_DRAWN_WITHIN_MS
        )
        busy = self.page.locator('[data-test="loading-indicator"], .loading')
        expect(busy).to_have_count(0, timeout=_DRAWN_WITHIN_MS)

    def charts(self) -> Locator:
        return self.page.locator('[data-test="chart-grid-component"]')

    def chart(self, title: str) -> Locator:
        """The content of a chart."""
        found = self.page.locator(f'[data-test-chart-name="{title}"]')
        return found.locator('[data-test="chart-container"]')

    def failed(self) -> list[str]:
        """What charts say that show nothing."""
        wrong = self.page.locator('.ant-alert, [data-test="chart-container"] .ant-empty')
        return wrong.all_inner_texts()

    def keep(self, name: str) -> None:
        """A picture of the whole page, for who wants to see what the tests have seen."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@contextmanager
def reading_as(browser: Browser, url: str, user: str, password: str) -> Iterator[Reader]:
    """A session of its own for a user."""
    with browser.new_context(viewport=_VIEW) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{url}/login/")
        page.fill("#username", user)
        page.fill("#password", password)
        page.click("button[type=submit]")
        page.wait_for_url(lambda there: "/login" not in there)
        yield Reader(page, url)

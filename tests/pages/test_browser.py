"""The audit page in a real browser."""

import shutil

import pytest

from .test_pages import HOSTILE, make_page

pytestmark = pytest.mark.browser

DESKTOP = {"width": 1200, "height": 900}
PHONE = {"width": 390, "height": 844}
SAY = " ".join(HOSTILE)


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium on the PATH")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "audit.html"
    path.write_text(make_page(SAY, long=True, max_mistakes=3)[0], encoding="utf-8")
    return path


@pytest.fixture
def visit(browser, file):
    """Open the page, and note whatever it tries to do."""
    contexts, events = [], []

    def open_page(**options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("dialog", lambda d: (events.append(f"dialog {d.message}"), d.dismiss()))
        page.on("console", lambda m: events.append(f"console {m.text}"))
        page.on("pageerror", lambda e: events.append(f"error {e}"))
        page.on("request", lambda r: events.append(f"request {r.url}"))
        page.goto(file.as_uri())
        page.wait_for_load_state("networkidle")
        return page

    yield open_page, events
    for context in contexts:
        context.close()


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_hostile_data_does_nothing(visit, file, viewport):
    open_page, events = visit
    page = open_page(viewport=viewport)
    for summary in page.locator("summary").all():
        summary.click()
    page.mouse.move(200, 300)
    assert page.locator("script, img, svg, iframe, object, form").count() == 0
    assert SAY in page.locator("h1").inner_text()
    assert SAY in page.locator("article blockquote").first.inner_text()
    assert [e for e in events if e != f"request {file.as_uri()}"] == []


@pytest.mark.parametrize("width", [320, 390, 768, 1200])
def test_only_tables_scroll_sideways(visit, width):
    open_page, _ = visit
    page = open_page(viewport={"width": width, "height": 800})
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    too_wide = """
        [...document.querySelectorAll('main *')]
            .filter(e => !e.closest('.scroll'))
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .map(e => e.outerHTML.slice(0, 80))
    """
    assert page.evaluate(too_wide) == []


def test_everything_is_readable_without_scripts(visit):
    open_page, _ = visit
    page = open_page(viewport=DESKTOP, java_script_enabled=False)
    for heading in (
        "How well the label is predicted",
        "The mistakes and their culprits",
    ):
        assert page.get_by_role("heading", name=heading).is_visible()
    assert page.locator("article .card").first.is_visible()
    versions = page.locator("dt", has_text="python")
    assert not versions.is_visible()
    page.locator("main > section > details > summary").click()
    assert versions.is_visible()
    page.get_by_role("link", name="Mistakes and culprits").click()
    assert page.url.endswith("#mistakes")


def test_tables_and_regions_have_names(visit):
    open_page, _ = visit
    page = open_page(viewport=DESKTOP)
    for name in ("Quality of the label", "Quality of the concepts"):
        region = page.get_by_role("region", name=name)
        assert region.get_by_role("table").is_visible()
    assert page.get_by_role("navigation", name="On this page").is_visible()
    header = page.get_by_role("columnheader", name="Accuracy").first
    assert header.is_visible()


def test_the_page_follows_the_colour_scheme(visit):
    open_page, _ = visit
    grounds = {}
    for scheme in ("light", "dark"):
        page = open_page(viewport=DESKTOP, color_scheme=scheme)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        grounds[scheme] = sum(int(n) for n in ground[4:-1].split(", "))
    assert grounds["light"] > 700
    assert grounds["dark"] < 100

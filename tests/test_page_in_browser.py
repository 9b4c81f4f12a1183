"""The page in a real browser: pytest -m browser, with playwright and Debian's chromium."""

import itertools
import os
import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest
from rankings import evil, large, pictured, score, swept, three
from test_page import whole

from onnx_cte.agreement import agreement
from onnx_cte.page import page_of

pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason='playwright is missing: pip install -e ".[browser]"'
    )
    if CHROMIUM is None:
        pytest.skip("chromium is missing: apt-get install chromium, or say where by CHROMIUM=...")
    with sync_api.sync_playwright() as playwright:
        # Containers run as root, where chromium refuses its sandbox, and have a small /dev/shm.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield found
        found.close()


@pytest.fixture
def shown(browser, tmp_path):
    """Open a page; whatever it complains of, asks for, or pops up fails the test."""
    complaints = []

    @contextmanager
    def opening(html, **options):
        file = tmp_path / "index.html"
        file.write_text(html, encoding="utf-8")
        context = browser.new_context(**options)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (complaints.append("dialog"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(("data:", file.as_uri()))
                else complaints.append(f"fetched: {request.url}")
            ),
        )
        page.goto(file.as_uri())
        yield page
        context.close()

    yield opening
    assert complaints == []


def full():
    return whole(swept(three(failed=(("d", "is broken"),), remarks=("beware",))))


def order(page, selector="#standings tbody tr"):
    return page.eval_on_selector_all(
        selector, "all => all.filter(e => e.offsetParent !== null).map(e => e.dataset.model)"
    )


def test_it_shows_all_it_has_without_complaint(shown):
    with shown(full()) as page:
        assert page.locator("h1").inner_text().startswith("Take a")
        for part in ("ranking", "pictures", "labels", "sweep", "issues", "origin"):
            assert page.locator(f"#{part} h2").is_visible()
        boxes = page.eval_on_selector_all(
            ".pair svg", "all => all.map(e => [e.clientWidth, e.clientHeight])"
        )
        assert len(boxes) == 6
        assert all(width > 50 and height > 50 for width, height in boxes)


def test_pictures_are_drawn(shown):
    ranking = three()
    (picture, _) = pictured(ranking, side=32, noise=True)
    with shown(page_of(ranking, pictures=[picture])) as page:
        first, second = page.locator(".pair svg").all()[:2]
        first.scroll_into_view_if_needed()
        # A blank picture would be far smaller than one of noise.
        assert len(second.screenshot()) > 5000
        page.get_by_role("checkbox", name="outlines").uncheck()
        assert page.locator("image.contour").first.is_hidden()
        assert len(first.screenshot()) > 5000  # the image below them, drawn by reference


def test_rows_are_sorted_by_what_is_clicked(shown):
    with shown(page_of(three())) as page:
        assert order(page) == ["a", "b", "c"]
        by_consistency = page.get_by_role("button", name="consistency")
        by_consistency.click()
        assert order(page) == ["a", "b", "c"]  # greatest first
        head = page.locator("th", has=by_consistency)
        assert head.get_attribute("aria-sort") == "descending"
        by_consistency.click()
        assert order(page) == ["b", "a", "c"]  # what is undefined is last, whichever way round
        assert head.get_attribute("aria-sort") == "ascending"
        page.get_by_role("button", name="model").click()
        page.get_by_role("button", name="model").click()
        assert order(page) == ["c", "b", "a"]
        assert page.locator("[aria-sort]").count() == 1


def test_pictures_are_sorted_by_model_and_by_flips(shown):
    scores = tuple(replace(row, model=name) for row, name in zip(three(), "bca", strict=True))
    ranking = replace(three(), scores=scores, undecided=())
    with shown(page_of(ranking, pictures=pictured(ranking))) as page:
        chosen = page.get_by_label("Order of models")
        for label, expected in (
            ("by name", ["a", "b", "c"]),
            ("by what flips, least first", ["c", "a", "b"]),
            ("by foreground, most first", ["a", "c", "b"]),
            ("by rank", ["b", "c", "a"]),
        ):
            chosen.select_option(label=label)
            assert order(page, ".cards li") == expected * 2


def test_models_are_filtered_everywhere(shown):
    scores = (score("Fluo_unet", 0.9), score("fluo_small", 0.8), score("tissue", 0.7))
    ranking = replace(three(), scores=scores, undecided=())
    compared = [(ranking, agreement(ranking, replace(ranking, title="f1")))]
    html = page_of(
        ranking, performance=ranking, compared=compared, pictures=pictured(ranking, ["x.png"])
    )
    with shown(html) as page:
        box = page.get_by_label("Show models whose name holds")
        box.fill("FLUO")
        assert order(page) == order(page, ".cards li") == ["Fluo_unet", "fluo_small"]
        assert page.locator("#shown").inner_text() == "2 of 3"
        assert page.locator("figure g").nth(2).is_hidden()
        page.get_by_role("button", name="model").click()
        assert order(page) == ["fluo_small", "Fluo_unet"]
        box.fill("nothing like it")
        assert order(page) == []
        box.fill("")
        assert len(order(page)) == 3


def test_it_works_by_keyboard(shown):
    ranking = three()
    with shown(page_of(ranking, pictures=pictured(ranking))) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        reached = []
        for _ in range(40):
            page.keyboard.press("Tab")
            focus = page.evaluate(
                "(e => e.id || e.dataset.key || e.getAttribute('aria-label') || e.tagName)"
                "(document.activeElement)"
            )
            reached.append(focus)
            if focus == "model":
                page.keyboard.press("Enter")
                page.keyboard.press("Space")
            if focus == "order":
                page.keyboard.type("by name")
            if focus == "contours":
                page.keyboard.press("Space")
            if focus == "PRE":
                break
        for place in ("filter", "rank", "model", "part0", "order", "contours", "PRE"):
            assert place in reached
        assert order(page) == ["c", "b", "a"]
        assert page.locator("#order").input_value() == "model"
        assert page.locator("#pictures.plain").count() == 1
        outline = "getComputedStyle(document.querySelector('#filter')).outlineStyle"
        page.locator("#filter").focus()
        assert page.evaluate(outline) != "none"


def test_no_script_runs_from_a_name(shown):
    with shown(whole(evil())) as page:
        page.get_by_label("Show models whose name holds").fill("<IMG")
        assert len(order(page)) == 3
        page.get_by_role("button", name="score").click()
        page.get_by_label("Order of models").select_option("flipped")
        assert page.locator("img").count() == 0
        assert "<img src=x onerror=alert(1)>a" in page.locator("h1").inner_text()


def test_what_is_not_its_own_would_not_run(browser, tmp_path):
    """The policy is a second lock: it holds even where escaping would have failed."""
    planted = page_of(three()).replace(
        "</main>",
        "<img src=x onerror='document.title=1'><script>document.title=2</script></main>",
    )
    (tmp_path / "p.html").write_text(planted, encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto((tmp_path / "p.html").as_uri())
    assert page.title() == "a first of 3 · onnx_cte"
    assert sum("Content Security Policy" in text for text in said) >= 2
    context.close()


@pytest.mark.parametrize("width", [320, 380, 900, 1160, 1400])
def test_it_fits_the_width(shown, width):
    for html in (full(), page_of(large(30, 5)), whole(evil())):
        with shown(html, viewport={"width": width, "height": 800}) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.get_by_role("button", name="score").is_visible()  # sorts on a phone too


def test_the_score_axis_is_labelled_at_every_width(shown):
    """By the head of a table, or where there is no room for one in every row."""
    with shown(full()) as page:
        for width, places in ((380, 3), (900, 3), (1400, 1)):
            page.set_viewport_size({"width": width, "height": 800})
            seen = page.eval_on_selector_all(
                "#standings text.tick",
                "all => all.map(e => [e.textContent, e.getBoundingClientRect()])"
                ".filter(([, box]) => box.width).map(([text, box]) => [text, box.left, box.right])",
            )
            ticks = len(seen) // places
            assert [text for text, *_ in seen] == [text for text, *_ in seen[:ticks]] * places
            assert ticks >= 3
            assert all(0 <= left < right <= width for _, left, right in seen)
            for (_, _, end), (_, start, _) in itertools.pairwise(seen[:ticks]):
                assert end < start  # no label runs into the next


def test_pictures_can_be_large(shown):
    ranking = three()
    viewport = {"width": 1400, "height": 800}
    with shown(page_of(ranking, pictures=pictured(ranking)), viewport=viewport) as page:
        small = page.locator(".pair svg").first.bounding_box()["width"]
        page.get_by_role("checkbox", name="large").check()
        assert page.locator(".pair svg").first.bounding_box()["width"] > 1.5 * small


@pytest.mark.parametrize("media", ["dark", "light", "print"])
def test_text_stands_out(shown, media):
    """Contrast of text with its ground, as WCAG 2 computes it: 4.5 or more."""
    with shown(full(), color_scheme="dark" if media != "light" else "light") as page:
        if media == "print":
            page.emulate_media(media="print", color_scheme="dark")
        found = page.evaluate(
            """() => {
              const light = (rgb) => {
                const [r, g, b] = rgb.match(/[\\d.]+/g).slice(0, 3).map((v) => {
                  v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const paper = light(getComputedStyle(document.body).backgroundColor);
              return ["h1", ".fine", ".warnings", "a[href='#origin']", "td.num", "caption"].map(
                (selector) => {
                  const ink = light(getComputedStyle(document.querySelector(selector)).color);
                  const [low, high] = [ink, paper].sort((a, b) => a - b);
                  return (high + 0.05) / (low + 0.05);
                });
            }"""
        )
        assert min(found) >= 4.5
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != (
            "rgb(255, 255, 255)"
        )
        assert dark == (media == "dark")


def test_printed_it_has_no_controls(shown):
    with shown(full()) as page:
        page.emulate_media(media="print")
        assert page.locator("nav").is_hidden()
        assert page.locator("#filter").is_hidden()
        assert page.locator("#order").is_hidden()
        assert page.locator(".pair svg").first.is_visible()
        assert len(page.pdf()) > 10_000


def test_without_scripts_all_is_there_to_read(shown):
    with shown(full(), java_script_enabled=False) as page:
        assert page.locator("h1").is_visible()
        assert page.locator("#filter").is_hidden()  # it would do nothing
        assert page.locator(".pair svg").count() == 6


def test_thirty_models_on_a_thousand_images_open_in_a_second(shown):
    ranking = large()
    html = page_of(
        ranking, pictures=pictured(ranking, [f"{n}.png" for n in range(5)], side=256, noise=True)
    )
    assert len(html) > 6_000_000
    with shown(html) as page:
        timing = page.evaluate(
            "(n => [n.domContentLoadedEventEnd, n.loadEventEnd])"
            "(performance.getEntriesByType('navigation')[0])"
        )
        assert max(timing) < 1000, timing
        page.get_by_label("Show models whose name holds").fill("model_2")
        assert len(order(page)) == 10

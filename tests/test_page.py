"""What a page says, that it fetches nothing, and that no name is ever code."""

import base64
import hashlib
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rankings import EVIL, evil, large, pictured, score, swept, three

from onnx_cte.agreement import agreement
from onnx_cte.page import LINES, MODELS, PICTURED, page_of
from onnx_cte.page.groups import groups_of
from onnx_cte.page.scales import scale_of
from onnx_cte.pictures import size_of
from onnx_cte.ranking import Ranking

VOID = {"meta", "input", "line", "rect", "path", "circle", "use", "image", "link"}


class Reader(HTMLParser):
    """Tags, attributes and text of a page; complains of tags that are left open."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def truth():
    scores = (score("b", 0.8), score("a", 0.7), score("c", 0.2))
    return Ranking(scores, "Accuracy()", "f1")


def whole(ranking, **options):
    """A page with all that a page can have."""
    performance = replace(
        truth(),
        scores=tuple(
            replace(row, model=other.model) for row, other in zip(truth(), ranking, strict=False)
        ),
    )
    compared = [(ranking, agreement(ranking, performance))]
    pictures = pictured(ranking, [next(iter(ranking[0].by_image))])
    return page_of(
        ranking, performance=performance, compared=compared, pictures=pictures, **options
    )


def test_it_says_which_model_and_how_sure():
    text = Reader(page_of(three())).text
    assert "Take a: it ranks first of 3, and these 12 images tell it from each" in text
    assert "Cannot be told apart: A b, c" in text
    assert "scores spread 0.200, 4.0 times" in text


def test_a_row_a_model_with_its_parts():
    page = page_of(three())
    rows = re.findall(r'<tr data-model="(\w)" data-rank="(\d)" data-score="([\d.]+)"', page)
    assert rows == [("a", "1", "0.9"), ("b", "2", "0.6"), ("c", "3", "0.5")]
    text = Reader(page).text
    for part in ("consistency", "boundary", "consensus"):
        assert part in text
    assert "0.9000 0.850 .. 0.950" in text


def test_what_went_wrong_and_what_was_assumed():
    found = replace(
        three(remarks=("beware of b",), failed=(("d", "is broken"),)),
        skipped=(("z.png", "unreadable"),),
        scores=(replace(three()[0], skipped=(("w.png", "too small"),)), *three()[1:]),
    )
    text = Reader(page_of(found)).text
    for said in ("Warning: beware of b", "d is broken", "z.png unreadable", "b guessed"):
        assert said in text
    assert "w.png too small (by a)" in text


def test_how_to_repeat_it():
    text = Reader(page_of(three())).text
    for said in ("cd /data onnx-cte rank m 'my i'", "CPUExecutionProvider", "ab12", "seed 0"):
        assert said in text
    for said in ("estimator Credibility()", "onnxruntime 1.25", "onnx cte 0.1.0", "opset 17"):
        assert said in text


def test_the_sweep_where_one_ran():
    text = Reader(page_of(swept(three()))).text
    assert "2 perturbations were tried on 1 images (cte nhd)" in text
    assert "→ dropout=0.5 chosen 0.800" in text
    assert "dropout=0.9 a refuses" in text
    assert "Sweep" not in Reader(page_of(three())).text


def test_performance_where_labels_were_given():
    text = Reader(whole(three())).text
    assert "Score against performance" in text
    assert "Against labels, the choice is the best there is: a (f1 0.800)" in text
    found = agreement(three(), truth())
    other = Reader(page_of(three(), performance=truth())).text
    assert "Score against performance" in other  # nothing was compared with it
    ranking = three()
    compared = [(ranking, found)]
    text = Reader(page_of(ranking, performance=truth(), compared=compared)).text
    assert "Against labels, b (f1 0.800) is best; the choice without labels is a (f1 0.700)" in text
    assert "credibility: tau 0.33" in text


def test_pictures_where_they_are():
    pictures = pictured(three())
    page = page_of(three(), pictures=pictures)
    text = Reader(page).text
    assert "typical x.png" in text
    assert "10.0 % foreground, 90.0 % of it flips; consistency 0.900" in text
    # Each image once, however many models there are.
    assert page.count(pictures[0].ground) == 2 + 2 * 2 * 3  # of black, as all others
    assert page.count('<use href="#ground0"/>') == 3
    failing = replace(pictures[0], drawn=(replace(pictures[0].drawn[0], reason="is gone"),))
    assert "No picture: is gone" in Reader(page_of(three(), pictures=[failing])).text


@pytest.mark.parametrize(
    "ranking",
    [
        Ranking((), "CTE()", failed=(("a", "broken"),)),
        Ranking((score("a", math.nan, foreground=math.nan),), "CTE()"),
        Ranking((score("a", 0.5, half=math.nan),), "CTE()"),
        Ranking((score("a", 5e8), score("b", -3.0)), "LogME()", greater_is_better=False),
        Ranking((score("a", 1e-12), score("b", 1e-12)), "x", undecided=(("a", "b"),), sampled=5),
        three(provenance={"models": None, "time": [1], "sweep": {"rows": None}, "packages": 3}),
    ],
)
def test_of_whatever_there_is_a_page_is_made(ranking):
    Reader(page_of(ranking))


def test_no_name_is_code():
    page = whole(evil())
    assert "<img" not in page
    reader = Reader(page)
    assert set(reader.tags) <= {
        "html", "head", "meta", "title", "style", "body", "a", "header", "p", "h1", "span",
        "ul", "li", "strong", "nav", "label", "input", "output", "main", "section", "h2", "table",
        "caption", "thead", "tr", "th", "button", "svg", "line", "text", "tbody", "td", "path",
        "rect", "b", "i", "select", "option", "article", "h3", "h4", "defs", "image", "use",
        "div", "small", "details", "summary", "dl", "dt", "dd", "pre", "code", "figure",
        "figcaption", "g", "circle", "script",
    }  # fmt: skip
    assert not [name for _, name, _ in reader.attributes if name.startswith("on")]
    assert reader.tags.count("script") == reader.tags.count("style") == 1
    assert reader.text.count(EVIL) > 20


def test_nothing_is_fetched():
    reader = Reader(whole(swept(three())))
    links = [value for _, name, value in reader.attributes if name in ("href", "src", "action")]
    assert links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert "style" not in [name for _, name, _ in reader.attributes]


def test_only_its_own_script_and_style_may_run():
    page = page_of(three())
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"


@pytest.mark.parametrize("ranking", [large(), large(1000, 3)], ids=["images", "models"])
def test_it_stays_small(ranking):
    pictures = pictured(ranking[:200], [f"{n}.png" for n in range(6)], side=256, noise=True)
    assert size_of(pictures) > PICTURED  # pictures of noise: no real ones are so large
    performance = replace(ranking, title="f1", estimator="Accuracy()")
    compared = [(ranking, agreement(ranking, performance, permutations=1))] * 20
    page = page_of(ranking, performance=performance, compared=compared, pictures=pictures)
    assert len(page.encode()) < 10_000_000
    text = Reader(page).text
    assert "models are left out here: a page stays below 10 MB" in text
    if len(ranking) > MODELS:
        assert f"and {len(ranking) - MODELS} more models, in ranking.csv" in text
    else:
        # Images skipped by all models alike share a line; so do 600 that nobody could read.
        assert f"and {1000 - LINES} more, in ranking.json" in text


def test_pictures_of_the_first_ranks_are_kept():
    ranking = large(30, 3)
    pictures = pictured(ranking, [f"{n}.png" for n in range(6)], side=256, noise=True)
    page = page_of(ranking, pictures=pictures)
    shown = re.findall(r'<li data-model="(\w+)"', page)
    first = [row.model for row in ranking][: len(shown) // 6]
    assert shown == first * 6
    assert 0 < len(first) < 30


@pytest.mark.parametrize(
    ("pairs", "groups"),
    [
        ([], ()),
        ([("a", "b")], (("a", "b"),)),
        ([("b", "a"), ("b", "c")], (("a", "b"), ("b", "c"))),
        ([("a", "b"), ("b", "c"), ("a", "c"), ("z", "a")], (("a", "b", "c"),)),
    ],
)
def test_groups_hold_the_pairs_and_no_others(pairs, groups):
    assert groups_of("abcd", pairs, 5) == groups


def test_too_many_groups_are_none():
    star = [("a", other) for other in "bcdef"]
    assert groups_of("abcdef", star, 5) is not None
    assert groups_of("abcdef", star, 4) is None
    # Three of each kind are like all but their own kind: 3 ** 10 groups, few of them looked at.
    models = [f"{kind}{n}" for kind in range(10) for n in range(3)]
    pairs = [(a, b) for a in models for b in models if a[0] < b[0]]
    assert groups_of(models, pairs, 12) is None


def test_ranks_are_told_where_groups_are_too_many():
    scores = tuple(score(f"m{n}", 0.9 - n / 100) for n in range(20))
    pairs = tuple(("m0", f"m{n}") for n in (*range(1, 15), 17))
    page = page_of(Ranking(scores, "x", undecided=pairs, sampled=9))
    told = re.findall(r'<td class="alike" data-title="alike">([^<]*)</td>', page)
    assert told == ["2..15, 18", *["1"] * 14, "-", "-", "1", "-", "-"]


@pytest.mark.parametrize(
    "values", [[0.1, 0.9], [-5, 1e6], [1e-9, 3e-9], [0, 0], [7], [3.3, 3.3000001], [-1e300, 1e300]]
)
def test_a_scale_holds_its_values_between_round_numbers(values):
    scale = scale_of([*values, math.nan, math.inf])
    assert scale.low <= min(values) <= max(values) <= scale.high
    assert 2 <= len(scale.ticks) <= 7
    assert (scale.ticks[0], scale.ticks[-1]) == (scale.low, scale.high)
    assert 0 <= scale.at(values[0]) <= 100
    labels = [scale.label(tick) for tick in scale.ticks]
    assert len(set(labels)) == len(labels)


def test_what_disturbed_is_named_once_with_its_draws():
    ranking = three()
    names = ("noise=0.1", "noise=0.1#1", "flip=x", "dropout=0.1@decoder#1", "jitter=1,1#0")
    pictures = [replace(one, perturbations=names) for one in pictured(ranking)]
    text = Reader(page_of(ranking, pictures=pictures)).text
    told = "noise=0.1 (2 draws), flip=x, dropout=0.1@decoder#1, jitter=1,1#0."
    assert f"Disturbed by {told}" in text

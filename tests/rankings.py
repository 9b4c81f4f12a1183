"""Made-up rankings, evil and large ones too."""

import base64
import io
import math
from dataclasses import replace

import numpy as np
from PIL import Image as Png

from onnx_cte.pictures import Drawn, Picture
from onnx_cte.ranking import Ranking, Score
from onnx_cte.separation import Separation

EVIL = "<img src=x onerror=alert(1)>"
PARTS = ("consistency", "boundary", "consensus")


def score(model, value, half=0.05, ranks=(1, 1), **options):
    given = {"images": 12, "empty": 0, "coverage": 1.0, "foreground": 0.2, **options}
    return Score(model, value, (value - half, value + half), ranks, **given)


def three(**options):
    """a leads, b and c cannot be told apart."""
    scores = (
        score("a", 0.9, parts=dict.fromkeys(PARTS, 0.9), by_image={"x.png": 0.9, "y.png": 0.8}),
        score("b", 0.6, ranks=(2, 3), parts=dict.fromkeys(PARTS, 0.5), notes=("guessed",)),
        score("c", 0.5, ranks=(2, 3), parts=dict.fromkeys(PARTS, math.nan)),
    )
    given = {
        "title": "credibility",
        "undecided": (("b", "c"),),
        "sampled": 12,
        "separation": Separation(0.2, 0.05, 3, 2, 0.9, 2, 4.0),
        "provenance": {
            "onnx_cte": "0.1.0",
            "packages": {"onnxruntime": "1.25"},
            "models": {"a": {"provider": "CPUExecutionProvider", "sha256": "ab12", "opset": 17}},
            "time": {"seconds": 2.5, "command": "onnx-cte rank m 'my i'", "folder": "/data"},
        },
        **options,
    }
    return Ranking(scores, "Credibility()", **given)


def swept(ranking):
    """The ranking with a sweep in its provenance."""
    rows = [
        {"perturbation": name, "held": held, "contrast": contrast, "decided": 2, "pairs": 3}
        | {"stability": None, "tolerable": held < 0.95, "median": held, "spread": 0.1}
        for name, held, contrast in (("dropout=0.1", 0.97, 1.5), ("dropout=0.5", 0.8, 3.0))
    ]
    document = {"metric": "nhd", "images": ["x.png"], "rows": rows, "chosen": "dropout=0.5"}
    document |= {"reason": "it parts them", "left_out": [["dropout=0.9", "a refuses"]]}
    return replace(ranking, provenance={**ranking.provenance, "sweep": document})


def evil():
    """Whatever can be named is named so that it would run."""
    scores = [
        replace(
            row,
            model=f"{EVIL}{row.model}",
            by_image={EVIL: 0.5},
            skipped=((EVIL, EVIL),),
            notes=(EVIL,),
            parts={EVIL: 0.5},
        )
        for row in three()
    ]
    made_with = {
        "models": {f"{EVIL}a": {"provider": EVIL, "sha256": EVIL, EVIL: [EVIL]}},
        "time": {"command": EVIL, "folder": EVIL, EVIL: EVIL},
        EVIL: EVIL,
    }
    row = {"perturbation": EVIL, "held": 0.5, "contrast": 1.0, "decided": EVIL, "pairs": EVIL}
    made_with["sweep"] = {"metric": EVIL, "rows": [row], "chosen": EVIL, "reason": EVIL}
    made_with["sweep"]["left_out"] = [[EVIL, EVIL]]
    return Ranking(
        tuple(scores),
        EVIL,
        EVIL,
        undecided=((scores[0].model, scores[1].model),),
        failed=((EVIL, EVIL),),
        skipped=((EVIL, EVIL),),
        provenance=made_with,
        remarks=(EVIL,),
        sampled=12,
    )


def large(models=30, images=1000):
    """So many models on so many images."""
    rng = np.random.default_rng(0)
    names = [f"plate_{n:04d}.tif" for n in range(images)]
    scores = [
        score(
            f"model_{n:02d}",
            0.95 - 0.02 * n,
            ranks=(max(n - 1, 1), min(n + 3, models)),
            parts=dict(zip(PARTS, rng.random(3).tolist(), strict=True)),
            by_image=dict(zip(names, rng.random(images).tolist(), strict=True)),
            skipped=tuple((name, "too small " * 20) for name in names[:400]),
            notes=(f"assumed of model {n}",),
        )
        for n in range(models)
    ]
    near = [(a, b) for n, a in enumerate(scores) for b in scores[n + 1 : n + 3]]
    records = {s.model: {"provider": "CPU", "sha256": "0" * 64, "note": "n" * 5000} for s in scores}
    return Ranking(
        tuple(scores),
        "Credibility()",
        "credibility",
        undecided=tuple((a.model, b.model) for a, b in near),
        skipped=tuple((name, "unreadable") for name in names[400:]),
        provenance={"models": records},
        sampled=images,
    )


def png(side=256, seed=None):
    """A PNG as a data URI: of one shade, or of noise, which nothing makes smaller."""
    shades = np.zeros((side, side), np.uint8)
    if seed is not None:
        shades = np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8)
    buffer = io.BytesIO()
    Png.fromarray(shades).save(buffer, "png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def pictured(ranking, images=("x.png", "y.png"), side=8, noise=False):
    """Each model on each image; the first two models flip more, and less, than the others."""
    return tuple(
        Picture(
            image,
            "typical",
            ground=png(side, seed=n if noise else None),
            width=side,
            height=side,
            reduced=2.0,
            perturbations=("noise=0.1",),
            drawn=tuple(
                Drawn(
                    row.model,
                    contour=png(side),
                    flips=png(side, seed=rank if noise else None),
                    foreground=0.1 + rank / 1000,
                    flipped={0: 0.9, 1: 0.05}.get(rank, 0.2 + rank / 1000),
                )
                for rank, row in enumerate(ranking)
            ),
        )
        for n, image in enumerate(images)
    )

"""What a callable is told of a run, and that a bar shows the same."""

import itertools
import math
import sys

import numpy as np
import pytest
from networks import blur
from test_runner import discs

from onnx_cte.errors import OptionError
from onnx_cte.estimators import CTE
from onnx_cte.images import Images
from onnx_cte.perturbations import GaussianNoise
from onnx_cte.progress import Progress, tallied
from onnx_cte.runner import rank
from onnx_cte.segmenters import BlackBox, OnnxModel
from onnx_cte.sweep import sweep


def planes(count=3):
    return [discs(n)[0] for n in range(count)]


def broken(tensor):
    raise RuntimeError("no such layer")


def test_every_image_of_every_model_is_told(tmp_path):
    told = []
    models = [OnnxModel("net", blur(tmp_path / "net.onnx")), BlackBox("broken", broken)]
    images = Images.from_arrays([*planes(), np.ones((8, 8))])
    rank(models, images, CTE(draws=1), progress=told.append)
    assert [(p.model, p.done) for p in told] == [
        *(("broken", done) for done in range(5)),
        *(("net", done) for done in range(4, 9)),
    ]
    assert {p.total for p in told} == {8}
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(told))
    assert math.isnan(told[0].remaining)
    assert told[-1].remaining == 0


def test_a_model_that_cannot_be_opened_counts_as_done(tmp_path):
    (tmp_path / "text.onnx").write_text("no network")
    told = []
    models = [OnnxModel("text", tmp_path / "text.onnx"), OnnxModel("z", blur(tmp_path / "z.onnx"))]
    rank(models, Images.from_arrays(planes()), CTE(draws=1), progress=told.append)
    assert [p.done for p in told] == [0, 3, 3, 4, 5, 6]


def test_what_it_raises_ends_the_run_and_evidence_is_kept(tmp_path):
    class Enough(Exception):
        pass

    def stop(found):
        if found.done == 2:
            raise Enough

    model = OnnxModel("net", blur(tmp_path / "net.onnx"))
    images = Images.from_arrays(planes())
    with pytest.raises(Enough):
        rank([model], images, CTE(draws=1), progress=stop, evidence=tmp_path / "e")
    told = []
    again = rank([model], images, CTE(draws=1), evidence=tmp_path / "e", progress=told.append)
    assert told[-1].done == 3
    assert again.scores == rank([model], images, CTE(draws=1)).scores


def test_a_sweep_tells_too(tmp_path):
    told = []
    models = [OnnxModel(f"{gain}", blur(tmp_path / f"{gain}.onnx", gain=gain)) for gain in (20, 60)]
    images = Images.from_arrays(planes(5))
    candidates = [GaussianNoise(0.1), GaussianNoise(0.3)]
    sweep(models, images, candidates=candidates, draws=1, progress=told.append)
    assert told[-1] == Progress("60", 10, 10, told[-1].seconds)


@pytest.mark.parametrize("progress", [None, "yes", 1])
def test_what_is_neither_is_refused(progress):
    with pytest.raises(OptionError, match="progress is True, False or something to call"):
        rank([BlackBox("a", broken)], Images.from_arrays(planes()), CTE(), progress=progress)


def test_nothing_is_shown_where_stderr_is_no_terminal(capsys):
    with tallied(2, True) as tally:
        tally.turn_to("net")
        tally.add(2)
    assert capsys.readouterr() == ("", "")


def test_a_bar_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with tallied(2, True) as tally:
        tally.turn_to("net")
        tally.add(1)
        tally.add(1)
    out, err = capsys.readouterr()
    assert out == ""
    assert "net: 100%" in err
    assert "2/2" in err

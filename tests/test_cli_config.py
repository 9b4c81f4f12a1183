"""``--config``: what a file may say, what it may not, and that the command line wins."""

import json
from pathlib import Path

import click
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from networks import blur
from test_runner import write_images

from onnx_cte.cli import main
from onnx_cte.cli.config import CONFIG
from onnx_cte.estimators import CTE, Credibility
from onnx_cte.perturbations import Flip, GaussianNoise
from onnx_cte.report import read_ranking


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blur(tmp_path / "models" / "steady.onnx", gain=20)
    blur(tmp_path / "models" / "sharp.onnx", gain=60, width=3)
    write_images(tmp_path, 3)
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def ranked(text, *stated):
    Path("run.toml").write_text(text, encoding="utf-8")
    result = call("rank", "models", "images", "--config", "run.toml", *stated)
    assert result.exit_code == 0, result.output
    return result


def test_a_file_says_what_options_say(place):
    ranked(
        'estimator = "cte"\nperturb = ["noise=0.2", "flip=x"]\nlimit = 2\nseed = 3\njobs = 1\n'
        'out = "here"\n'
    )
    found = read_ranking("here")
    assert found.estimator == repr(CTE(perturbations=(GaussianNoise(0.2), Flip("x"))))
    assert found.seed == 3
    assert found[0].images == 2
    assert found.provenance["jobs"] == 1


def test_a_channel_is_a_number_or_a_name(place):
    pixels = np.random.default_rng(0).integers(0, 255, (2, 48, 56), np.uint8)
    how = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    for path in Path("images").iterdir():
        tifffile.imwrite(path.with_suffix(".ome.tif"), pixels, ome=True, metadata=how)
        path.unlink()
    for text, place_of_it in (("channel = 1", 1), ('channel = "DAPI"', 0), ('channel = "1"', 1)):
        told = ranked(f'{text}\nout = "here"').stderr
        assert f"; channel {place_of_it} ({['DAPI', 'GFP'][place_of_it]}) is taken" in told
    assert "channel 1 (GFP) is taken" in ranked('out = "here"', "--channel", "GFP").stderr
    Path("run.toml").write_text("channel = 1.5")
    result = call("rank", "models", "images", "--config", "run.toml")
    assert result.exit_code == 2
    assert "channel is 1.5: expected a whole number, or a text in quotes" in result.stderr


def test_the_command_line_wins(place):
    ranked('estimator = "cte"\nseed = 3\nout = "here"', "--seed", 4, "--perturb", "flip=x")
    found = read_ranking("here")
    assert found.estimator == repr(CTE(perturbations=(Flip("x"),)))
    assert found.seed == 4
    ranked('estimator = "cte"\nout = "here"', "--estimator", "credibility")
    assert read_ranking("here").estimator == repr(Credibility())


def test_a_section_is_of_one_command_and_wins_over_what_is_shared(place):
    ranked('seed = 1\nout = "here"\n[rank]\nseed = 2\n[evaluate]\nseed = 3\nperformance = "f1"\n')
    assert read_ranking("here").seed == 2


def test_what_another_command_alone_has_may_be_shared(place):
    ranked('performance = "map"\nout = "here"')
    assert read_ranking("here").estimator == repr(Credibility())


def test_one_text_serves_where_several_may_be_given_in_one_command_only(place):
    # --estimator may be repeated in evaluate, and not in rank.
    ranked('estimator = "cte"\nperturb = "flip=x"\nout = "here"')
    assert read_ranking("here").estimator == repr(CTE(perturbations=(Flip("x"),)))
    result = call(
        *("evaluate", "models", "images", "labels", "--config", "run.toml", "--metric", "nhd"),
    )
    assert result.exit_code == 0, result.output
    document = json.loads(Path("here/evaluation.json").read_text())
    assert [row["estimator"] for row in document["agreement"]] == [
        repr(CTE(perturbations=(Flip("x"),)))
    ]


def test_flags_and_underscores(place):
    result = ranked("json = true\nquiet = true\nwithout_bottleneck = 'noise=0.1'")
    assert len(json.loads(result.stdout)) == 1


def test_a_byte_order_mark_is_no_part_of_it(place):
    ranked('\ufeffout = "here"')
    assert read_ranking("here").scores


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("estimater = 'cte'", "unknown option 'estimater': did you mean 'estimator'? There are: "),
        ("[rank]\nsede = 1", "unknown [rank] option 'sede': did you mean 'seed'?"),
        ("[rank]\nperformance = 'f1'", "unknown [rank] option 'performance'"),
        ("[evaluate]\nsede = 1", "unknown [evaluate] option 'sede'"),
        ("[rnak]\nseed = 1", "unknown section [rnak]: did you mean 'rank'?"),
        ("[list]\nseed = 1", "unknown section [list]"),
        ("config = 'other.toml'", "unknown option 'config'"),
        ("help = true", "unknown option 'help'"),
        ("models = 'models'", "unknown option 'models'"),
        ("seed = 1.5", "seed is 1.5: expected a whole number"),
        ("seed = true", "seed is True: expected a whole number"),
        ("seed = '1'", "seed is '1': expected a whole number"),
        ("threshold = 'high'", "threshold is 'high': expected a number"),
        ("strict = 1", "strict is 1: expected true or false"),
        ("estimator = ['cte']", "estimator is ['cte']: expected one value, not a list"),
        ("estimator = 3", "estimator is 3: expected a text in quotes"),
        ("perturb = ['noise=0.1', 2]", "perturb is 2: expected a text in quotes"),
        ("device = 'gpu'", "device: 'gpu' is not one of 'auto', 'cpu', 'cuda'"),
        ("only = 'nothing.txt'", "only: File 'nothing.txt' does not exist"),
        ("estimator = cte", "'run.toml' is no TOML file in UTF-8: Invalid value (at line 1"),
        (b"out = '\xe9'", "'run.toml' is no TOML file in UTF-8: 'utf-8' codec can't decode"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(place, text, complaint):
    Path("run.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    result = call("rank", "none", "nothing", "--config", "run.toml")
    assert result.exit_code == 2
    assert complaint in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_file_that_is_not_there(place):
    result = call("rank", "models", "images", "--config", "run.toml")
    assert result.exit_code == 2
    assert "'run.toml' does not exist" in result.stderr


def test_commands_that_take_a_file():
    taking = {
        name
        for name, command in main.commands.items()
        if any("--config" in option.opts for option in command.params)
    }
    assert {"rank", "evaluate", "predict", "demo"} <= taking


def test_a_command_without_a_group(tmp_path):
    @click.command("alone")
    @click.option("--count", type=int)
    @CONFIG
    def alone(count):
        click.echo(count)

    (tmp_path / "a.toml").write_text("count = 4")
    result = CliRunner().invoke(alone, ["--config", str(tmp_path / "a.toml")])
    assert result.stdout == "4\n"

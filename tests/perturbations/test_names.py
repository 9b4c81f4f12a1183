"""Every registered perturbation is read back from its name; an error says the way out."""

import pytest

from onnx_cte import perturbations
from onnx_cte.errors import OptionError
from onnx_cte.perturbations import (
    FLAGS,
    PERTURBATIONS,
    Brightness,
    Dropout,
    FeatureDrop,
    FeatureNoise,
    Flip,
    GaussianNoise,
    Rotation,
    parse_perturbation,
)

ALL = pytest.mark.parametrize("make", PERTURBATIONS.values(), ids=PERTURBATIONS)
VARIANTS = [
    GaussianNoise(0),
    GaussianNoise((0.1, 0.2)),
    GaussianNoise(1e-12),
    GaussianNoise(1 / 3),
    Brightness((-0.1, 0.1)),
    Flip("y"),
    Flip("z"),
    Rotation(270),
    *(
        Dropout(rate, law, rescale, taps)
        for rate in (0, 0.1, 1 / 3, 0.999)
        for law in ("fixed", "bernoulli")
        for rescale in (True, False)
        for taps in ("bottleneck", "encoder/2", ("decoder/4", "skips"), ("bottleneck", "skip/1"))
    ),
    FeatureDrop(0, 1),
    FeatureDrop(0.5, 0.5, ["skips", "encoder"]),
    FeatureNoise(2),
    FeatureNoise(1 / 3, "features=deep"),
]


@ALL
def test_defaults_read_back(make):
    perturbation = make()
    name = perturbation.name.partition("=")[0]
    assert PERTURBATIONS[name] is make
    assert parse_perturbation(perturbation.name) == perturbation
    assert parse_perturbation(name) == perturbation


@ALL
def test_every_flag_and_tap_reads_back(make):
    name = make().name.partition("=")[0]
    for flag, options in FLAGS.get(name, {}).items():
        assert parse_perturbation(f"{name},{flag}") == make(**options)
        assert make(**options).name == f"{make().name},{flag}"
    if not hasattr(make, "apply"):
        assert parse_perturbation(f"{name}@skips+encoder/1") == make(taps=("skips", "encoder/1"))


@pytest.mark.parametrize("perturbation", VARIANTS, ids=lambda p: p.name)
def test_variants_read_back(perturbation):
    assert parse_perturbation(perturbation.name) == perturbation
    assert eval(repr(perturbation), vars(perturbations)) == perturbation


def test_names_tell_everything_apart():
    assert len({p.name for p in VARIANTS}) == len(set(VARIANTS)) == len(VARIANTS)


@pytest.mark.parametrize(
    ("perturbation", "name"),
    [
        (Dropout(), "dropout=0.1"),
        (Dropout(law="bernoulli"), "dropout=0.1,bernoulli"),
        (Dropout(rescale=False), "dropout=0.1,unscaled"),
        (
            Dropout(0.1, "bernoulli", False, ("decoder/4", "skips")),
            "dropout=0.1,bernoulli,unscaled@decoder/4+skips",
        ),
        (FeatureDrop(), "feature-drop=0.7..0.9"),
        (FeatureNoise(taps="encoder/2"), "feature-noise=0.3@encoder/2"),
    ],
)
def test_names_of_feature_perturbations(perturbation, name):
    assert perturbation.name == name


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("noise=0.2", GaussianNoise(0.2)),
        ("noise=0.1..0.2", GaussianNoise((0.1, 0.2))),
        ("brightness=-0.1..0.1", Brightness((-0.1, 0.1))),
        ("flip=y", Flip("y")),
        ("flip=z", Flip("z")),
        ("rotation=270", Rotation(270)),
        ("dropout=0.2", Dropout(0.2)),
        ("dropout=0.2,unscaled,bernoulli", Dropout(0.2, "bernoulli", False)),
        ("dropout@bottleneck", Dropout()),
        ("dropout,unscaled@skips", Dropout(rescale=False, taps="skips")),
        ("feature-drop=0.5..0.6@encoder", FeatureDrop(0.5, 0.6, "encoder")),
        ("feature-noise=0.1", FeatureNoise(0.1)),
    ],
)
def test_texts(text, expected):
    assert parse_perturbation(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nose=0.1", "unknown perturbation 'nose': did you mean 'noise'"),
        ("dropuot=0.1,bernoulli@skips", "unknown perturbation 'dropuot': did you mean 'dropout'"),
        ("", "unknown perturbation ''"),
        ("noise=much", "cannot read 'much' as a number; write for example noise=0.1"),
        ("noise=", "cannot read '' as a number"),
        ("noise=0.1..", r"cannot read '0.1..' as a number"),
        ("noise=-1", "the strength is a finite number, at least 0"),
        ("noise=0.2..0.1", r"or a range \(low, high\)"),
        ("noise=0,1", "numbers are written with a point; write noise=0.1$"),
        ("dropout=0,25@skips", "numbers are written with a point; write dropout=0.25"),
        ("noise=0,much", "nothing can follow the value of noise after a comma; write noise=0$"),
        ("gamma=0", "at least 1e-06"),
        ("contrast=nan", "finite"),
        ("flip=w", "axis is 'x', 'y' or 'z', not 'w'"),
        ("rotation=45", "degrees are 90, 180 or 270, not 45"),
        ("rotation=1.5", "cannot read '1.5' as a number; write for example rotation=90"),
        (
            "noise=0.1@skips",
            "noise disturbs the input of a network and takes no tap; write noise=0.1, "
            "or disturb features, as dropout=0.1@skips",
        ),
        ("flip@", "takes no tap; write flip, or disturb features, as dropout=0.1@bottleneck"),
        ("dropout=0.1..0.2", r"cannot read '0.1..0.2' as a number; write for example dropout=0.1"),
        ("dropout=1", "at least 0 and below 1"),
        ("dropout=0.1,bernouli", "unknown flag of dropout 'bernouli': did you mean 'bernoulli'"),
        ("dropout=0.1,", "unknown flag of dropout ''. There are: bernoulli, unscaled"),
        ("dropout=0.1,unscaled,unscaled", "'unscaled' is there twice; write it once"),
        ("dropout=0.1@", "dropout: no tap is given to disturb; write for example dropout@bottle"),
        ("dropout=0.1@skips+", "dropout: a tap is a name, not ''"),
        ("dropout=0.1@skips+skips", "the same tap twice: skips, skips"),
        ("dropout=0.1@skips,unscaled", "'skips,unscaled' is no tap.* flags before the @"),
        (
            "feature-drop=0.8",
            r"cannot read '0.8' as a range; write for example feature-drop=0.7..0.9",
        ),
        ("feature-drop=a..b", r"cannot read 'a..b' as a range"),
        ("feature-drop=0.9..0.7", r"within 0..1, not 0.9..0.7"),
        ("feature-noise=0.3,unscaled", "nothing can follow the value of feature-noise"),
        ("feature-noise=-1", "a finite number of at least 0, not -1.0"),
    ],
)
def test_bad_texts(text, complaint):
    with pytest.raises(OptionError, match=complaint):
        parse_perturbation(text)


@pytest.mark.parametrize("text", ["auto", "auto=0.1", "auto@skips"])
def test_auto_is_a_choice_and_no_perturbation(text):
    with pytest.raises(OptionError, match=rf"'{text}' is no .*--perturb auto.*onnx_cte\.sweep\("):
        parse_perturbation(text)
    assert perturbations.AUTO not in PERTURBATIONS

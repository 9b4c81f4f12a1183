import inspect

import pytest

import onnx_cte as oc

NAMES = pytest.mark.parametrize("name", oc.__all__)


def test_all_is_what_is_exported_and_sorted():
    public = {
        name
        for name, value in vars(oc).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(oc.__all__)
    assert oc.__all__ == sorted(oc.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))


@NAMES
def test_every_name_says_what_it_is(name):
    thing = getattr(oc, name)
    assert thing.__doc__
    assert thing.__doc__.strip().splitlines()[0].endswith((".", "]_.", "?", ":"))


@pytest.mark.parametrize("name", [n for n in oc.__all__ if inspect.isfunction(getattr(oc, n))])
def test_functions_document_their_arguments(name):
    thing = getattr(oc, name)
    doc = inspect.getdoc(thing) or ""
    signature = inspect.signature(thing)
    for argument in signature.parameters:
        assert argument in doc, f"{name}: {argument}"
    assert "Returns" in doc or "Yields" in doc or signature.return_annotation is None


BY_OTHERS = {
    "Agreement": "agreement",
    "NucleiField": "simulate_nuclei",
    "Package": "write_package",
    "Picture": "take_pictures",
    "Predicted": "predict",
    "Sweep": "sweep",
    "SweepRow": "sweep",
}
"""What nobody makes by hand, or alone: the example is with the function that makes or takes it."""

NOT_RUN = {"open_models": "it shows a folder of one's own"}


def _examples(name):
    text = inspect.getdoc(getattr(oc, name)) or ""
    return text.partition("Examples\n--------\n")[2]


@NAMES
def test_every_public_name_has_an_example_that_runs(name):
    made = getattr(oc, name)
    if isinstance(made, type) and issubclass(made, Exception):
        return  # errors are raised by others, and their texts are tested there
    if getattr(made, "_is_protocol", False):
        return  # a contract: what fulfils it has an example
    found = _examples(BY_OTHERS.get(name, name))
    assert ">>> " in found
    assert ("+SKIP" in found) == (name in NOT_RUN)

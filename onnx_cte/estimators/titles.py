"""Titles for tables: an estimator's name, and those of its options that are not the default."""


def titled(estimator: object, name: str, **forms: str) -> str:
    """Title of an estimator, so that two with different options have two.

    Parameters
    ----------
    estimator : object
        A dataclass whose options all have defaults.
    name : str
        What it is called.
    **forms : str
        How each option is told where it is not the default, in this order, as `str.format` takes
        it; a tuple is joined by ``+``.

    Returns
    -------
    str

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Gauge:
    ...     width: int = 3
    ...     taps: tuple[str, ...] = ("a",)
    >>> titled(Gauge(taps=("b", "c")), "gauge", width="{} px", taps="@{}")
    'gauge @b+c'
    """
    words = [name]
    for option, form in forms.items():
        given = getattr(estimator, option)
        if given != getattr(type(estimator), option):
            shown = "+".join(map(str, given)) if isinstance(given, tuple) else given
            words.append(form.format(shown))
    return " ".join(words)

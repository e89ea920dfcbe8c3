"""A Prometheus text exposition: the numbers that a server gives of itself, found by name and labels."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite

from prometheus_client.parser import text_string_to_metric_families

from targets.base import TargetError
from targets.exposed import Told

_SUFFIXES = ("", "_total", "_sum", "_count", "_bucket")
_SUMMED = ("histogram", "summary")
_PARTS = ("le", "quantile")
"""Labels of the parts of these; their sums and counts say enough."""
_OF_MODEL = frozenset({"model", "version"})
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_SHOWN = 12
_EXPECTED = 'expected a series like `requests_total` or `requests_total{{code="200"}}`, but got {!r}'


class BadExposition(ValueError):
    """A text that is no Prometheus exposition; the message shows where."""


class NoSuchSeries(ValueError):
    """A name that an exposition does not have; the message says what it has."""


@dataclass(frozen=True)
class Selector:
    """Which series are meant.

    Attributes:
        name: as it stands in the exposition, `_total`, `_sum`, `_count` and `_bucket` included.
        labels: that a series must have; it may have others.
    """

    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Exposition:
    """What an exposition says.

    Attributes:
        series: name -> (labels, value) of each of its series.
        declared: names that it has a `# TYPE` or `# HELP` of: a counter with labels has no series before it counts.
        growing: names of series that count.
    """

    series: Mapping[str, Sequence[tuple[Mapping[str, str], float]]]
    declared: frozenset[str]
    growing: frozenset[str] = frozenset()

    def value(self, selector: Selector) -> float | None:
        """Return the sum of the series that a selector means; None where there is none of them yet.

        Values that are no finite number do not count.

        Raises:
            NoSuchSeries: the exposition does not have the name at all.
        """
        # The parser writes every counter with `_total`, also one that the server names without.
        found = self.series.get(selector.name) or self.series.get(f"{selector.name}_total")
        if found is None:
            if selector.name in self.declared:
                return None
            raise NoSuchSeries(self._unknown(selector.name))
        values = [value for labels, value in found if selector.labels.items() <= labels.items() and isfinite(value)]
        return sum(values) if values else None

    def _unknown(self, name: str) -> str:
        close = get_close_matches(name, self.series, n=1)
        if close:
            return f"the server's metrics have no `{name}`; did you mean `{close[0]}`?"
        names = sorted(self.series)
        more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return f"the server's metrics have no `{name}`; there are: {', '.join(names[:_SHOWN]) or 'none'}{more}"


def parse(text: bytes) -> Exposition:
    """Parse an exposition in the text format.

    Raises:
        BadExposition: it is none.
    """
    series: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
    declared: set[str] = set()
    growing: set[str] = set()
    try:
        for family in text_string_to_metric_families(text.decode("utf-8")):
            declared.update(f"{family.name}{suffix}" for suffix in _SUFFIXES)
            for sample in family.samples:
                series[sample.name].append((sample.labels, float(sample.value)))
                if family.type == "counter" or (family.type in _SUMMED and sample.name != family.name):
                    growing.add(sample.name)
    except (ValueError, IndexError) as error:
        raise BadExposition(f"not in Prometheus' text format ({error}); it begins with {text[:60]!r}") from None
    return Exposition(dict(series), frozenset(declared), frozenset(growing))


def told(text: bytes, models: Mapping[str, str] | None = None) -> list[Told]:
    """Return the numbers of an exposition, those that are finite; of histograms and summaries sum and count.

    Args:
        text: the exposition.
        models: name that the server has a model by -> the name it is told by. A series that names model and version
            is left out unless the model is one of these. None: all series are told as they are.

    Raises:
        TargetError: it is no exposition.
    """
    try:
        found = parse(text)
    except BadExposition as error:
        raise TargetError(f"the server's metrics: {error}") from None
    return [
        Told(_written(name, named, text), value, name in found.growing)
        for name, series in found.series.items()
        for labels, value in series
        if isfinite(value)
        and not any(part in labels for part in _PARTS)
        and (named := _named(labels, models)) is not None
    ]


def _named(labels: Mapping[str, str], models: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Return labels with the user's name of the model; None where it is another model's series."""
    if models is None or not labels.keys() >= _OF_MODEL:
        return labels
    own = models.get(labels["model"])
    return None if own is None else {**labels, "model": own}


def _written(name: str, labels: Mapping[str, str], text: bytes) -> str:
    """Return a series as the server writes it: the parser ends the name of every counter with `_total`."""
    name = name if name.encode() in text else name.removesuffix("_total")
    inside = ",".join(f'{label}="{value.translate(_ESCAPES)}"' for label, value in labels.items())
    return f"{name}{{{inside}}}" if inside else name


def selector(text: str) -> Selector:
    """Return what `NAME` or `NAME{label="value"}` means.

    Raises:
        ValueError: it is neither.
    """
    try:
        (family,) = text_string_to_metric_families(f"{text.strip()} 0\n")
        (sample,) = family.samples
    except (ValueError, IndexError):
        raise ValueError(_EXPECTED.format(text)) from None
    if sample.timestamp is not None:  # `NAME 5`: a series and its value
        raise ValueError(_EXPECTED.format(text))
    return Selector(sample.name, sample.labels)

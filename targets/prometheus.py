"""A Prometheus text exposition: the numbers that a server gives of itself, found by name and labels."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite

from prometheus_client.parser import text_string_to_metric_families

_SUFFIXES = ("", "_total", "_sum", "_count", "_bucket")
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
    """

    series: Mapping[str, Sequence[tuple[Mapping[str, str], float]]]
    declared: frozenset[str]

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
    try:
        for family in text_string_to_metric_families(text.decode("utf-8")):
            declared.update(f"{family.name}{suffix}" for suffix in _SUFFIXES)
            for sample in family.samples:
                series[sample.name].append((sample.labels, float(sample.value)))
    except (ValueError, IndexError) as error:
        raise BadExposition(f"not in Prometheus' text format ({error}); it begins with {text[:60]!r}") from None
    return Exposition(dict(series), frozenset(declared))


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

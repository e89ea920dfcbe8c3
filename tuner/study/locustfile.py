"""The shape of a workload that a locustfile describes."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from targets.options import Duration, Section
from tuner.study.names import WorkloadName
from tuner.study.own_code import imported_beside
from tuner.study.quantities import Rate
from tuner.study.slo import BoundsSpec

OTHERS = "other"
"""The class of the requests that no class of the study has."""
_CONFIGURATIONS = ("locust.conf", "pyproject.toml")
_TOLD_BY_IT = ("arrival", "requests", "mix", "repeats", "sequences", "connections", "keep_alive")


class NamedSpec(Section):
    """A class of a locustfile's requests."""

    names: list[str] = Field(
        default=[], description="of its requests in Locust, like `/search` or `POST /search`; its own name if absent"
    )
    slo: BoundsSpec = Field(BoundsSpec(), description="bounds of its own; a metric named here is judged class by class")


class LocustSpec(Section):
    """Traffic that a locustfile describes."""

    locustfile: Path = Field(description="the file, relative to the study file; in place of `arrival` and `requests`")
    users: int | None = Field(None, ge=1, le=65536, description="how many; `space.users` if absent")
    spawn_rate: Rate | None = Field(
        None, description="users that begin per second, in the warm-up; all at once if absent"
    )
    host: Literal["deployment", "own"] = Field(
        "deployment", description="`deployment`: users ask what is tuned; `own`: they keep the host of the locustfile"
    )
    classes: dict[WorkloadName, NamedSpec] = Field(
        default={}, description="requests that have results of their own, by their names in Locust"
    )
    model: str | None = Field(None, description="with `target.models`: the one that is asked")
    slo: BoundsSpec = Field(BoundsSpec(), description="bounds of its own, each in place of the study's on that metric")
    timeout: Duration = Field(
        2.0, gt=0, description="so long after the end of the load users may finish their tasks; then they are ended"
    )

    @model_validator(mode="before")
    @classmethod
    def _says_it_once(cls, data: object) -> object:
        for key in (one for one in _TOLD_BY_IT if isinstance(data, dict) and one in data):
            hint = "a locustfile says what is sent and when; take one of them out"
            raise PydanticCustomError("unknown_key", "{hint}", {"key": key, "hint": hint})
        return data

    @property
    def sequences(self) -> None:
        """A locustfile's requests belong to none that Paretune knows."""
        return None

    @property
    def mix(self) -> Mapping[str, NamedSpec] | None:
        """Its classes, with one for all other requests; None where the study names none."""
        return {**self.classes, OTHERS: self.classes.get(OTHERS, NamedSpec())} if self.classes else None

    def names(self) -> tuple[tuple[str, ...], ...]:
        """Return the names of each class of the study; what has none of them is of the class after these."""
        return tuple(tuple(one.names or [name]) for name, one in self.classes.items() if name != OTHERS)

    def files(self) -> list[Path]:
        """Return the files that the traffic is read from."""
        return [self.locustfile]

    def files_of_these(self, resolve: Callable[[Path], Path]) -> list[Path]:
        """Return what belongs to the locustfile in its folder: modules that it imports, and Locust's configuration.

        Args:
            resolve: makes a path of the study an absolute one.
        """
        file = resolve(self.locustfile)
        return [*imported_beside(file), *filter(_configures_locust, map(file.with_name, _CONFIGURATIONS))]


def _configures_locust(path: Path) -> bool:
    """Whether Locust reads options from a file: of a project's only the table `tool.locust` is its own."""
    return path.is_file() and (path.suffix != ".toml" or b"tool.locust" in path.read_bytes())

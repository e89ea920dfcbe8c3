"""The shape of a study's `target` section: what every kind has, and what its own options are made of."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from workloads.units import parse_duration

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^\s*\d+(\.\d+)?\s*(ns|us|µs|ms|s|min|h)\s*$",
            "examples": ["10 ms", "2 s"],
        }
    ),
]


class Section(BaseModel):
    """A mapping of the study file; an unknown key is an error that names a close one."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _suggest_for_unknown_keys(cls, data: object) -> object:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    close = get_close_matches(str(key), cls.model_fields, n=1)
                    hint = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(cls.model_fields)}"
                    raise PydanticCustomError("unknown_key", "unknown key `{key}`; {hint}", {"key": key, "hint": hint})
        return data


@dataclass(frozen=True)
class ServerMetric:
    """A number that this kind of server gives of itself; it can be an objective and have a bound.

    Attributes:
        name: as a study spells it, in objectives and under `slo`.
        unit: `s`, `/s`, `bytes`, `tokens`, `share` (0 to 1), or "" for a count.
        doc: one line.
        kind: `gauge`: the mean of the readings in the window; `rate`: how much a counter grew per second of it;
            `ratio`: how much one counter grew per unit that another grew.
        reading: the gauge or the counter.
        per: `ratio`: the other counter.
        better: what an objective may ask for; None where neither is better for its own sake.
        idle: `ratio`: its value where the other counter did not grow; None: it has none then.
    """

    name: str
    unit: str
    doc: str
    kind: Literal["gauge", "rate", "ratio"]
    reading: str
    per: str = ""
    better: Literal["more", "less"] | None = None
    idle: float | None = None


class TargetOptions(Section):
    """The server that is tuned: what every kind of target is told. A kind adds its own keys in a subclass."""

    kind: str = Field(description="kind of target, e.g. `triton`; `tune doctor` lists the installed ones")
    apply_timeout: Duration = Field(60.0, gt=0, description="how long a start or a change may take")

    @property
    def url_key(self) -> str | None:
        """Name of the option with the URL of the server that is asked; None: Paretune starts it, for its host alone.

        It is `url` where that is given; a kind whose URL has another name says so.
        """
        return "url" if getattr(self, "url", None) else None

    @property
    def gpus_key(self) -> str | None:
        """Name of the option with the URL where a server that runs already tells of its GPUs; None: it does not."""
        return None

    @property
    def tells_gpus(self) -> bool:
        """Whether a server that runs already is to be asked of its GPUs."""
        return self.gpus_key is not None and getattr(self, self.gpus_key) is not None

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs of the server that runs already; () where Paretune starts it."""
        return () if self.url_key is None else (str(getattr(self, self.url_key)),)

    @property
    def asked_by(self) -> tuple[str, ...]:
        """Keys that say how a server which runs already is asked: two studies of it that differ in none are the same.

        A kind that changes what the server has gives none: there two studies are always in each other's way.
        """
        return tuple(name for name in type(self).model_fields if name not in ("kind", "apply_timeout", self.url_key))

    @property
    def ports(self) -> Mapping[str, int]:
        """Key -> port that the server has from its start on, where the study names some: none beside it can have them.

        One that each deployment has for as long as it lasts is none of these.
        """
        return {}

    @property
    def keeps_connections(self) -> bool:
        """Whether requests share connections, so that there cannot be a new one for each."""
        return False

    @property
    def streams(self) -> bool:
        """Whether answers are streamed token by token."""
        return False

    @property
    def takes_priority(self) -> bool:
        """Whether requests can have a priority in the server's queue."""
        return False

    @property
    def several(self) -> tuple[str, ...]:
        """Names of the models that the server has at once, each asked by workloads of its own; () for a single one."""
        return ()

    @property
    def takes_sequences(self) -> bool:
        """Whether requests can belong to sequences, each with a state on the server."""
        return False

    @property
    def hub_model(self) -> str | None:
        """The model, where the server fetches one of that name from a hub unless it is a file or folder; else None."""
        return None

    def metrics(self) -> Sequence[ServerMetric]:
        """Return what the server's statistics give beyond what all servers have."""
        return ()

    def metrics_with(self, knobs: Collection[str]) -> Sequence[ServerMetric]:  # noqa: ARG002 - for those that need it
        """Return the same for a study that sets these knobs."""
        return self.metrics()

    def files(self) -> Sequence[Path]:
        """Return the files and folders that the server reads: a run is not resumed once one of them has changed."""
        return ()

    def files_of_these(self, resolve: Callable[[Path], Path]) -> Sequence[Path]:  # noqa: ARG002 - for those who need it
        """Return further files and folders that the server reads because those of `files` say so.

        Args:
            resolve: makes a path of these options an absolute one.
        """
        return ()

    def secrets(self) -> Sequence[str]:
        """Return the names of the environment variables that these options refer to: their values are never stored."""
        return ()

"""Several models of one repository on one server of ours: each has its knobs, all are loaded together."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from targets.base import (
    Config,
    ConfigRefused,
    Context,
    Endpoint,
    Export,
    Exposed,
    Knob,
    ServerCounters,
    TargetError,
    Value,
)
from targets.triton import flags as flags_of
from targets.triton import rules
from targets.triton.composed import has_ensemble
from targets.triton.deployment import TritonDeployment
from targets.triton.exporting import ALL_GPUS
from targets.triton.options import TritonOptions
from targets.triton.target import VERIFIED, TritonTarget
from workloads.requests import Requests

_Made = TypeVar("_Made")


class _Member(TritonTarget):
    """One of the models; the server and what is known of the repository belong to all.

    Args:
        options: of this model.
        context: where the target runs.
        together: the models so far; this one joins them.
    """

    def __new__(cls, options: TritonOptions, context: Context, together: "list[_Member]") -> "_Member":  # noqa: ARG004
        """Make one, whatever the launch."""
        return object.__new__(cls)

    def __init__(self, options: TritonOptions, context: Context, together: "list[_Member]") -> None:
        self._together = together
        together.append(self)
        super().__init__(options, context)
        first = together[0]
        if first is not self:
            first._models.update(self._models)
            self._models, self._fleet, self._log = first._models, first._fleet, first._log
            self._memories = first._memories

    def _offer(self) -> rules.Offer:
        """Return what the server has: what any of the models needs."""
        own = [TritonTarget._offer(one) for one in self._together]
        return replace(
            own[0],
            response_cache=any(one.response_cache for one in own),
            rate_limit=any(one.rate_limit for one in own),
        )

    def _needed(self) -> list[Path]:
        """Return what the server needs for any of the models."""
        return list(dict.fromkeys(path for one in self._together for path in TritonTarget._needed(one)))

    def began(self) -> None:
        """Take note that the server was started."""
        self._started = True

    def load_exported(self, export: Export, requests: Requests) -> TritonDeployment:
        """Load this model's file of an export as it is, and ask it once."""
        server = self._server_for(flags_of.from_text(export.files.get(flags_of.FILE, "")), VERIFIED)
        path = self.file_in(export)
        return self._loaded_as_it_is(server, path, export.files[path], requests)

    def file_in(self, export: Export) -> Path:
        """Return the path of this model's file in an export."""
        return next(one for one in export.files if one != flags_of.FILE and one.parent.name in self._names())

    def _names(self) -> frozenset[str]:
        """The models that stand for this one: it, and those that variants of it are."""
        return frozenset({self._user.name, *(self._base(name)[0].name for name in self._options.variants)})


class SeveralTriton(TritonTarget):
    """Triton with several models at once. A knob of one of them is called `MODEL.KNOB`; flags are the server's.

    Raises:
        TargetError: the repository, one of the models, a flag or a variant cannot be used.
    """

    loads_together: ClassVar = False

    def __init__(self, options: TritonOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._started = False
        self._expected = ()
        together: list[_Member] = []
        for name in options.models:
            if has_ensemble(options.of_model(name), context):
                raise TargetError(f"target.models.{name}: is an ensemble; tune it alone, as `target.model`")
        self._members = {name: _Member(options.of_model(name), context, together) for name in options.models}
        self._first = together[0]
        served: dict[str, str] = {}
        for name, member in self._members.items():
            for one in sorted(member._names()):
                if served.setdefault(one, name) != name:
                    raise TargetError(
                        f"target.models.{name}: {one!r} already stands for {served[one]!r}; a model can be there once"
                    )

    def knobs(self) -> Sequence[Knob]:
        """The knobs of each model, and then those of the server."""
        found: list[Knob] = []
        for name, member in self._members.items():
            for knob in member.knobs():
                if knob.name not in flags_of.NAMES:
                    named = knob.choices_from.replace("target.variants", f"target.models.{name}.variants")
                    # What each batches says nothing of how they get in each other's way: nothing simulates that.
                    found.append(
                        replace(
                            knob,
                            name=f"{name}.{knob.name}",
                            place=("models", name, knob.name),
                            choices_from=named,
                            role="",
                        )
                    )
        return [*found, *(knob for knob in self._first.knobs() if knob.name in flags_of.NAMES)]

    def expect(self, knobs: Sequence[str]) -> None:
        """Take note of the knobs that a study sets."""
        self._expected = tuple(knobs)
        for name, member in self._members.items():
            member.expect(tuple(self._own(name, dict.fromkeys(knobs, 0))))

    def check(self, config: Config) -> None:
        """Check every model's configuration by Triton's rules. Raises ConfigRefused naming rule and model."""
        for name, member in self._members.items():
            _refused_of(name, member.check, self._own(name, config))

    def user_config(self) -> Config:
        """Return what the user's files and flags give the knobs of every model and of the server."""
        values: dict[str, Value] = {}
        for name, member in self._members.items():
            for knob, value in member.user_config().items():
                values[knob if knob in flags_of.NAMES else f"{name}.{knob}"] = value
        return values

    def check_requests(self, requests: Requests) -> None:
        """Check requests to the first model."""
        self._first.check_requests(requests)

    def check_model(self, name: str, requests: Requests) -> None:
        """Check requests to one of the models."""
        self._members[name].check_requests(requests)

    def start(self) -> None:
        """Start tritonserver with the user's own flags; an old one is stopped first."""
        self._first.start()
        for member in self._members.values():
            member.began()

    def deploy(self, config: Config, alias: str) -> "SeveralTritonDeployment":  # type: ignore[override]
        """Load every model as `MODEL__ALIAS` and read back that each is the one asked for."""
        loaded: dict[str, TritonDeployment] = {}
        try:
            for name, member in self._members.items():
                loaded[name] = _refused_of(name, member.deploy, self._own(name, config), alias)
        except ConfigRefused:
            for one in loaded.values():
                with suppress(TargetError):
                    one.retire()
            raise
        return SeveralTritonDeployment(config, loaded)

    def settle(self) -> None:
        """Wait until the instances that were retired have ended; the server is that of all models."""
        self._first.settle()

    def alive(self) -> bool:
        """Whether the server runs and answers."""
        return self._first.alive()

    def export(self, config: Config) -> Export:
        """Return each model's config.pbtxt with the tuned fields changed, and the flags where there are any."""
        made = {name: member.export(self._own(name, config)) for name, member in self._members.items()}
        first, *others = made.values()
        on_gpus = [one.start for one in made.values() if one.start is not None and ALL_GPUS in one.start.docker]
        files, originals = dict(first.files), dict(first.originals)
        places, folders = dict(first.places), dict(first.folders)
        for one in others:
            files |= one.files
            originals |= one.originals
            places |= one.places
            folders |= one.folders
        for texts, told in ((files, [one.files for one in made.values()]),
                            (originals, [one.originals for one in made.values()])):  # fmt: skip
            if flags := flags_of.together(one.get(flags_of.FILE, "") for one in told):
                texts[flags_of.FILE] = flags
        return replace(
            first,
            files=files,
            originals=originals,
            # A model that keeps its configuration was not tuned: its file stays as it is.
            commented=frozenset(
                path for one in made.values() for path in one.commented if files[path] != originals.get(path)
            ),
            places=places,
            folders=folders,
            start=on_gpus[0] if on_gpus else first.start,
            flags=tuple(dict.fromkeys(flag for one in made.values() for flag in one.flags)),
            takes_effect="have each model loaded again with `--reload URL`, or restart the server",
        )

    def verify(self, export: Export, requests: Requests) -> None:  # noqa: ARG002 - the contract has them
        """Refuse: each model has requests of its own, see `verify_all`."""
        raise TargetError("an export of several models is verified with requests to each of them")

    def verify_all(self, export: Export, requests: Mapping[str, Requests]) -> None:
        """Load the exported files as they are, all together, compare each with what is loaded, and ask each once."""
        loaded = [member.load_exported(export, requests[name]) for name, member in self._members.items()]
        for one in loaded:
            one.retire()

    def verify_copy(self, folder: Path, export: Export, requests: Mapping[str, Requests]) -> None:
        """Start a server on a copied repository with the exported flags, compare what it loads, and ask each once."""
        with self._first._server_on(folder, export) as server:
            for name, member in self._members.items():
                member._ask_copied(server, folder, [member.file_in(export)], requests[name])

    def environment(self) -> Mapping[str, str]:
        """Return the server's version, where it was found, and the models that it has at once."""
        return {**self._first.environment(), "models": ", ".join(self._members)}

    def stop(self) -> None:
        """Stop every server."""
        for member in self._members.values():
            member.stop()

    @staticmethod
    def _own(model: str, config: Config) -> dict[str, Value]:
        """Return a model's part of a configuration, and the server's, by the names that a single model has."""
        start = f"{model}."
        return {
            knob.removeprefix(start): value
            for knob, value in config.items()
            if knob.startswith(start) or knob in flags_of.NAMES
        }


def _refused_of(model: str, make: Callable[..., _Made], *given: object) -> _Made:
    """Do something for a model; what is refused then names it."""
    try:
        return make(*given)
    except ConfigRefused as error:
        whole, *parts = (
            ConfigRefused(f"{model}: {one}", tuple(f"{model}.{knob}" for knob in one.knobs))
            for one in (error, *error.parts)
        )
        raise ConfigRefused(str(whole), whole.knobs, parts) from None


@dataclass
class SeveralTritonDeployment:
    """Several models that were loaded together; by itself it is the first of them."""

    config: Config
    _loaded: Mapping[str, TritonDeployment]

    def of_model(self, name: str) -> TritonDeployment:
        """Return what is loaded of one of the models."""
        return self._loaded[name]

    @property
    def _first(self) -> TritonDeployment:
        return next(iter(self._loaded.values()))

    def endpoint(self, requests: Requests) -> Endpoint:
        """Encode requests to the first model."""
        return self._first.endpoint(requests)

    def outputs(self, answer: bytes) -> Mapping[str, NDArray[np.generic]]:
        """Decode an answer of the first model."""
        return self._first.outputs(answer)

    def processes(self) -> Sequence[int]:
        """Return the server's processes: they serve all models."""
        return self._first.processes()

    def statistics(self) -> Callable[[], ServerCounters]:
        """Read Triton's statistics of the first model."""
        return self._first.statistics()

    def exposed(self) -> Exposed:
        """Return how the server's metrics are read: of all of the models."""
        names = {alias: model for one in self._loaded.values() for alias, model in one.models.items()}
        return self._first.exposed(names)

    def retire(self) -> None:
        """Unload all of them."""
        for one in self._loaded.values():
            one.retire()

"""A Triton whose model answers with others: checked, read and written with them. How they are loaded differs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from targets.base import Config, Context, Export, Knob, TargetError, Value
from targets.triton import asking, ensemble, loading, rules
from targets.triton import config as model_config
from targets.triton import flags as flags_of
from targets.triton.asking import Base
from targets.triton.ensemble import Part
from targets.triton.options import TritonOptions
from targets.triton.repository import CONFIG_NAME, UserModel, check_name, read_model
from targets.triton.target import TritonTarget

Read = Callable[[str], UserModel]


class TritonWithParts(TritonTarget):
    """Triton with a model and those that it needs; a knob of one of them is called `MODEL.KNOB`.

    Raises:
        TargetError: as its base, and where one of the models is not in the repository.
    """

    def __init__(self, options: TritonOptions, context: Context) -> None:
        self._composing: dict[str, Part] = {}
        super().__init__(options, context)
        if lacking := {name: (part.model, part.config) for name, part in self._others().items() if not part.model.text}:
            self._models.update(self._completed_others(lacking))
        self._composing = self._others()

    def _others(self) -> dict[str, Part]:
        """Return the other models of all variants by their names, the model itself not among them."""
        parts = [part for variant in (None, *self._options.variants) for part in self._parts(*self._base(variant))]
        return {part.name: part for part in parts if not part.top}

    def _completed_others(self, lacking: Mapping[str, Base]) -> Mapping[str, UserModel]:
        """Return models without a config.pbtxt with what Triton completes of them; none where it cannot be asked.

        They are loaded all the same then, but have no knobs.
        """
        start = partial(self._start_server, self._usual_flags, True)
        found: dict[str, UserModel] = {}
        for name, base in lacking.items():
            with suppress(TargetError):
                found |= asking.completed_by(start, {name: base}, self._log.path.parent)
        return found

    def _parts(self, model: UserModel, config: model_config.ModelConfig, read: Read | None = None) -> tuple[Part, ...]:
        """Return what a model needs, in the order in which it can be loaded: the model itself is the last.

        Args:
            model: that requests ask for.
            config: of it.
            read: gives the other models; None: they are the user's own.
        """
        return ensemble.parts_of(model, config, read or self._composing_model)

    def _composing_model(self, name: str) -> UserModel:
        """Return a model of the repository; one without a config.pbtxt is Triton's to complete."""
        directory = self._repository() / name
        if name not in self._models and directory.is_dir() and not (directory / CONFIG_NAME).exists():
            self._models[name] = UserModel(name, directory, "", model_config.ModelConfig())
        elif name not in self._models:
            check_name(name)
            text, parsed = read_model(self._repository(), name, self._context.texts)
            self._models[name] = UserModel(name, directory, text, parsed)
        return self._models[name]

    def knobs(self) -> Sequence[Knob]:
        """Every knob of the model, then those of each other one."""
        own = [replace(knob, role="") for knob in super().knobs()]
        composing = self._composing.values()
        return [*own, *(knob for part in composing for knob in ensemble.knobs_of(part, self._gpus))]

    def user_config(self) -> Config:
        """Return what the user's files and flags give the knobs, those of the other models among them."""
        values: dict[str, Value] = dict(super().user_config())
        for part in self._composing.values():
            values |= ensemble.values_of(part, self._expected)
        return values

    def _offer(self) -> rules.Offer:
        own, composing = super()._offer(), _configs(self._composing.values())
        needed = rules.offer_for(ensemble.bare(self._expected), composing, self._gpus)
        return replace(
            own,
            response_cache=own.response_cache or needed.response_cache,
            rate_limit=own.rate_limit or needed.rate_limit,
        )

    def _own_configs(self) -> Sequence[model_config.ModelConfig]:
        return _configs(self._parts(*self._base(None)))

    def _configs_for(self, config: Config) -> Sequence[model_config.ModelConfig]:
        return _configs(self._elsewhere(config))

    def _wanted(self, config: Config, offer: rules.Offer | None = None) -> tuple[UserModel, model_config.ModelConfig]:
        top = self._assembled(config, offer)[-1]
        return top.model, top.config

    def _assembled(self, config: Config, offer: rules.Offer | None = None) -> list[Part]:
        """Return the models of a configuration, in the order in which they can be loaded. Raises ConfigRefused."""
        variant = config.get("precision")
        parts = self._parts(*self._base(None if variant is None else str(variant)))
        offered = offer or self._offer_to(config)
        found = [ensemble.changed(part, config, offered) for part in parts]
        ensemble.check_together(found)
        return found

    def _elsewhere(self, config: Config) -> list[Part]:
        """Return the same for a server on another machine, whose GPUs are not known."""
        return self._assembled(config, replace(self._offer_to(config), gpus=None))

    def export(self, config: Config) -> Export:
        """Return config.pbtxt of every other model that is to change, and that of the model itself behind them."""
        whole, parts = super().export(config), self._elsewhere(config)
        texts = {part.name: loading.rewritten(part.model, part.config) for part in parts[:-1] if part.model.known}
        changed = [part for part in parts[:-1] if part.model.known and texts[part.name] != part.model.text]
        paths = {part.name: Path(part.name) / CONFIG_NAME for part in parts}
        top = paths[parts[-1].name]
        return replace(
            whole,
            start=self._start_of(*(part.config for part in parts)),
            files={**{paths[part.name]: texts[part.name] for part in changed}, **whole.files},
            originals={**{paths[part.name]: part.model.text for part in changed}, **whole.originals},
            places={**{paths[part.name]: part.model.directory / CONFIG_NAME for part in changed}, **whole.places},
            commented=frozenset(
                [*(paths[part.name] for part in changed), *([top] if whole.files[top] != whole.originals[top] else [])]
            ),
        )

    def _exported(self, export: Export) -> tuple[Part, ...]:
        """Return the models with what the files of an export say, and with the user's own of what did not change."""
        texts = {path.parent.name: text for path, text in export.files.items() if path != flags_of.FILE}

        def read(name: str) -> UserModel:
            model, text = self._composing_model(name), texts.get(name)
            path = model.directory / CONFIG_NAME
            if text is None:
                return model
            return replace(model, text=text, config=model_config.parse(text, path), completion=None)

        top = read(list(texts)[-1])
        return self._parts(top, top.config, read)


def _configs(parts: Iterable[Part]) -> list[model_config.ModelConfig]:
    """Return the configurations that a server has to offer something for: all but those that stay as they are."""
    return [part.config for part in parts if not part.fixed]

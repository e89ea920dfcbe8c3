"""Models of a Triton that runs already: what each has, how it gets something else, and what it had at the start."""

import json
from collections.abc import Mapping, Sequence

from targets.base import ConfigRefused, ServerDied, TargetError
from targets.kserve.control import Control
from targets.triton import config as model_config
from targets.triton.ensemble import is_ensemble

LEAVING_S = 1.2
"""What an instance of the Python backend takes to end."""


class ServedModels:
    """Models that are loaded with other configurations under their own names: one, or an ensemble and what it needs.

    A composing model is loaded by itself; Triton then checks its ensemble again and goes on with the new one. When an
    ensemble is loaded Triton looks at the files of its composing models: one whose files are newer than what was loaded
    over them gets its own file's configuration back. So what all of them have is looked at after every change.

    Args:
        control: of the server.
        names: of the models; composing models before their ensemble.
        timeout_s: how long a model may take to be loaded.
        missing: one of them may be not loaded; there is nothing that it had at the start.
        original: what they had at the start, where an earlier one of these could not give it back to them.

    Attributes:
        original: model -> configuration that it had at the start.

    Raises:
        TargetError: one of them is not loaded, or the server does not answer.
    """

    def __init__(
        self,
        control: Control,
        names: Sequence[str],
        timeout_s: float,
        *,
        missing: bool = False,
        original: Mapping[str, model_config.ModelConfig] | None = None,
    ) -> None:
        self._control, self._timeout_s = control, timeout_s
        may_miss = missing or original is not None
        has = {name: self._found(name) if may_miss else _config(control, name) for name in names}
        self._has: dict[str, model_config.ModelConfig | None] = has
        loaded = {name: config for name, config in has.items() if config is not None}
        self.original = dict(loaded if original is None else original)
        # What each was loaded with, or the server says of it; "" where that is not known, or it is not loaded.
        self._texts = dict.fromkeys(names, "") | self._in_json(loaded)

    def config(self, name: str) -> model_config.ModelConfig:
        """Return what a model has now. Raises ConfigRefused where it is not loaded."""
        found = self._has[name]
        if found is None:
            raise ConfigRefused(f"{name}: the server has it no more")
        return found

    def differ(self, wanted: Mapping[str, model_config.ModelConfig]) -> bool:
        """Whether any of the models has to be loaded for these configurations."""
        return any(self._texts[name] != text for name, text in self._in_json(wanted).items())

    def bring(self, wanted: Mapping[str, model_config.ModelConfig]) -> float:
        """Load configurations; a model that has its own already is left alone.

        Args:
            wanted: model -> its configuration; composing models before their ensemble.

        Returns:
            How long the instances that were replaced take to end, in seconds.

        Raises:
            ConfigRefused: the server refuses one; as far as it lets them, all have again what they had before.
            ServerDied: it does not answer.
        """
        texts, had = dict(self._texts), dict(self._has)
        try:
            self._load_all(self._in_json(wanted))
        except ConfigRefused as refused:
            try:
                self._load_all({name: text for name, text in texts.items() if text}, onward=True)
            except ConfigRefused as error:
                raise ConfigRefused(f"{refused}; what was loaded before is refused, too: {error}") from None
            raise
        return _leaving_s(had, self._has)

    def restore(self) -> str:
        """Give all models what they had at the start; return what went wrong, "" for nothing."""
        wanted = self._in_json(self.original)
        if not self.differ(self.original):
            return ""
        try:
            self._load_all(wanted, onward=True)
        except TargetError as error:
            return str(error)
        same = all(self._has[name] == config for name, config in self.original.items())
        return "" if same else "the server has another one all the same"

    def _load_all(self, texts: Mapping[str, str], *, onward: bool = False) -> None:
        """Load what differs; once more where Triton took a model's own file meanwhile.

        Args:
            texts: model -> what it is to have.
            onward: the others are loaded though one of them is refused.
        """
        for attempt in range(2):
            refused: ConfigRefused | None = None
            for name in self._in_order(texts):
                if self._texts[name] == texts[name]:
                    continue
                try:
                    self._load(name, texts[name])
                except ConfigRefused as error:
                    refused = refused or error
                    if not onward:
                        break
            lost = [name for name in self._look() if self._has[name] is not None]
            if refused is not None and (attempt or not lost):
                raise refused
            if all(self._texts[name] == text for name, text in texts.items()):
                return
        others = ", ".join(name for name, text in texts.items() if self._texts[name] != text)
        raise ConfigRefused(f"{others}: the server did not keep the configuration that was loaded")

    def _in_order(self, texts: Mapping[str, str]) -> list[str]:
        """Return the models so that no ensemble's batches are ever larger than those of what it is composed of."""
        falls = [name for name, text in texts.items() if _batch(text) < _batch(self._texts[name])]
        return [*(name for name in texts if name not in falls), *reversed(falls)]

    def _load(self, name: str, text: str) -> None:
        before, self._texts[name] = self._texts[name], ""
        try:
            self._control.load(name, text, self._timeout_s)
        except ServerDied:
            raise
        except TargetError as error:
            # Alone it goes on as it was. What is refused of several is loaded again: Triton checks ensembles by it.
            self._texts[name] = before if len(self._has) == 1 else ""
            raise ConfigRefused(str(error)) from None
        self._has[name] = self._found(name)
        self._texts[name] = text if self._has[name] is not None else ""

    def _look(self) -> list[str]:
        """Look what the models have, and return those that have something else than was known."""
        other = []
        for name, known in self._has.items():
            now = self._found(name)
            if now != known:
                self._texts[name] = "" if now is None else model_config.to_json(now, name)
                other.append((name, now))
        self._has.update(other)
        return [name for name, _ in other]

    def _found(self, name: str) -> model_config.ModelConfig | None:
        """Return what a model has, None where it is not loaded."""
        try:
            return _config(self._control, name)
        except ServerDied:
            raise
        except TargetError:
            return None

    @staticmethod
    def _in_json(configs: Mapping[str, model_config.ModelConfig]) -> dict[str, str]:
        return {name: model_config.to_json(config, name) for name, config in configs.items()}


def _config(control: Control, name: str) -> model_config.ModelConfig:
    return model_config.from_loaded(control.config(name))


def _batch(text: str) -> int:
    """Return the largest batch of a configuration in JSON, 0 where there is none."""
    return int(json.loads(text).get("max_batch_size", 0)) if text else 0


def _leaving_s(
    had: Mapping[str, model_config.ModelConfig | None], has: Mapping[str, model_config.ModelConfig | None]
) -> float:
    """Return how long the instances of models that were replaced take to end: from here that is not to be seen.

    The Python backend takes a second for each, one after the other, and the end of its process (python_backend,
    src/python_be.cc, ModelInstanceState). With an ensemble its composing models may have been loaded anew as well.
    """
    before = {name: config for name, config in had.items() if config is not None}
    replaced = [config for name, config in before.items() if not _kept(config, has[name])]
    gone = before.values() if any(map(is_ensemble, replaced)) else replaced
    return sum(LEAVING_S * model_config.instances_of(one) for one in gone if one.backend == "python")


def _kept(before: model_config.ModelConfig, now: model_config.ModelConfig | None) -> bool:
    return now is not None and model_config.only_instances(before, now)


def not_restored(models: Sequence[str], wrong: str) -> str:
    """Say that models have not what they had, and what to do."""
    if len(models) == 1:
        what, remedy = f"configuration that model {models[0]!r}", "the model and load it"
    else:
        what, remedy = f"configurations that models {', '.join(map(repr, models))}", "the models and load them"
    return f"the {what} had at the start could not be loaded again: {wrong}; unload {remedy} again"

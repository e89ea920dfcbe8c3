"""A Triton that runs already and whose model is an ensemble, or calls others: these are tuned with it."""

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from google.protobuf import text_format

from targets.base import Config, Context, Export, ServerDied, TargetError
from targets.kserve.site import control_of, site_of, tls_of
from targets.triton import also
from targets.triton import config as model_config
from targets.triton.asking import Base
from targets.triton.completion import Completion, completed
from targets.triton.composed import ComposedTriton, has_ensemble
from targets.triton.ensemble import Part, is_ensemble
from targets.triton.options import TritonOptions
from targets.triton.remote import RemoteTriton, reached
from targets.triton.remote_deployment import RemoteDeployment
from targets.triton.repository import UserModel
from targets.triton.served import ServedModels
from targets.triton.with_parts import Read


def serves_ensemble(options: TritonOptions, context: Context) -> bool:
    """Whether the model of a study is an ensemble by the user's file, or without one by what the server says.

    False where that cannot be read: the target says so when it is made.
    """
    if options.repository is not None:
        return has_ensemble(options, context)
    try:
        place = reached(options, options.url or options.grpc_url)
        with closing(control_of(place, site_of(place, tls_of(place, context)))) as control:
            return is_ensemble(model_config.from_loaded(control.config(options.model)))
    except TargetError:
        return False


class RemoteComposed(RemoteTriton, ComposedTriton):
    """An ensemble, or a model that calls others, on a Triton found by its URLs.

    Every model has its own name there, so whoever asks a composing model by itself gets what is tried as well. What
    they had at the start is loaded again at the end, also of those that share a composing model.

    Raises:
        TargetError: as its bases, and where a composing model is not known to the server, or not in the repository.
    """

    def _parts(self, model: UserModel, config: model_config.ModelConfig, read: Read | None = None) -> tuple[Part, ...]:
        own = super()._parts(model, config, read)
        called = also.parts(self._options.also, read or self._composing_model)
        return (*(part for part in called if part.name not in [one.name for one in own]), *own)

    def _composing_model(self, name: str) -> UserModel:
        """Return the user's files of a composing model, or without a repository what the server says."""
        if self._options.repository is not None:
            return super()._composing_model(name)
        if name not in self._models:
            config = self._as_given(name)
            self._models[name] = UserModel(name, Path(), text_format.MessageToString(config), config)
        return self._models[name]

    def _completed_others(self, lacking: Mapping[str, Base]) -> Mapping[str, UserModel]:
        """Return models with what this server says of them; none that it does not have."""
        found: dict[str, UserModel] = {}
        for name, (model, given) in lacking.items():
            with suppress(TargetError):
                known = completed(given, self._as_given(name), name)
                found[name] = replace(model, config=known, completion=Completion(model.said, given, known))
        return found

    def _own_parts(self) -> Sequence[Part]:
        return self._parts(*self._base(None))

    def _parts_for(self, config: Config) -> Sequence[Part]:
        return self._assembled(config)

    def _parts_in(self, export: Export) -> Sequence[Part]:
        return self._exported(export) if export.files else ()

    def _names(self) -> Sequence[str]:
        return [*self._composing, self._options.model]

    def _look_at_models(self, *, missing: bool = False) -> ServedModels:
        """Return the models as they are. Raises TargetError where one has to be loaded and is not."""
        if not missing and self._served is None:
            for variant in (None, *self._options.variants):
                self._check_loaded("target.model" if variant is None else f"target.variants.{variant}", variant)
        return super()._look_at_models(missing=missing)

    def _check_loaded(self, place: str, variant: str | None) -> None:
        """Check that the server has all composing models of a variant: they get back what they have at the start."""
        *composing, top = self._parts(*self._base(variant))
        for part in composing:
            try:
                self._control().config(part.name)
            except ServerDied:
                raise
            except TargetError as error:
                what = f"{top.name!r} calls" if part.called else f"ensemble {top.name!r} is composed of"
                raise TargetError(
                    f"{'target.also' if part.called else place}: {what} model {part.name!r}, of which the server tells "
                    f"no configuration: {error}; load it there before "
                    f"(POST /v2/repository/models/{part.name}/load), or take a model that is loaded"
                ) from None

    def deploy(self, config: Config, alias: str) -> RemoteDeployment:  # type: ignore[override]
        """Load what a configuration changes, in place of what was there before, and read all models back."""
        return super().deploy(config, alias)

"""Which class of target a study of Triton needs: by its launch, its models, and what its model is."""

from targets.base import Context
from targets.triton.calling import CallingTriton
from targets.triton.composed import ComposedTriton, has_ensemble
from targets.triton.options import TritonOptions
from targets.triton.remote import RemoteTriton
from targets.triton.remote_composed import RemoteComposed, serves_ensemble
from targets.triton.several import SeveralTriton
from targets.triton.target import TritonTarget


def kind_of(options: TritonOptions, context: Context) -> type[TritonTarget]:
    """Return the class of a study's target."""
    if options.launch == "remote":
        return RemoteComposed if options.also or serves_ensemble(options, context) else RemoteTriton
    if options.models:
        return SeveralTriton
    if has_ensemble(options, context):
        return ComposedTriton
    return CallingTriton if options.also else TritonTarget

"""Whether a target can write what a space varies, and whether some configuration of it keeps the server's rules."""

from collections.abc import Sequence
from itertools import islice

from targets.base import Config, ConfigRefused, KnowsRules, Target
from tuner.nesting import SPACE, place_of
from tuner.space import Space, server_part
from tuner.study.load import Study
from tuner.study.source import Keys

MAX_CHECKED = 2_000
"""Configurations whose rules are checked before anything is started; where all of these break one, more are there."""


def check_configs(study: Study, target: Target, space: Space) -> None:
    """Check that the target can write what the space varies, and that some configuration of it keeps its rules.

    Raises:
        StudyError: it has none.
        TargetError: the user's files cannot be changed that way.
    """
    user = target.user_config()
    for parameter in space:
        try:
            target.export({**user, **server_part({parameter.name: parameter.values[0]})})
        except ConfigRefused:
            if not isinstance(target, KnowsRules):
                raise
    if not isinstance(target, KnowsRules):
        return
    configs = space.without_load().configs()
    refusals = []
    for config in islice(configs, MAX_CHECKED):
        refusal = _refusal(target, {**user, **config})
        if refusal is None:
            return
        refusals.append(refusal)
    if next(configs, None) is None:
        raise study.source.error(_to_blame(space, refusals), f"no value can be used: {refusals[0]}")


def _refusal(target: KnowsRules, config: Config) -> ConfigRefused | None:
    try:
        target.check(config)
    except ConfigRefused as refused:
        return refused
    return None


def _to_blame(space: Space, refusals: Sequence[ConfigRefused]) -> Keys:
    """Return the place of the knob that every refusal names, or of one that the first names, or of the space."""
    places = {one.name: place_of(one.knob) for one in space}
    named = [name for name in refusals[0].knobs if name in places]
    blamed = [*(name for name in named if all(name in one.knobs for one in refusals)), *named]
    return places[blamed[0]] if blamed else SPACE

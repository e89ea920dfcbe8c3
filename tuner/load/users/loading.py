"""A locustfile as `locust -f LOCUSTFILE --headless` loads it, and what of it Paretune does not use."""

import itertools
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import locust
from locust.argument_parser import LocustArgumentParser, default_args_dict, get_parser
from locust.env import Environment
from locust.shape import LoadTestShape
from locust.util.load_locustfile import load_locustfile

from tuner.load.users.messages import Locustfile, LocustfileError
from tuner.load.users.recording import told

_WAITS = 20
_USED = ("host", "tags", "exclude_tags", "config_users", "equal_weights", "headless", "locustfile")
"""Options of Locust's that hold here as there; the last two are what is done anyway."""
_CONFIG_FILE = "config_file|"


def loaded(path: Path) -> tuple[Environment, Locustfile]:
    """Load a locustfile in its own folder.

    Raises:
        LocustfileError: it cannot be used.
    """
    os.chdir(path.parent)
    sys.argv = ["locust", "-f", str(path), "--headless"]
    try:
        users, shapes = load_locustfile(str(path))
    except (Exception, SystemExit) as error:
        raise LocustfileError(told(error, path.parent)) from None
    parser = get_parser()
    try:
        options = parser.parse_args(sys.argv[1:])
    except SystemExit:
        raise LocustfileError(
            "it asks for options of its own that have no default; give them one, or set them in a locust.conf beside it"
        ) from None
    environment = _environment(path, users, options)
    about = Locustfile(
        tuple((name, options.host or getattr(one, "host", None)) for name, one in users.items()),
        max(map(_longest_wait_s, users.values()), default=0.0),
        (*_unused_shapes(path, shapes), *_unused_options(parser)),
    )
    return environment, about


def _environment(path: Path, users: Mapping[str, Any], options: Namespace) -> Environment:
    """Return Locust's environment, its classes of users as the options want them. Raises LocustfileError."""
    try:
        environment = Environment(
            user_classes=list(users.values()),
            events=locust.events,
            locustfile=path.name,
            host=options.host,
            parsed_options=options,
            parsed_locustfiles=[str(path)],
            available_user_classes=dict(users),
            available_user_tasks={name: one.tasks for name, one in users.items()},
        )
        for settings in itertools.chain(*(options.config_users or ())):
            environment.update_user_class(settings)  # type: ignore[no-untyped-call]  # Locust's
    except ValueError as error:
        raise LocustfileError(str(error)) from None
    except KeyError as error:
        raise LocustfileError(f"`config-users` names {error}, which is no class of users of {path.name}") from None
    if options.equal_weights:
        environment.assign_equal_weights()
    return environment


def _unused_shapes(path: Path, shapes: list[LoadTestShape]) -> Iterator[str]:
    for one in shapes:
        yield (
            f"{path.name}: its load shape {type(one).__name__} is not used: in each measurement there are as many "
            "users as the study says (`users`)"
        )


def _unused_options(parser: LocustArgumentParser) -> Iterator[str]:
    """Yield which of Locust's own options stand in a file, and are not used."""
    own = default_args_dict().keys() - set(_USED)
    for source, settings in parser.get_source_to_settings_dict().items():
        if not source.startswith(_CONFIG_FILE):
            continue
        if names := [f"`{name}`" for name, (action, _) in settings.items() if action.dest in own]:
            file = Path(source.removeprefix(_CONFIG_FILE)).name
            yield (
                f"{file}: {', '.join(names)} not used: the study says how many users there are, how they begin and for "
                "how long, and Paretune keeps the results"
            )


def _longest_wait_s(user: Any) -> float:
    """Return the longest of some waits between the tasks of a class of users, 0.0 where it cannot be asked for one."""
    nobody = SimpleNamespace(_cp_last_run=time.perf_counter(), _cp_last_wait_time=0.0)
    try:
        return max(float(user.wait_time(nobody)) for _ in range(_WAITS))
    except Exception:  # a function of its own, which needs a user that runs
        return 0.0

"""A tritonserver as a study has it started: on a repository of its own, or on a folder of exported models."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from targets.base import Context, TargetError
from targets.ports import choose_ports
from targets.triton import also
from targets.triton import flags as flags_of
from targets.triton.launching import launcher_for
from targets.triton.options import TritonOptions
from targets.triton.server import ServerLog, TritonServer


def start_server(
    options: TritonOptions,
    context: Context,
    log: ServerLog,
    needed: Callable[[], Sequence[Path]],
    flags: Sequence[str],
    beside: bool,
) -> TritonServer:
    """Start a server with flags, read back those that it tells, and load what the study has beside its model.

    Args:
        options: of the study.
        context: where it runs.
        log: that the server writes to.
        needed: returns the user's folders and files that it has to see.
        flags: of its command line.
        beside: another one may run; then it takes free ports, and not the study's.

    Raises:
        TargetError: it does not start, took other flags, or does not load what the study has beside its model.
    """
    server = TritonServer(
        launcher=launcher_for(options, context, needed),
        protocol=options.protocol,
        http_port=None if beside else options.http_port,
        grpc_port=None if beside else options.grpc_port,
        timeout_s=options.apply_timeout,
        log=log,
        cpus=context.cpus,
        flags=flags,
        metrics_period_s=context.metrics_period_s,
    )
    _check_flags(server, flags)
    assert options.repository is not None, "a server that is started here has one"
    also.load(server, context.resolve(options.repository), options.also)
    return server


@contextmanager
def server_on(
    folder: Path, options: TritonOptions, context: Context, log: ServerLog, flags: Sequence[str]
) -> Iterator[TritonServer]:
    """Have a server on a folder of models that it does not change, with flags that have it load some of them.

    Args:
        folder: of the models; a container sees nothing else.
        options: of the study.
        context: where it runs.
        log: that the server writes to.
        flags: of its command line.

    Raises:
        TargetError: it does not start, a model is not loaded, or it took other flags.
    """
    # It starts once: a model that is not loaded is not loaded on another port.
    ports = choose_ports({"http": None, "grpc": None})
    server = TritonServer(
        launcher=launcher_for(options, context, list),
        protocol=options.protocol,
        http_port=ports["http"],
        grpc_port=ports["grpc"],
        timeout_s=options.apply_timeout,
        log=log,
        cpus=context.cpus,
        flags=flags,
        repository=folder,
    )
    _check_flags(server, flags)
    try:
        yield server
    finally:
        server.stop()


def _check_flags(server: TritonServer, flags: Sequence[str]) -> None:
    told = flags_of.logged_options(server.log.text_since(server.started_at))
    if wrong := "; ".join(flags_of.mismatches(flags, told)):
        server.stop()
        raise TargetError(f"tritonserver took other flags: {wrong}")

"""What a study begins as: `init`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.frame import BAD_USAGE, app, errors, fail
from tuner.found_studies import repository_here, write_for_repository, write_for_server
from tuner.starters import STARTERS, StarterError, write_imported, write_starter
from tuner.terminal import note, plain_console, shown


@app.command()
def init(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[FOLDER|KIND]",
            help="a model repository of Triton, the folder that MLServer is started on, or a kind of starter: "
            f"{', '.join(STARTERS)}",
            show_default=False,
        ),
    ] = None,
    directory: Annotated[Path, typer.Option("--to", metavar="DIR", help="where to put it")] = Path(),
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="write it for a server that runs: KServe's protocol or OpenAI's API"),
    ] = None,
    analyzer: Annotated[
        Path | None,
        typer.Option("--from-model-analyzer", metavar="CONFIG.yaml", help="make it of Model Analyzer's configuration"),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="which model, where there are several")] = None,
    key_env: Annotated[
        str | None,
        typer.Option(
            "--api-key-env", metavar="NAME", help="with --url: the environment variable with the key it wants"
        ),
    ] = None,
) -> None:
    """Write a study: for a model of yours, for one on a server that runs, or a starter to fill in.

    Without FOLDER, KIND and --url: for the models of Triton or MLServer in this folder, in `models` or in
    `model_repository`; where there are none, the starter `triton`, with every key explained. What is there already
    stays.
    """
    with errors():
        given = [one for one in (what, url, analyzer) if one is not None]
        if len(given) > 1:
            fail(BAD_USAGE, "give one of FOLDER, KIND, --url and --from-model-analyzer")
        if key_env is not None and url is None:
            raise typer.BadParameter("--api-key-env goes with --url: only a server that runs wants a key")
        if analyzer is not None:
            target = write_imported(analyzer, directory, model)
        elif url is not None:
            target = write_for_server(url, directory, model, key_env)
        else:
            target = _for_folder(what, directory, model)
        plain_console().print(f"{target}  (next: {shlex.join(['tune', str(target)])})", soft_wrap=True)


def _for_folder(what: str | None, directory: Path, model: str | None) -> Path:
    if what in STARTERS:
        if model is not None:
            raise typer.BadParameter(
                f"--model goes with FOLDER, --url or --from-model-analyzer: the starter {what} is written as it is, "
                "and names its model in target.model"
            )
        return write_starter(what, directory)
    repository = repository_here(Path()) if what is None else Path(what)
    if repository is None:
        if model is not None:
            raise StarterError(f"--model {model}: no model repository here; give its folder: tune init FOLDER")
        note(
            "no model repository here, so a study to fill in; for your models: tune init FOLDER, or --url URL; "
            "`tune init digits` writes one that runs as it is"
        )
        return write_starter("triton", directory)
    if not repository.is_dir():
        raise StarterError(f"no folder {what!r}, and no starter study of that name; there are: {', '.join(STARTERS)}")
    target = write_for_repository(repository, directory, model)
    note(f"found in {shown(repository.resolve())}; with random requests until you give it yours")
    return target

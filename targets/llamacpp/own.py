"""What a study and the user's own files say of the server together."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from targets.base import Config, Context, TargetError, Value
from targets.llamacpp import config as env_file
from targets.llamacpp import knobs
from targets.llamacpp.options import LlamaCppOptions
from targets.openai import own

KEY_VARIABLE = "LLAMA_API_KEY"
_OURS = ("--host", "--port", "--metrics")
_MODEL = ("-m", "--model", "-hf", "-hfr", "--hf-repo", "-mu", "--model-url", "-dr", "--docker-repo")
_UNUSABLE: Mapping[str, str] = {
    "--ssl-key-file": "Paretune asks the server in the clear, on this machine",
    "--ssl-cert-file": "Paretune asks the server in the clear, on this machine",
    "--api-prefix": "Paretune asks for /v1",
    "--api-key": f"set {KEY_VARIABLE} in your environment instead",
    "--api-key-file": f"set {KEY_VARIABLE} in your environment instead",
    "--embedding": "Paretune asks for completions",
    "--embeddings": "Paretune asks for completions",
    "--rerank": "Paretune asks for completions",
    "--reranking": "Paretune asks for completions",
    "--models-dir": "a router starts servers of its own",
    "--models-preset": "a router starts servers of its own",
    "--log-file": "Paretune keeps the log",
}


class OwnConfig:
    """The user's environment file, or a new one, with what the study adds to it.

    Attributes:
        file: what the file says.
        given: whether there is a file of the user's.
        exported: where an export has it.
        model: file or name of the model.
        served_name: the same.
        arguments: of the command line, besides address and metrics.

    Raises:
        TargetError: study and file contradict each other, or cannot be used.
    """

    def __init__(self, options: LlamaCppOptions, context: Context) -> None:
        self._env = options.env
        self._context = context
        _check_args(options.args)
        _check_env(options.env)
        self.given = options.config is not None
        if options.config is not None:
            self.file = env_file.parse(own.read(context, options.config), options.config)
            self.exported = own.exported(options.config)
        else:
            assert options.model is not None, "one of both is given"
            self.file = env_file.new(options.model, options.args)
            self.exported = self.file.path
        self.model = self.served_name = _model(options, self.file)
        _check_model(options, self.file, context)
        named = self.file.said.get(env_file.MODEL) == self.model or options.model is None
        self.arguments = [*options.args, *([] if named else ["--model", self.model])]

    @property
    def text(self) -> str:
        """The file's text."""
        return self.file.text

    @property
    def values(self) -> Mapping[str, Value]:
        """What the file gives the knobs."""
        return self.file.values

    def rewritten(self, config: Config) -> str:
        """Return the file's text with the knobs of a configuration changed."""
        return env_file.rewrite(self.file, config)

    def environment(self) -> dict[str, str]:
        """Return the server's environment but for the file: ours without what would change its configuration."""
        inherited = self._context.inherited()
        ours = {name: value for name, value in inherited.items() if not name.startswith(env_file.PREFIX)}
        return {"GGML_NO_BACKTRACE": "1", **ours, **self._env}  # a failed assertion would call a debugger

    def headers(self) -> dict[str, str]:
        """Return the headers that requests need: with the key, where the server asks for one."""
        keys = {**self.environment(), **self.file.said}.get(KEY_VARIABLE, "")
        return own.bearer(keys.partition(",")[0].strip())


def _model(options: LlamaCppOptions, file: env_file.EnvFile) -> str:
    """Return the model: what the study names wins, as a file in a container has another path."""
    if options.model is not None:
        return options.model
    found = next((file.said[name] for name in env_file.MODELS if file.said.get(name)), None)
    if found is None:
        raise TargetError(f"target.model: is missing, and {file.path} has no {env_file.MODEL} either")
    return found


def _check_model(options: LlamaCppOptions, file: env_file.EnvFile, context: Context) -> None:
    named = options.model or file.said.get(env_file.MODEL)
    if named and not context.resolve(Path(named)).is_file():
        place = "target.model" if options.model else file.place(env_file.MODEL)
        raise TargetError(f"{place}: {named}: no such file; name the .gguf file, relative to the study")


def _check_env(env: Mapping[str, str]) -> None:
    """What is tuned or exported stands in one place."""
    for name in env:
        if name.startswith(env_file.PREFIX):
            raise TargetError(f"target.env: {name}: write it into your `config` instead")
        if name == KEY_VARIABLE:
            raise TargetError(f"target.env: {name}: set it in your environment instead; studies are shared")


def _check_args(args: Sequence[str]) -> None:
    """Arguments win over the environment, so what is tuned or exported there cannot be among them."""
    for argument, flag in _flags(args):
        if name := knobs.BY_FLAG.get(flag):
            variable = knobs.BY_NAME[name].variable
            raise TargetError(f"target.args: {argument} is a knob; write {variable} into your `config` instead")
        if flag in _OURS:
            raise TargetError(f"target.args: {argument} is given by Paretune; use the keys of `target`")
        if flag in _MODEL:
            raise TargetError(f"target.args: {argument}: name the model with `target.model`, or in your `config`")
        if why := _UNUSABLE.get(flag):
            raise TargetError(f"target.args: {argument}: {why}; take it out for the tuning")


def _flags(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each flag among arguments, with its spelling in llama-server's help."""
    for argument in args:
        if argument.startswith("--"):
            yield argument, argument.replace("_", "-")
        elif argument.startswith("-"):
            yield argument, argument

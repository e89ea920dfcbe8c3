"""What a study and the user's own files say of the server together."""

from collections.abc import Iterator, Mapping, Sequence

from targets.base import Config, Context, TargetError, Value
from targets.openai import own
from targets.openai.named import compiled_kept, one_of_both
from targets.sglang import config as serve_config
from targets.sglang import knobs
from targets.sglang.options import SGLangOptions

OURS = ("config", "host", "port", "model-path", "served-model-name", "enable-metrics")


class OwnConfig:
    """The user's YAML, or a new one, with what the study adds to it.

    Attributes:
        config: what the file says.
        given: whether there is a file of the user's.
        exported: where an export has it.
        model: folder or name of the model.
        served_name: the model's name in requests.
        arguments: of the command line, besides the file, address and metrics.

    Raises:
        TargetError: study and file contradict each other, or cannot be used.
    """

    def __init__(self, options: SGLangOptions, context: Context) -> None:
        self._env = options.env
        self._context = context
        _check_args(options.args)
        self.given = options.config is not None
        if options.config is not None:
            self.config = serve_config.parse(own.read(context, options.config), options.config)
            self.exported = own.exported(options.config)
        else:
            assert options.model is not None, "one of both is given"
            self.config = serve_config.new(options.model, options.served_model_name, options.args)
            self.exported = self.config.path
        self.model = one_of_both(self.config, "model-path", "model", options.model)
        self.served_name = one_of_both(
            self.config, "served-model-name", "served_model_name", options.served_model_name, self.model
        )
        added = [] if "model-path" in self.config.said else ["--model-path", self.model]
        if options.served_model_name is not None and "served-model-name" not in self.config.said:
            added += ["--served-model-name", self.served_name]
        self.arguments = [*options.args, *added]

    @property
    def text(self) -> str:
        """The file's text."""
        return self.config.text

    @property
    def values(self) -> Mapping[str, Value]:
        """What the file gives the knobs."""
        return self.config.values

    def rewritten(self, config: Config) -> str:
        """Return the file's text with the knobs of a configuration changed."""
        return serve_config.rewrite(self.config, config)

    def environment(self) -> dict[str, str]:
        """Return the server's environment."""
        return {**compiled_kept(), **self._context.inherited(), **self._env}

    def headers(self) -> dict[str, str]:
        """Return the headers that requests need: with the key, where the server asks for one."""
        return own.bearer(self.config.text_of("api-key"))


def _check_args(args: Sequence[str]) -> None:
    """Arguments win over the YAML, so what is tuned or exported there cannot be among them."""
    tuned = {knobs.key_of(name) for name in knobs.BY_NAME}
    for argument, name in _options(args):
        if name in tuned:
            raise TargetError(f"target.args: {argument} is a knob; write it into your `config` instead")
        if name in OURS:
            raise TargetError(f"target.args: {argument} is given by Paretune; use the keys of `target`")
        if why := serve_config.UNUSABLE.get(name):
            raise TargetError(f"target.args: {argument}: {why}; take it out for the tuning")
        if name in ("api-key", "admin-api-key"):
            raise TargetError(f"target.args: {argument}: write it into your `config` instead; studies are shared")


def _options(args: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each option among arguments, with its name as the YAML has it."""
    for argument in args:
        flag = argument.partition("=")[0]
        if flag.startswith("--"):
            yield flag, serve_config.canonical(flag.removeprefix("--"))

"""What a deployment writes: a log of its own while it runs, so that servers side by side do not mix their words."""

from collections.abc import Callable
from pathlib import Path

_LINES = 5
_SHOWN = 600


class DeploymentLog:
    """The log of one deployment, beside the log of the run; at its end it is added to that.

    Args:
        collected: the log of the run.
        alias: of the deployment.
        title: what is started.
        hide: takes out of a text what nobody may read: of the title, the last words and what the run keeps.
    """

    def __init__(self, collected: Path, alias: str, title: str, hide: Callable[[str], str]) -> None:
        self.collected = collected
        self.path = collected.with_name(f"{collected.name}.{alias}")
        self.hide = hide
        collected.parent.mkdir(parents=True, exist_ok=True)
        self.collect()  # what a run that was killed has left
        self.path.write_text(hide(f"--- {alias}: {title}\n"), encoding="utf-8")
        self._start = self.path.stat().st_size

    def text(self) -> str:
        """Return what the server has written so far."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as log:
            log.seek(self._start)
            return log.read().decode(errors="replace")

    def last_words(self) -> str:
        """Return the last lines that are not empty, joined by `; `, "" when there is none."""
        lines = [line.strip() for line in self.text().splitlines() if line.strip()]
        return self.hide("; ".join(lines[-_LINES:]))[-_SHOWN:]

    def collect(self) -> None:
        """Move the log to the end of the run's."""
        if self.path.exists():
            with self.collected.open("ab") as log:
                text = self.path.read_bytes().decode(errors="surrogateescape")
                log.write(self.hide(text).encode(errors="surrogateescape"))
            self.path.unlink()

"""A finished run, written by hand: its study and its files are real, its numbers are not."""

from collections.abc import Mapping
from pathlib import Path

from targets.base import Value
from tests.tuner.result_builders import best, estimate, point, result, trial
from tuner.exporting import own_files
from tuner.provenance import signed, standing
from tuner.results import to_json
from tuner.rundir import RunDirectory, write_files
from tuner.space import server_part
from tuner.study.load import load_study
from tuner.wiring import prepare


def written_run(study: Path, run: Path, config: Mapping[str, Value], *others: Mapping[str, Value]) -> Path:
    """Write the directory of a run whose trial 1 is confirmed to be the best; others are those of further trials."""
    run.mkdir()
    target = prepare(load_study(study, ["isolation=none"]), run / "log.txt").target
    own = target.user_config()
    one, tuned = point(), {**own, **config}
    metrics = {**one.metrics, "latency_p50_s": estimate(0.005), "error_rate": estimate(0.0)}
    measured = one.model_copy(update={"metrics": metrics})
    tried = [tuned, *({**own, **other} for other in others)]
    trials = [trial(number, measured, config=each) for number, each in enumerate(tried, 1)]
    stored = result(trial(0, measured, config=dict(own)), *trials)
    told = stored.study.model_copy(update={"path": str(study), "text": study.read_text()})
    environment = {"paretune": "0.0.1", "started": "2026-11-27 00:12 UTC"}
    exported = {"config": tuned, "export": "best", "export_verified": True}
    confirmed = best(1, gain=(1.5, 1.4, 1.6)).model_copy(update=exported)
    found = stored.model_copy(update={"study": told, "environment": environment, "best": confirmed})
    (run / "result.json").write_text(to_json(found))
    made = signed(target.export(server_part(tuned)), told.name, run.name, environment, 1, standing(found, 1).lines)
    directory = RunDirectory(run)
    write_files(directory.yours, {**own_files(target, found.trials), **made.originals})
    write_files(directory.best, made.files)
    return run

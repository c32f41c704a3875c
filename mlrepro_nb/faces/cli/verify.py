"""``mlrepro verify``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlrepro_nb.errors import UsageError
from mlrepro_nb.execute.limits import PROCESSES
from mlrepro_nb.faces.cli._console import print_json, progress
from mlrepro_nb.faces.cli._many import board, show
from mlrepro_nb.faces.cli._runs import show_runs, verify_each
from mlrepro_nb.faces.cli._verification import show as show_verification

if TYPE_CHECKING:
    from mlrepro_nb.model import Verification
    from mlrepro_nb.verify import Outcome


class _Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes as people write them: ``500M``, ``4G``, ``2GiB``."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", str(value).strip().lower())
        if found is None or not float(found[1]):
            self.fail(f"{value!r} is no size; write 500M or 4G.", param, ctx)
        return int(float(found[1]) * 1024 ** " kmgt".index(found[2] or " "))


_SIZE = _Size()


def _reruns(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None or value.isdecimal():
        return None if value is None else int(value)
    if value != "none":
        raise click.BadParameter("it is a number, or `none`.", ctx, param)
    return 0


@click.command("verify")
@click.argument("targets", nargs=-1, metavar="TARGET...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), help="Notebooks at a time; by default the cores."
)
@click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write JUnit XML to a file."
)
@click.option("--durations", is_flag=True, help="Say in JUnit XML how long each took.")
@click.option(
    "--report", "page", type=click.Path(path_type=Path, dir_okay=False),
    help="Write a standalone HTML report to a file.",
)  # fmt: skip
@click.option(
    "--results", type=click.Path(path_type=Path, dir_okay=False),
    help="Write what --merge puts together to a file.",
)  # fmt: skip
@click.option("--merge", is_flag=True, help="TARGETs are files of --results: report of them.")
@click.option("--shard", metavar="I/N", help="Take the I-th of N parts of the notebooks only.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The executed copy.")
@click.option("-k", "--kernel", help="Kernelspec to use instead of the notebook's.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds a cell.")
@click.option(
    "--total-timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds in all, a run."
)
@click.option(
    "--rtol", type=click.FloatRange(min=0), default=1e-9, show_default=True,
    help="Relative tolerance of floats.",
)  # fmt: skip
@click.option(
    "--atol", type=click.FloatRange(min=0), default=1e-12, show_default=True,
    help="Absolute tolerance of floats.",
)  # fmt: skip
@click.option(
    "--sanitize-with", "--nbval-sanitize-with", "sanitize", type=click.Path(path_type=Path),
    help="File of regular expressions to carry out on outputs first, as nbval reads it.",
)  # fmt: skip
@click.option(
    "--notebook", type=click.Path(path_type=Path), help="Of a record: where its notebook is."
)
@click.option(
    "--reference", type=click.Path(path_type=Path),
    help="An executed notebook whose outputs are the reference.",
)  # fmt: skip
@click.option(
    "--replay", is_flag=True, help="Feed back what the recorded run drew from the system."
)
@click.option(
    "--restore", is_flag=True, help="Start from the inputs that the recorded run overwrote."
)
@click.option("--rehash", is_flag=True, help="Read unchanged files again, too.")
@click.option(
    "--env", "environment", type=click.Choice(["current", "recorded", "image"]),
    default="current", show_default=True,
    help="Run here, in an environment built from the record's lock, or in the image built of it.",
)  # fmt: skip
@click.option(
    "--data", type=click.Choice(["current", "recorded"]), default="current", show_default=True,
    help="Start from the files as they are, or as the recorded run read them.",
)  # fmt: skip
@click.option(
    "--commit", type=click.Choice(["current", "recorded"]), default="current", show_default=True,
    help="Run in a copy of the project as it is, or of the recorded commit.",
)  # fmt: skip
@click.option("--memory", type=_SIZE, help="Memory that the notebook may take: 4G, 500M.")
@click.option(
    "--processes", type=click.IntRange(min=2), default=PROCESSES, show_default=True,
    help="Processes that it may have at a time.",
)  # fmt: skip
@click.option(
    "--scratch", type=_SIZE, default="20G", show_default=True, help="Disk that it may take."
)
@click.option("--offline", is_flag=True, help="Run it without a network.")
@click.option(
    "--index/--no-index", default=None,
    help="Whether the package index may be asked for what is missing; by default unless --offline.",
)  # fmt: skip
@click.option("--startup-files", is_flag=True, help="Let the user's own startup files run.")
@click.option(
    "--reruns", metavar="N|none", callback=_reruns,
    help="More runs, at most, to tell the causes of what differs; by default up to 6.",
)  # fmt: skip
@click.option(
    "--runs", type=click.IntRange(min=1), metavar="N",
    help="Run it N times with varied seeds: are its metrics the same within their deltas?",
)  # fmt: skip
@click.option(
    "--delta", "deltas", multiple=True, metavar="NAME=D",
    help="The smallest difference of a metric that matters (%mlrepro expect NAME delta D).",
)  # fmt: skip
@click.option(
    "--bisect", "bisecting", is_flag=True,
    help="Where another version of a library is the cause, find the release that changed it.",
)  # fmt: skip
@click.option(
    "--exclude-newer", metavar="DATE|auto",
    help="Run in an environment as of a date; auto: when the notebook was last changed.",
)  # fmt: skip
@click.option("--fix", is_flag=True, help="Write a repaired copy (-o, or NAME.fixed.ipynb).")
@click.option("--stamp", is_flag=True, help="Write the verdict into the notebook's metadata.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.pass_context
def command(
    ctx: click.Context, /, targets: tuple[str, ...], as_json: bool, quiet: bool, stamp: bool,
    fix: bool, jobs: int | None, merge: bool, shard: str | None, junit: Path | None,
    durations: bool,
    page: Path | None, results: Path | None, runs: int | None, deltas: tuple[str, ...],
    **options: Any,
) -> None:  # fmt: skip
    """Run a notebook again and say whether it gives the same; if not, why and how to fix it.

    TARGET is a notebook, a folder or a pattern of notebooks, a record's digest (or its
    beginning), or a JSON file that holds a record; several run over the cores. Nothing of
    the project is changed, but by --stamp one line of the
    notebook's metadata: the run happens in a copy.

    A notebook that draws from unseeded generators gives something else each time.
    --replay runs it with the entropy of the recorded run, so that the rest of it can
    be verified; identifiers and keys (uuid4, secrets, os.urandom) are drawn anew.

    --runs asks whether metrics that chance is part of are the same: it varies the seeds,
    and compares with all earlier runs of the same code, data and packages. --delta says how
    much a metric may differ, or the notebook does: %mlrepro expect accuracy delta 0.01

    --exclude-newer is for old notebooks without a record: what they import is installed as
    the package index was then, in an environment of its own.

    --fix writes a repaired copy beside it, verifies that, and shows what it changed and
    what it leaves to you. What has to be installed goes into a requirements file beside the
    copy; your environment stays as it is.
    """
    from mlrepro_nb.execute import Nursery

    many = bool(merge or shard or jobs or junit or page or results or len(targets) != 1)
    many = many or bool(runs) or any(Path(target).is_dir() or "*" in target for target in targets)
    if deltas and not runs:
        raise UsageError("--delta is for several runs.", "Add --runs 10.")
    if fix:
        if runs:
            raise UsageError("--fix does not go with --runs.", "Drop one of them.")
        if many:
            raise UsageError("--fix is for one notebook.", "Name one notebook.")
        _fix(ctx, targets[0], options, as_json=as_json, quiet=quiet)
        return
    if merge:
        outcomes = _merged(targets)
    elif runs:
        outcomes = verify_each(targets, runs, deltas, _bounded(options), jobs=jobs, quiet=quiet)
    elif many or os.environ.get("JOB_COMPLETION_INDEX"):
        outcomes = _many(targets, shard, jobs, options, quiet=quiet, evidence=bool(page or results))
    else:
        with Nursery() as nursery:
            # What the kernel is forked from starts while the verifier is imported.
            if options["environment"] == "current":
                nursery.warm_up()
            _one(ctx, targets[0], nursery, options, as_json=as_json, quiet=quiet, stamp=stamp)
        return
    _write(outcomes, junit, page, results, durations=durations)
    if as_json:
        from mlrepro_nb.verify.report import summary

        # One notebook is one document, as without --runs.
        alone = outcomes[0].verification if runs and len(outcomes) == 1 else None
        print_json(alone or summary(outcomes))
    elif runs and len(outcomes) == 1 and outcomes[0].verification is not None:
        show_runs(outcomes[0].verification)
    else:
        show(outcomes)
    if stamp:
        for outcome in outcomes:
            if outcome.verification is not None:
                _stamp(outcome.verification, Path(outcome.target))
    from mlrepro_nb.verify.report import exit_code

    ctx.exit(exit_code(outcomes))


def _one(
    ctx: click.Context, target: str, nursery: Any, options: dict[str, Any], *, as_json: bool,
    quiet: bool, stamp: bool,
) -> None:  # fmt: skip
    """Verify one notebook, and show its cells."""
    from mlrepro_nb.model import REPRODUCED
    from mlrepro_nb.verify import verify

    with progress(quiet=quiet) as report:
        if options["environment"] == "image":
            from mlrepro_nb.verify import verify_in_image

            found = verify_in_image(target, report=report)
        else:
            found = verify(target, nursery=nursery, report=report, **_bounded(options))
    if as_json:
        print_json(found)
    else:
        show_verification(found, named=options["output"] is not None)
    if stamp:
        _stamp(found, options["notebook"])
    ctx.exit(0 if found.verdict in REPRODUCED else 1)


def _fix(
    ctx: click.Context, target: str, options: dict[str, Any], *, as_json: bool, quiet: bool
) -> None:
    """Repair one notebook's copy, and show how."""
    from mlrepro_nb.model import REPRODUCED
    from mlrepro_nb.verify import verify_and_repair

    if options["environment"] == "image":
        raise UsageError("--fix does not run in an image.", "Drop --env image.")
    with progress(quiet=quiet) as report:
        done = verify_and_repair(target, report=report, **_bounded(options))
    if as_json:
        print_json(done)
    else:
        show_verification(done.before)
        for edit in done.edits:
            click.echo(f"{edit.cause}: {edit.what}")
        for left in done.refused:
            click.echo(f"not repaired: {left.cause}  {left.subject}: {left.why}")
        if done.fixed is not None and done.after is not None:
            click.echo(f"\n{done.diff}")
            show_verification(done.after)
            click.echo(f"Repaired copy: {done.fixed}")
            if done.requirements is not None:
                click.echo(f"What it needs: pip install -r {done.requirements}")
    ctx.exit(0 if (done.after or done.before).verdict in REPRODUCED else 1)


def _bounded(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with those that are limits made one value."""
    from mlrepro_nb.execute import Limits

    names = ("memory", "processes", "scratch", "offline", "startup_files")
    rest = {name: value for name, value in options.items() if name not in names}
    return {**rest, "limits": Limits(**{name: options[name] for name in names})}


def _many(
    targets: tuple[str, ...], shard: str | None, jobs: int | None, options: dict[str, Any], *,
    quiet: bool, evidence: bool,
) -> list[Outcome]:  # fmt: skip
    import msgspec

    from mlrepro_nb import verify

    alone = [name for name in ("output", "notebook", "reference") if options[name] is not None]
    notebooks = verify.discover(targets or ["."])
    if len(notebooks) > 1 and alone:
        raise UsageError(f"--{alone[0]} is for one notebook.", "Drop it, or name one notebook.")
    index, count = os.environ.get("JOB_COMPLETION_INDEX"), os.environ.get("MLREPRO_SHARDS")
    if shard is None and index and index.isdecimal():
        # An Indexed Job: an index a notebook, unless it says how many parts there are.
        shard = f"{int(index) + 1}/{count or len(notebooks)}"
    if shard is not None:
        notebooks = verify.shard(notebooks, shard)
    named = {k: str(v) if isinstance(v, Path) else v for k, v in _bounded(options).items()}
    given = {**named, "evidence": evidence}
    tasks = [msgspec.convert({**given, "target": name}, verify.Task) for name in notebooks]
    with board(notebooks, quiet=quiet) as tell:
        return verify.verify_many(tasks, jobs=jobs, report=tell)


def _merged(targets: tuple[str, ...]) -> list[Outcome]:
    from mlrepro_nb.verify.report import read

    if not targets:
        raise UsageError("There is nothing to merge.", "Name files that --results wrote.")
    return read([Path(target) for target in targets])


def _write(
    outcomes: list[Outcome], junit: Path | None, page: Path | None, results: Path | None, *,
    durations: bool,
) -> None:  # fmt: skip
    import msgspec

    from mlrepro_nb.store import write_atomically
    from mlrepro_nb.verify import report

    def write(path: Path, content: bytes) -> None:
        try:
            write_atomically(path, content)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written: {error.strerror}.",
                "Name a file in a folder that exists.",
            ) from None

    if junit is not None:
        write(junit, report.junit(outcomes, durations=durations))
    if page is not None:
        write(page, report.html(outcomes).encode("utf-8", "replace"))
    if results is not None:
        ordered = sorted(outcomes, key=lambda outcome: outcome.target)
        write(results, msgspec.json.format(msgspec.json.encode(ordered), indent=1) + b"\n")


def _stamp(found: Verification, notebook: Path | None) -> None:
    from mlrepro_nb import record
    from mlrepro_nb.store import project_root

    path = notebook or (project_root() or Path.cwd()) / found.notebook
    done = record.stamp(path)
    click.echo(done.reason or f"{done.notebook}: {done.stamp}", err=True)

"""The files by which CI systems and pre-commit run us."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from mlrepro_nb import __version__

ROOT = Path(__file__).parent.parent.parent


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_pre_commit_has_both_hooks_and_their_commands_exist() -> None:
    from mlrepro_nb.faces.cli import main  # noqa: F401 - the entry that the hooks name

    hooks = {hook["id"]: hook for hook in load(".pre-commit-hooks.yaml")}
    assert set(hooks) == {"mlrepro-stamp", "mlrepro-verify"}
    assert all(hook["entry"].split()[0] == "mlrepro" for hook in hooks.values())


def test_the_github_action_installs_this_version_and_keeps_both_reports() -> None:
    action = load("action.yml")
    assert action["runs"]["using"] == "composite"
    assert action["inputs"]["version"]["default"] == __version__
    steps = action["runs"]["steps"]
    scripts = [step["run"] for step in steps if "run" in step]
    for script in scripts:
        assert "${{" not in script  # what a caller gives would be code
        subprocess.run(["bash", "-n", "-c", script], check=True)
        assert all(step["shell"] == "bash" for step in steps if "run" in step)
    assert options_exist(["--json", "--junit", "--report"])
    assert any("upload-artifact@" in step.get("uses", "") for step in steps)


def test_the_gitlab_template_installs_this_version_and_keeps_both_reports() -> None:
    job = load("templates/verify.gitlab-ci.yml")["mlrepro-verify"]
    assert job["variables"]["MLREPRO_VERSION"] == __version__
    assert job["artifacts"]["reports"]["junit"] == "junit.xml"
    assert job["artifacts"]["when"] == "always"


def options_exist(names: list[str]) -> bool:
    from mlrepro_nb.faces.cli.verify import command

    told = CliRunner().invoke(command, ["--help"]).output
    return all(name in told for name in names)

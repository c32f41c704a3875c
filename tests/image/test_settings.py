"""What a project says about its images, and that every value of a plan says where it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlrepro_nb import image
from mlrepro_nb.errors import UsageError
from mlrepro_nb.image import _settings
from mlrepro_nb.model import Record
from mlrepro_nb.store import Store

Recorded = tuple[Path, Store, Record]


def plan(*changes: str, **options: object) -> image.Plan:
    return image.plan(
        "train.ipynb", offline=True, allow_dirty=True, changes=changes, **options  # type: ignore[arg-type]
    )  # fmt: skip


def test_an_unknown_setting_is_told_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.mlrepro]\npakages = ["x"]\n')
    with pytest.raises(UsageError, match=r"no setting 'pakages'.*Did you mean packages\?"):
        _settings.read(tmp_path)
    (tmp_path / "pyproject.toml").unlink()
    for change, told in {
        "usr=1": "Did you mean user", "user=me": "user is no number", "bytecode=maybe": "bytecode",
        "packages": "has no value", "variables=1": "cannot be read", "base.x=1": "cannot be read",
    }.items():  # fmt: skip
        with pytest.raises(UsageError, match=told):
            _settings.read(tmp_path, [change])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("user=abc", "--set user: user is no number. Write --set user=10001."),
        ("bytecode=maybe", "--set bytecode: bytecode is no truth value. Write --set bytecode=true"),
        ("data.x=https://me:s3cret@h/x", "--set data: the URL of x holds credentials"),
    ],
)
def test_what_the_command_line_said_is_not_blamed_on_a_file(
    tmp_path: Path, change: str, told: str
) -> None:
    with pytest.raises(UsageError) as raised:
        _settings.read(tmp_path, [change])
    assert told in str(raised.value)
    assert "pyproject" not in str(raised.value)
    # What the file says is blamed on it, even beside that.
    (tmp_path / "pyproject.toml").write_text('[tool.mlrepro]\ndata = "x"\n')
    with pytest.raises(UsageError, match=r"pyproject.toml: \[tool.mlrepro.data\] does not name"):
        _settings.read(tmp_path, [change, "data.y=https://h/y"])


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1.2"\n[tool.mlrepro]\nbase = "a:1"\nbake-data = true\n'
        'packages = ["libx1"]\n[tool.mlrepro.variables]\nA = "1"\nB = "2"\n'
    )
    found = _settings.read(tmp_path, ["base=b:2", "variables.B=3", "packages=liby1, libz1=2"])
    assert (found.base, found.bake_data, found.packages) == ("b:2", True, ("liby1", "libz1=2"))
    assert found.variables == {"A": "1", "B": "3"}
    assert found.origins == {
        "base": "--set base", "bake_data": _settings.FILE, "packages": "--set packages",
        "variables": "--set variables", "version": _settings.PROJECT,
    }  # fmt: skip


def test_every_value_says_where_it_came_from(recorded: Recorded) -> None:
    (recorded[0] / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1.2"\n[tool.mlrepro]\nrepository = "example.com/x"\n'
    )
    made = plan("user=12345", "variables.MY_MODE=fast", kind="job", build_id="7")
    told = {name: (value, origin) for name, value, origin in image.origins(made)}
    assert told["kind"] == ("job", "--kind")
    assert told["base"][1] == "default for Python 3.11.7"
    assert told["repository"] == ("example.com/x", _settings.FILE)
    assert told["version"] == ("1.2.0", _settings.PROJECT)
    assert told["user"] == ("12345", "--set user")
    assert told["bytecode"] == (
        f"yes, but for {len(made.uncompiled)} that nothing imports", "default, the record"
    )  # fmt: skip
    assert "jedi" in made.uncompiled
    assert told["build-id"] == ("7", "--build-id")
    assert "MY_MODE=fast" in told["variables"][0]
    text = image.containerfile(made)
    assert "USER 12345:12345" in text
    assert 'MY_MODE="fast"' in text


def test_distributions_and_files_are_added_and_left_out(recorded: Recorded) -> None:
    (recorded[0] / "extra.txt").write_text("x")
    plain = plan()
    names = {pin.partition("==")[0] for pin in plain.pins}
    assert "pytest" not in names
    made = plan("include=pytest,left-pad==1.0", "exclude=pytz", "files=*.txt")
    pins = {pin.partition("==")[0] for pin in made.pins}
    assert {"pytest", "left-pad"} <= pins
    assert "pytz" not in pins
    assert [f.path for f in made.layer("code") if f.path == "extra.txt"]
    for change, told in {
        "include=no-such": "does not have", "include=pandas==1.0": "has pandas already",
        "files=*.nothing": "no such file", "files=../x": "not in the project",
        "user=0": "does not run as user 0", "platform=windows": "no platform",
        "variables.API_TOKEN=abcdef123456": "looks like a secret",
    }.items():  # fmt: skip
        with pytest.raises(UsageError, match=told) as raised:
            plan(change)
        assert "pyproject" not in str(raised.value)


def test_an_image_for_another_machine_is_planned_as_such(recorded: Recorded) -> None:
    made = plan("platform=linux/arm64")
    assert made.machine == "aarch64"
    assert made.origins["platform"] == "--set platform"

"""The index tells what there is of a distribution; of a wheel only parts are fetched."""

import platform

import pytest

from mlrepro_nb.connect import releases
from mlrepro_nb.errors import ToolError


@pytest.mark.parametrize("as_json", [True, False])
def test_releases_are_the_final_ones_that_were_not_yanked_the_oldest_first(index, as_json):
    index.as_json = as_json
    for version in ("1.10", "1.9", "2.0rc1", "1.11"):
        index.add("demo", version, {}, uploaded="2021-03-04T05:06:07Z", yanked=version == "1.11")
    found = releases.releases("Demo")
    assert [r.version for r in found] == ["1.9", "1.10"]
    assert found[0].files[0].uploaded == "2021-03-04T05:06:07Z"
    assert found[0].files[0].url.startswith(index.url.removesuffix("simple"))


def test_what_the_index_has_not_is_none(index):
    assert releases.releases("nothing") is None


def test_a_wheels_content_is_read_without_fetching_all_of_it(index):
    import random

    noise = random.Random(0).randbytes(300_000).hex()
    index.add("demo", "1.0", {"demo/sub/__init__.py": "x = 1\n", "demo/big.py": noise})
    file = releases.releases("demo")[0].wheel
    assert releases.provides(file, "demo.sub")
    assert releases.provides(file, "demo.big")
    assert not releases.provides(file, "dem")
    assert not releases.provides(file, "demo.su")
    assert releases.member(file, "demo/sub/__init__.py") == b"x = 1\n"
    parts = [given for path, given in index.asked if path.startswith("/files/")]
    assert parts
    assert all(parts)
    with pytest.raises(ToolError):
        releases.member(file, "demo/none.py")


def test_what_is_in_a_wheels_data_folder_is_installed_beside_the_rest(index):
    index.add("demo", "1.0", {"demo-1.0.data/purelib/other.py": ""})
    assert releases.provides(releases.releases("demo")[0].wheel, "other")


@pytest.mark.parametrize(
    ("tag", "python", "fits"),
    [("py3-none-any", "3.11.7", True), ("cp38-cp38-manylinux2014_x86_64", "3.11.7", False),
     ("cp38-cp38-win32", "3.8.1", False),
     (f"cp37-abi3-manylinux2014_{platform.machine()}", "3.11.7", True)],
)  # fmt: skip
def test_a_release_is_usable_where_a_wheel_of_it_fits_the_python(index, tag, python, fits):
    index.add("demo", "1.0", {}, tag=tag)
    assert releases.releases("demo")[0].usable(python) is fits


def test_a_release_for_newer_pythons_is_not_usable(index):
    index.add("demo", "1.0", {}, python=">=3.12")
    assert not releases.releases("demo")[0].usable("3.11.7")
    assert releases.releases("demo")[0].usable("3.12.0")


def test_an_index_that_does_not_answer_is_told_without_its_password(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:s3cret@127.0.0.1:9/simple")
    releases.forget()
    for _ in range(2):
        with pytest.raises(ToolError, match="cannot be asked") as raised:
            releases.releases("demo")
        assert "s3cret" not in str(raised.value)
    releases.forget()


def test_the_real_index_says_so_too():
    releases.forget()
    listed = releases.releases("humanize")
    wheel = next(r for r in listed if r.version == "4.10.0").wheel
    assert releases.provides(wheel, "humanize.filesize")

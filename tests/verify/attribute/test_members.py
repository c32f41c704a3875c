"""What of a cell makes a column, key or attribute, and what only uses one."""

import pytest

from mlrepro_nb.dataflow import read_cell
from mlrepro_nb.verify.attribute.members import made_by


@pytest.mark.parametrize(
    "source",
    [
        "df['x'] = 1", "df[['w', 'x']] = 1, 2", "df.loc[:, 'x'] = 1", "df.x = 1",
        "df = pd.DataFrame({'x': [1]})", "df = pd.DataFrame([{'x': 1}])",
        "df = pd.DataFrame(rows, columns=['w', 'x'])", "df.columns = ['w', 'x']",
        "df = df.assign(x=1)", "df = df.rename(columns={'w': 'x'})", "df.insert(0, 'x', 1)",
        "df = g.agg(x=('w', 'mean'))", "df = g.size().reset_index(name='x')",
        "conf = {'x': 1}", "conf.update({'x': 1})", "conf.update(x=1)", "conf = dict(x=1)",
        "setattr(net, 'x', 1)", "class Net:\n    def x(self): pass", "self.x = 1",
        "df = pd.read_csv('f.csv', names=['w', 'x'])",
    ],
)  # fmt: skip
def test_it_is_made(source: str) -> None:
    assert "x" in made_by(read_cell(0, source))


@pytest.mark.parametrize(
    "source",
    [
        "df['x'].mean()", "df.x.mean()", "df = df.drop(columns=['x'])", "df.agg({'x': 'mean'})",
        "df = df.rename(columns={'x': 'w'})", "df.pivot_table(columns='x')",
        "df.astype({'x': int})", "df.plot(x='x')", "print({'x'})", "this is no Python",
    ],
)  # fmt: skip
def test_it_is_only_used(source: str) -> None:
    assert "x" not in made_by(read_cell(0, source))

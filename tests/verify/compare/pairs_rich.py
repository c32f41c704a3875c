# ruff: noqa: E501 - outputs are told in one line
"""Pairs of what cells displayed, raised and wrote to standard error, from real libraries.

Each function returns pairs of outputs by what changed between the runs. What libraries
that are not installed here display is written as they write it.
"""

from __future__ import annotations

import array
import base64
import io
import json
import uuid
from functools import cache

VIEW = "application/vnd.jupyter.widget-view+json"
PLOTLY = "application/vnd.plotly.v1+json"
VEGA = "application/vnd.vegalite.v5+json"


MARKDOWN = "<IPython.core.display.Markdown object>"


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def shown(**data):
    named = {key.replace("__", "/").replace("_", "+"): value for key, value in data.items()}
    return {"output_type": "display_data", "metadata": {}, "data": named}


def bundle(data):
    return {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": data}


def error(ename, evalue, *frames):
    traceback = ["\x1b[0;31m----\x1b[0m", f"\x1b[0;31m{ename}\x1b[0m Traceback", *frames]
    return {"output_type": "error", "ename": ename, "evalue": evalue, "traceback": traceback}


def of(value):
    """Return the display of an object, as IPython makes it."""
    from IPython.core.formatters import DisplayFormatter

    data, _ = DisplayFormatter().format(value)
    return bundle(data)


def png(image, **options):
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return base64.b64encode(file.getvalue()).decode()


@cache
def frames():
    import pandas as pd

    def frame(price=2.25, rows=3, columns=("city", "price", "n"), **more):
        data = {"city": ["Oslo", "Rome", "Lima"], "price": [1.5, price, 0.1 + 0.2], "n": [1, 2, 3]}
        return pd.DataFrame({**data, **more})[[*columns, *more]].head(rows)

    style = frame().style.background_gradient
    timed = {"mean_fit_time": [0.01, 0.02, 0.03]}
    slower = {"mean_fit_time": [0.04, 0.01, 0.07]}
    benign = {
        "frame with float noise": (of(frame(1.0000000000000002)), of(frame(1.0))),
        "styled frame": (of(frame().style), of(frame().style)),
        "styled frame with a gradient": (of(style(subset=["n"])), of(style(subset=["n"]))),
        "grid search's times": (of(frame(**timed)), of(frame(**slower))),
        "series": (of(frame().price), of(frame(2.25 + 1e-15).price)),
    }
    real = {
        "frame's value": (of(frame(2.25)), of(frame(2.26))),
        "frame's rows": (of(frame(rows=3)), of(frame(rows=2))),
        "frame's columns": (of(frame()), of(frame(columns=("city", "price")))),
        "frame's order": (of(frame()), of(frame().iloc[::-1])),
        "styled frame's value": (of(frame().style), of(frame(3).style)),
        "score beside times": (of(frame(**timed)), of(frame(2.5, **slower))),
        "digest in a table": tuple(
            bundle(
                {
                    "text/html": f"<table><tr><td>{c * 20}1</td></tr></table>",
                    "text/plain": f"{c * 20}1",
                }
            )
            for c in "ab"
        ),
    }
    return benign, real


@cache
def estimators():
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def pipeline(c=1.0):
        return make_pipeline(StandardScaler(), LogisticRegression(C=c))

    first = of(pipeline())
    for _ in range(3):
        again = of(pipeline())

    def fitted(name, value):
        table = f"<table><tr><td> {name} <b>{name}: what it is</b></td><td>float</td><td>{value}</td></tr></table>"
        return shown(text__html=table, text__plain="GridSearchCV()")

    benign = {
        "pipeline, shown again": (first, again),
        "how long it took": (fitted("refit_time_", "0.0009604"), fitted("refit_time_", "0.001275")),
    }
    real = {
        "what it scored": (fitted("best_score_", "0.91"), fitted("best_score_", "0.92")),
        "pipeline's parameter": (of(pipeline()), of(pipeline(2.0))),
        "another estimator": (of(LogisticRegression()), of(RandomForestClassifier())),
    }
    return benign, real


@cache
def plots():
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt
    from PIL import Image

    @cache
    def figure(y=(1, 3, 2), title="t", dpi=72, kind="png", colour="#1f77b4", again=0, **rc):
        with mpl.rc_context(rc):
            fig, ax = plt.subplots()
            ax.plot([0, 1, 2], y, color=colour)
            ax.scatter([0, 1, 2], [2, 2, 2.5], s=9)
            ax.set_title(title)
            file = io.BytesIO()
            fig.savefig(file, format=kind, dpi=dpi)
            plt.close(fig)
        return file.getvalue()

    def drawn(**options):
        kind = options.get("kind", "png")
        data = figure(**options)
        if kind == "svg":
            return shown(
                image__svg_xml=data.decode(), text__plain="<Figure size 640x480 with 1 Axes>"
            )
        return shown(
            image__png=base64.b64encode(data).decode(), text__plain="<Figure size 640x480>"
        )

    def reencoded(**options):
        image = Image.open(io.BytesIO(figure()))
        return shown(image__png=png(image, **options), text__plain="<Figure>")

    def jpeg(quality):
        file = io.BytesIO()
        Image.open(io.BytesIO(figure())).convert("RGB").save(file, "JPEG", quality=quality)
        return shown(image__jpeg=base64.b64encode(file.getvalue()).decode())

    def html(**options):
        return shown(
            text__html=f"<img src='data:image/png;base64,{base64.b64encode(figure(**options)).decode()}'>"
        )

    benign = {
        "picture, encoded again": (drawn(), reencoded(compress_level=1)),
        "picture, optimised": (drawn(), reencoded(optimize=True)),
        "picture with more metadata": (
            drawn(),
            shown(image__png=_with_text(figure()), text__plain="<Figure>"),
        ),
        "smoothed otherwise": (drawn(), drawn(**{"lines.antialiased": False})),
        "jpeg of another quality": (jpeg(92), jpeg(95)),
        "curve with float noise": (drawn(), drawn(y=(1, 3 + 1e-13, 2))),
        "drawing": (drawn(kind="svg"), drawn(kind="svg", again=1)),
        "picture in a page": (html(), html()),
        "the still of a video that is shown by a page": (
            shown(image__jpeg=jpeg(92)["data"]["image/jpeg"], text__html="<iframe src='v'>"),
            shown(text__html="<iframe src='v'>"),
        ),
    }
    real = {
        "another curve": (drawn(), drawn(y=(1, 3, 2.2))),
        "one point moved": (drawn(), drawn(y=(1.2, 3, 2))),
        "a letter of the title": (drawn(title="AUC 0.93"), drawn(title="AUC 0.98")),
        "a digit": (drawn(title="0.93"), drawn(title="0.83")),
        "another size": (drawn(), drawn(dpi=80)),
        "another colour": (drawn(), drawn(colour="#1f97b4")),
        "jpeg of another picture": (jpeg(92), shown(image__jpeg=png(Image.new("RGB", (461, 346))))),
        "drawing's curve": (drawn(kind="svg"), drawn(kind="svg", y=(1, 3, 2.01))),
        "drawing's title": (drawn(kind="svg", title="a 1"), drawn(kind="svg", title="a 2")),
        "picture in a page changed": (html(), html(y=(1, 3, 2.2))),
        "another video": (
            shown(image__jpeg=jpeg(92)["data"]["image/jpeg"], text__html="<iframe src='v'>"),
            shown(text__html="<iframe src='w'>"),
        ),
        "picture gone": (drawn(), shown(text__plain="<Figure size 640x480>")),
    }
    return benign, real


def _with_text(data):
    """Return a PNG with a text chunk of another program."""
    import struct
    import zlib

    body = b"tEXtSoftware\0another 9.9"
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return base64.b64encode(data[:33] + chunk + data[33:]).decode()


def packed(values, code="d", dtype="f8"):
    return {"dtype": dtype, "bdata": base64.b64encode(array.array(code, values).tobytes()).decode()}


def plotly(y=(1.0, 2.0), *, html=False, name="a", data=packed):
    spec = {
        "data": [
            {
                "type": "scatter",
                "name": name,
                "x": data([0.5, 1.5]),
                "y": data(y),
                "uid": str(uuid.uuid4()),
            }
        ],
        "layout": {"template": {"data": {}}},
    }
    if not html:
        return bundle({PLOTLY: spec, "text/plain": "Figure({...})"})
    div = uuid.uuid4()
    return bundle(
        {
            "text/html": f'<div><div id="{div}" class="plotly-graph-div"></div><script>if (document.getElementById("{div}")) {{ Plotly.newPlot("{div}", {json.dumps(spec["data"])}, {{}}) }}</script></div>'
        }
    )


def altair(y=1.5, mark="bar", version="5.20.1", html=False):
    name = f"data-{uuid.uuid4().hex}"
    spec = {
        "$schema": f"https://vega.github.io/schema/vega-lite/v{version}.json",
        "data": {"name": name},
        "mark": mark,
        "datasets": {name: [{"x": 1, "y": y}]},
    }
    if not html:
        return bundle({VEGA: spec, "text/plain": "<VegaLite 5 object>"})
    div = f"altair-viz-{uuid.uuid4().hex}"
    return bundle(
        {
            "text/html": f'<style>#{div}.vega-embed {{width: 100%}}</style><div id="{div}"></div><script>(function(spec, opt) {{ document.getElementById("{div}") }})({json.dumps(spec)}, {{}});</script>',
            "text/plain": "alt.Chart(...)",
        }
    )


def bokeh(y=(1.5, 2.5), first=1001):
    div, doc = uuid.uuid4(), uuid.uuid4()
    docs = {
        str(doc): {
            "roots": [
                {
                    "id": f"p{first}",
                    "name": "Figure",
                    "attributes": {"x_range": {"id": f"p{first + 1}"}, "y": list(y)},
                }
            ]
        }
    }
    return [
        bundle(
            {
                "text/html": f'<div id="{div}" data-root-id="p{first}" style="display: contents;"></div>'
            }
        ),
        bundle({"application/javascript": "", "application/vnd.bokehjs_exec.v0+json": ""}),
        bundle(
            {
                "text/html": f'<div id="{div}"></div><script>const docs_json = {json.dumps(docs)}; const render_items = [{{"docid":"{doc}","roots":{{"p{first}":"{div}"}}}}];</script>'
            }
        ),
    ]


def folium(lat=59.9, label="Oslo"):
    name, marker = uuid.uuid4().hex, uuid.uuid4().hex
    page = f'<div class="folium-map" id="map_{name}" ></div><script>var map_{name} = L.map("map_{name}", {{center: [{lat}, 10.7], zoom: 5}}); var marker_{marker} = L.marker([{lat}, 10.7], {{}}).addTo(map_{name}); marker_{marker}.bindTooltip(`<div>{label}</div>`);</script>'
    escaped = page.replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
    return bundle(
        {
            "text/html": f'<div style="width:100%;"><span style="color:#565656">Make this Notebook Trusted to load map</span><iframe srcdoc="{escaped}"></iframe></div>',
            "text/plain": "<folium.folium.Map at 0x7f1122334455>",
        }
    )


@cache
def specifications():
    def plain(values):
        return list(values)

    benign = {
        "plotly": (plotly(), plotly()),
        "plotly with float noise": (plotly((1.0, 2.0)), plotly((1.0, 2.0000000000000004))),
        "plotly, lists": (plotly(data=plain), plotly((1.0, 2.0 + 1e-14), data=plain)),
        "plotly's page": (plotly(html=True), plotly((1.0, 2.0000000000000004), html=True)),
        "altair": (altair(), altair(version="5.21.0")),
        "altair's page": (altair(html=True), altair(html=True)),
        "bokeh": (bokeh(), bokeh(first=1044)),
        "folium": (folium(), folium()),
        "keys in another order": (
            shown(application__json={"a": 1, "b": 2}),
            shown(application__json={"b": 2, "a": 1}),
        ),
    }
    real = {
        "plotly's value": (plotly(), plotly((1.0, 2.1))),
        "plotly's name": (plotly(), plotly(name="b")),
        "plotly's length": (plotly(), plotly((1.0, 2.0, 3.0))),
        "plotly's page changed": (plotly(html=True), plotly((1.0, 2.1), html=True)),
        "altair's value": (altair(), altair(1.6)),
        "altair's mark": (altair(), altair(mark="line")),
        "altair's page changed": (altair(html=True), altair(1.6, html=True)),
        "bokeh's value": (bokeh(), bokeh((1.5, 2.6))),
        "folium's place": (folium(), folium(60.9)),
        "folium's label": (folium(), folium(label="Rome")),
        "JSON": (shown(application__json={"a": [1, 2]}), shown(application__json={"a": [1, 3]})),
    }
    return benign, real


CELL = "\x1b[0;36mCell \x1b[0;32mIn[{n}], line 2\x1b[0m\n\x1b[1;32m      1\x1b[0m x = 1\n\x1b[0;32m----> 2\x1b[0m \x1b[43m{line}\x1b[49m"
INSTALLED = "File \x1b[0;32m{root}/lib/python3.11/site-packages/p/q.py:{n}\x1b[0m, in \x1b[0;36mf\x1b[0m\n\x1b[0;32m---> {n}\x1b[0m {line}"


TRIED = (
    "<ipython-input-1-ab> in f(a)\n      2     try:\n{a} 3         g(a)\n{b} 4     except OSError:"
)


@cache
def failures():
    benign = {
        "the same, elsewhere": (
            error(
                "KeyError",
                "'a'",
                CELL.format(n=5, line="d['a']"),
                INSTALLED.format(root="/a", n=12, line="raise KeyError(key)"),
            ),
            error(
                "KeyError",
                "'a'",
                CELL.format(n=9, line="d['a']"),
                INSTALLED.format(root="/b", n=99, line="raise KeyError(key) from err"),
            ),
        ),
        "reworded": (
            error("ValueError", "could not convert string to float: 'abc'"),
            error("ValueError", "could not convert the string to a float: 'abc'"),
        ),
        "address in the message": (
            error("TypeError", "<A object at 0x7f001122> is not callable"),
            error("TypeError", "<A object at 0x7fff1122> is not callable"),
        ),
        "a type that Python came to say more exactly": (
            error("ImportError", "No module named 'x'"),
            error("ModuleNotFoundError", "No module named 'x'"),
        ),
        "division by zero": (
            error("ZeroDivisionError", "float division by zero"),
            error("ZeroDivisionError", "division by zero"),
        ),
        "another line of the earlier exception": tuple(
            error(
                "RuntimeError",
                "no",
                CELL.format(n=n, line=line),
                "\nDuring handling of the above exception, another exception occurred:\n",
                CELL.format(n=n, line="raise RuntimeError('no')"),
            )
            for n, line in ((5, "1 / 0"), (9, "except ZeroDivisionError:"))
        ),
        "frames of what is compiled": (
            error(
                "ValueError",
                "no",
                CELL.format(n=1, line="f(1)"),
                "pandas/_libs/properties.pyx in pandas._libs.properties.set()\n",
            ),
            error(
                "ValueError",
                "no",
                CELL.format(n=1, line="f(1)"),
                "File \x1b[0;32mpandas/_libs/properties.pyx:69\x1b[0m, in set()\n"
                "---> 69 'Could not get source'",
            ),
        ),
        "a clause that the exception passed": (
            error(
                "TypeError", "no", CELL.format(n=1, line="f(1)"), TRIED.format(a="---->", b="     ")
            ),
            error(
                "TypeError", "no", CELL.format(n=1, line="f(1)"), TRIED.format(a="     ", b="---->")
            ),
        ),
        "another Python's path": (
            error(
                "FileNotFoundError", "[Errno 2] No such file or directory: '/tmp/tmpab12cd/x.csv'"
            ),
            error(
                "FileNotFoundError", "[Errno 2] No such file or directory: '/tmp/tmpxy99zz/x.csv'"
            ),
        ),
    }
    real = {
        "another type": (error("KeyError", "'a'"), error("ValueError", "'a'")),
        "another key": (error("KeyError", "'a'"), error("KeyError", "'b'")),
        "another message": (error("RuntimeError", "Foo"), error("RuntimeError", "Bar")),
        "another shape": (
            error("ValueError", "shapes (3,4) and (5,6) not aligned"),
            error("ValueError", "shapes (3,4) and (5,7) not aligned"),
        ),
        "raised by another line": (
            error("KeyError", "'a'", CELL.format(n=5, line="d['a']")),
            error("KeyError", "'a'", CELL.format(n=5, line="e['a']")),
        ),
        "raised by a module of the project's own": (
            error("KeyError", "'a'", CELL.format(n=5, line="f()")),
            error(
                "KeyError",
                "'a'",
                CELL.format(n=5, line="f()"),
                "File \x1b[0;32m/project/own.py:2\x1b[0m, in f()\n----> 2 d['a']",
            ),
        ),
        "raised in a clause of something else": (
            error("KeyError", "'a'", CELL.format(n=5, line="d['a']")),
            error("KeyError", "'a'", CELL.format(n=5, line="with open(name) as file:")),
        ),
        "no error any more": (error("KeyError", "'a'"), []),
    }
    return benign, real


WARNED = "/{root}/x.py:{n}: {category}: {message}\n  warnings.warn(\n"


@cache
def streams():
    def warned(root="a", n=3, category="UserWarning", message="careful"):
        return stream(WARNED.format(root=root, n=n, category=category, message=message), "stderr")

    def own(message, pid=7, source="warnings.warn(f'{n} rows were dropped')"):
        text = f"/tmp/ipykernel_{pid}/39.py:3: UserWarning: {message}\n  {source}\n"
        return stream(text, "stderr")

    bar = "100%|##########| 10/10 [00:00<00:00, {}it/s]\n"
    benign = {
        "in other pieces": ([stream("a\n"), stream("b\n")], stream("a\nb\n")),
        "pieces around a display": (
            [stream("a\n"), shown(text__plain="1"), stream("b\n")],
            [stream("a\nb\n"), shown(text__plain="1")],
        ),
        "a warning's place": (warned(), warned(root="b/lib", n=9)),
        "a new warning": (stream("x"), [stream("x"), warned()]),
        "a warning gone": ([warned(), stream("x")], stream("x")),
        "a cell's own warning": (own("2 rows were dropped"), own("2 rows were dropped", pid=81)),
        "a cell's own warning gone": ([own("2 rows were dropped"), stream("x")], stream("x")),
        "a library's warning of a cell's line": (
            own("will change in 3.0", source="df.sum()"),
            own("will change in 4.0", source="df.sum()"),
        ),
        "a bar on standard error": (
            stream(bar.format(4.2), "stderr"),
            stream(bar.format(9.1), "stderr"),
        ),
        "no bar any more": ([stream("x"), stream(bar.format(4.2), "stderr")], stream("x")),
        "a log line's time": (
            stream("2024-01-02 10:11:12,123 INFO loss=0.5\n", "stderr"),
            stream("2024-03-02 11:11:12,123 INFO loss=0.5\n", "stderr"),
        ),
        "cleared": (
            [stream("1"), {"output_type": "clear_output", "wait": True}, stream("2")],
            stream("2"),
        ),
        "updated": (
            [
                {**shown(text__plain="1"), "transient": {"display_id": "a"}},
                {
                    **shown(text__plain="2"),
                    "output_type": "update_display_data",
                    "transient": {"display_id": "a"},
                },
            ],
            shown(text__plain="2"),
        ),
        "our own display": (
            stream("a"),
            [stream("a"), bundle({"application/vnd.mlrepro.x+json": {}})],
        ),
        "a plot call's value": (
            [bundle({"text/plain": "[<Line2D at 0x7f0011aa>]"[1:-1]}), shown(text__plain="1")][1:],
            [shown(text__plain="1"), bundle({"text/plain": "<Axes: >"})],
        ),
    }
    benign["time in Markdown"] = (
        shown(text__markdown="*took 3.2 s*", text__plain=MARKDOWN),
        shown(text__markdown="*took 2.9 s*", text__plain=MARKDOWN),
    )
    real = {
        "metric on standard error": (
            stream("INFO loss=0.5\n", "stderr"),
            stream("INFO loss=0.6\n", "stderr"),
        ),
        "number in a cell's own warning": (
            own("2 rows were dropped"),
            own("7 rows were dropped", pid=81),
        ),
        "metric beside a new warning": (stream("a 1"), [stream("a 2"), warned()]),
        "metric in a bar of standard output": (
            stream("100%|#| 1/1 [00:00<00:00, 4it/s, loss=0.5]"),
            stream("100%|#| 1/1 [00:00<00:00, 4it/s, loss=0.6]"),
        ),
        "a number in Markdown": (
            shown(text__markdown="Total **594**", text__plain=MARKDOWN),
            shown(text__markdown="Total **999**", text__plain=MARKDOWN),
        ),
        "a number in Markdown beside an own text": (
            shown(text__markdown="Total **594**", text__plain="Total at 0x7f00aa11bb22"),
            shown(text__markdown="Total **999**", text__plain="Total at 0x7f00aa11bb33"),
        ),
        "a formula of an object": (
            shown(
                text__latex="$\\bar x = 2.000$", text__plain="<IPython.core.display.Math object>"
            ),
            shown(
                text__latex="$\\bar x = 2.750$", text__plain="<IPython.core.display.Math object>"
            ),
        ),
        "display gone": ([shown(text__plain="1"), shown(text__plain="2")], shown(text__plain="1")),
        "displays in another order": (
            [shown(text__plain="1"), shown(text__plain="2")],
            [shown(text__plain="2"), shown(text__plain="1")],
        ),
        "branch skipped": (stream("loaded\n" + "row 5\n" * 20), stream("skipped: no key\n")),
        "nothing any more": (stream("a\n" * 9), []),
        "updated to another": (
            [
                {**shown(text__plain="1"), "transient": {"display_id": "a"}},
                {
                    **shown(text__plain="2"),
                    "output_type": "update_display_data",
                    "transient": {"display_id": "a"},
                },
            ],
            shown(text__plain="3"),
        ),
        "cleared, another": (
            [stream("1"), {"output_type": "clear_output"}, stream("2")],
            stream("3"),
        ),
        "text beside prose": tuple(
            bundle({"text/html": "<b>x</b>", "text/plain": f"x {n}"}) for n in (1, 2)
        ),
        "latex": (
            shown(text__latex="$x^2$", text__plain="x**2"),
            shown(text__latex="$x^3$", text__plain="x**3"),
        ),
        "markdown": (shown(text__markdown="**5**"), shown(text__markdown="**6**")),
    }
    return benign, real


def widgets(value=5, description="n", names="abc"):
    """Return a display of a slider in a box, and the states that a notebook keeps of it."""
    box, slider, style = (
        f"{name * 8}-1111-4222-8333-123456789abc".replace("-", "") for name in names
    )
    states = {
        slider: {
            "model_name": "IntSliderModel",
            "state": {"value": value, "description": description, "style": f"IPY_MODEL_{style}"},
        },
        box: {
            "model_name": "VBoxModel",
            "state": {"children": [f"IPY_MODEL_{slider}"], "_view_module_version": "2.0"},
        },
        style: {"model_name": "SliderStyleModel", "state": {}},
    }
    return [
        bundle(
            {VIEW: {"model_id": box}, "text/plain": f"VBox(children=(IntSlider(value={value}),))"}
        )
    ], states


def bars(rate="29.1it/s", total=10):
    """Return the widget of ``tqdm.notebook`` and its states."""
    ids = [uuid.uuid4().hex for _ in range(4)]
    states = {
        ids[0]: {
            "model_name": "HBoxModel",
            "state": {"children": [f"IPY_MODEL_{i}" for i in ids[1:]]},
        },
        ids[1]: {"model_name": "HTMLModel", "state": {"value": "100%"}},
        ids[2]: {
            "model_name": "FloatProgressModel",
            "state": {"value": float(total), "max": float(total), "bar_style": "success"},
        },
        ids[3]: {
            "model_name": "HTMLModel",
            "state": {"value": f"\u2007{total}/{total}\u2007[00:00&lt;00:00,\u2007{rate}]"},
        },
    }
    return [
        bundle({VIEW: {"model_id": ids[0]}, "text/plain": "  0%|          | 0/10 [00:00<?, ?it/s]"})
    ], states

"""How long it took, and the bars that show how far it came."""

from __future__ import annotations

import re

from mlrepro_nb.verify.compare._difference import Context

_UNIT = (
    r"(?:ns|nanoseconds?|µs|μs|us|microseconds?|ms|milliseconds?|msec|s|secs?|seconds?|mins?"
    r"|minutes?|h|hrs?|hours?)"
)
_NUMBER = r"\d[\d,]{0,24}(?:\.\d{1,24})?(?:e[-+]?\d{1,4})?"
_ONE = rf"{_NUMBER}\s?{_UNIT}(?![\w/])"
_DURATION = re.compile(rf"(?<![\w.])-?{_ONE}(?:(?:\s|, | and )?(?<=[\s\w]){_ONE}){{0,3}}", re.I)
_CLOCK = r"(?:\d+ days?,? )?(?:\d+:)?\d{1,3}:\d\d(?:\.\d+)?(?![\d:])"
_CLOCKED = re.compile(rf"(?<![\d:-]){_CLOCK}")
# What was left or gone on a clock, on a line that does not only hold a bar.
_CLOCKED_AFTER = re.compile(
    rf"(\b(?:eta|elapsed|took|time|remaining|duration|runtime|in)\b[^\d\n]{{0,12}}){_CLOCK}"
    rf"|(?<![\d:-]){_CLOCK}(?=\s?(?:elapsed|remaining|<))",
    re.I,
)
_RATE = re.compile(
    rf"(?<![\w.]){_NUMBER}\s?(?:[kMG]?i?B|it|items|steps?|samples|rows|records|images?|img|tokens?"
    r"|examples?|epochs?|batch(?:es)?|files?|requests?|iterations?|trials?)/s(?:ec|econd)?\b"
    rf"|(?<![\w.]){_NUMBER}\s?{_UNIT}/(?:it|step|epoch|iter|iteration|batch|sample|item|file|trial)\b"
    r"|\?it/s",
    re.I,
)
# On such a line a duration is what was measured, whatever the code says.
_SURELY_TIMED = re.compile(
    r"(?:\b|_)elapsed|\btook\b|\bwall time|\bcpu times?\b|\bper loop\b|\beta\b|\bit/s\b|s/it\b"
    r"|s/step\b|s/epoch\b|\btotal time\b|\bremaining:|\boverhead of\b|(?<= - )\d+s(?= -|$)"
    r"|\b(?:finished|done|completed|passed|ran|failed|built|trained|loaded|fitted|executed"
    rf"|processed|downloaded|computed|saved|compiled)\b.{{0,60}}\bin {_NUMBER}\s?{_UNIT}\b"
    r"|(?:training|fitting|execution|running|inference|fit|prediction|comput(?:e|ation))[ _]time\b",
    re.I,
)
_TELLING = (
    "elapsed",
    "took",
    "wall time",
    "cpu time",
    "per loop",
    "eta",
    "it/s",
    "s/it",
    "s/step",
    "s/epoch",
    "time",
    "remaining:",
    "overhead of",
    " - ",
    " in ",
    "mib",
)
_PERHAPS_TIMED = re.compile(
    rf"(?:\b|_)tim(?:e|es|ed|ing|ings)(?:\b|_)|(?:\b|_)duration|runtime|(?:\b|_)seconds?\b|\bsecs?\b"
    rf"|\bspeed|\blatency|\bthroughput|(?<![\w.]){_NUMBER}\s?{_UNIT}(?![\w/])",
    re.I,
)
_TIMED_WORD = r"(?:elapsed|took|time|timing|duration|runtime|latency|speed-?up|seconds|secs|faster)"
_AFTER_WORD = re.compile(
    rf"((?:\b|_){_TIMED_WORD}(?:['\"\])]|\s?\((?:s|sec|secs|seconds|ms|min)\))?"
    rf"(?:[ \t]{{1,8}}(?:is|was|of|taken)\b)?(?:[^\d\n:=‹]{{0,24}}[:=]\s{{0,8}}|\s{{1,16}}))"
    rf"(-?{_NUMBER})(?![\w%]|\.\d)",
    re.I,
)
_RATIO = re.compile(rf"(?<![\w.]){_NUMBER}\s?[x×](?= (?:faster|slower|speed)|$)", re.I)
_PER_LOOP = re.compile(
    rf"(?:best of \d+: )?{_NUMBER}\s?{_UNIT}(?: {_NUMBER}\s?{_UNIT})?"
    rf"(?:\s?(?:±|\+-)\s?{_NUMBER}\s?{_UNIT})? per loop(?:\s?\([^()\n]{{0,120}}\))?"
)
_LOOPS = re.compile(r"\b\d[\d,]* loops?(?: each)?,?|\bbest of \d+\b:?")
_CPU_TIMES = re.compile(r"^\s*CPU times: .*$")
_SPEEDUP = re.compile(r"The slowest run took .*", re.I)
_MEMIT = re.compile(rf"(?:peak memory: {_NUMBER} MiB)(?:, increment: -?{_NUMBER} MiB)?")
# A duration behind the name of a result is that result: `RMSE: 3.2 s`.
_RESULT = re.compile(
    r"\b(?:mae|mse|rmse|mape|r2|loss|err|errors?|score|acc|accuracy|auc|f1|precision|recall|residual"
    r"|bias|half-?life|predicted|prediction|forecast|expected|true|target|actual|threshold|limit"
    r"|budget|deadline|period|lifetime)"
    r"[\w ]{0,12}[ \t:=(|\]'\"]{0,6}$",
    re.I,
)
_CLOCK_WORD = re.compile(r"\b(?:in|took|time|times|elapsed|latency|duration|runtime|after)\b", re.I)
_BAR = re.compile(
    r"\d{1,3}%\|[^|\n]{0,400}\|(?:[ \t]{0,8}[\d.,]+[kMGTP]?i?B?/([\d.,]+[kMGTP]?i?B?|\?))?"
    r"(?:[ \t]{0,8}\[([^\]\n]{0,400})\])?"
)
_UNSIZED = re.compile(r"(\b[\d.,]+[kMGTP]?\s?[a-zA-Z]{1,12} )\[(?=[\d:]{4,12},)([^\]\n]{0,200})\]")
_DRAWN = re.compile(
    r"\[(?=[=>.#\- ━]{6})[=>.#\- ━]+\]|(?<![━╸╺█▉▊▋▌▍▎▏#=])[━╸╺█▉▊▋▌▍▎▏#=]{6,}(?=\s{0,8}\d)"
)
_TRAINER = re.compile(rf"(\[\s?\d+/\d+ )({_CLOCK})(?: < {_CLOCK}, (?:{_NUMBER}|\?) ?it/s)?(?=,|\])")
# Names that libraries give to what they measured.
MEASURED = re.compile(
    r"(?:(?:mean|std|avg|total)_)?(?:(?:re)?fit|score|train|training|eval|test|inference|predict|wall|cpu"
    r"|exec|execution|elapsed|compute|epoch|step)\w{0,12}_(?:times?|seconds|secs|runtime)(?:_\w{0,8})?"
    r"|\w{0,24}_per_sec(?:ond)?|(?:train|eval|test)_runtime|elapsed(?:_\w{1,8})?",
    re.I,
)
# `mean_fit_time` and its like as reprlib cuts them, in what scikit-learn shows of a search.
_CUT = r"(?<=['\"])(?:me|st)\.\.\.me(?=['\"])"
_MEASURING = (
    "...me",
    "_time",
    "_sec",
    "_runtime",
    "_per_sec",
    "elapsed",
    "_TIME",
    "Elapsed",
    "ELAPSED",
)
_MEASURED_VALUES = re.compile(
    rf"(?P<name>['\"]?(?:\b(?:{MEASURED.pattern})|{_CUT})['\"]?\s{{0,3}}[:=]\s{{0,3}})"
    rf"(?:(?:np\.)?(?:array|float64|tensor)\()?(?:\[[^\[\]‹]{{0,20000}}\]|-?{_NUMBER})\)?",
    re.I,
)
_PROFILED = re.compile(r"(?<![\w.])\d+\.\d{3}(?![\d.])")


def mask_progress(line: str) -> str:
    """Mask bars, and keep what they count up to and what is written behind them."""
    if "%|" in line:
        line = _BAR.sub(lambda m: f"‹bar {m[1] or ''}›{_behind(m[2])}", line)
    if "[" in line:
        line = _UNSIZED.sub(lambda m: f"‹bar›{m[1]}{_behind(m[2])}", line)
        line = _TRAINER.sub(r"\1‹lasted›", line)
        line = _DRAWN.sub(" ‹bar› ", line)
    elif any(sign in line for sign in ("━━", "██", "===", "###")):
        line = _DRAWN.sub(" ‹bar› ", line)
    return line


def _behind(inner: str | None) -> str:
    """Return what a bar's brackets hold besides time and rate: often a metric."""
    kept = [
        part for part in (inner or "").split(",")
        if part.strip() and not re.fullmatch(
            r"\s*(?:[\d:]{4,12}(?:<[\d:?]{1,12})?|[\d.,?]+\s?[kMG]?[\w ]{0,16}/\s?[\w ]{1,16}"
            r"|[\d.]+s/[\w ]{1,16})\s*", part)
    ]  # fmt: skip
    return "".join(f" {part.strip()}" for part in kept)


def mask_times(line: str, context: Context) -> str:
    """Mask what was measured with a clock; a result that has a unit of time stays."""
    on_bar = "‹bar" in line
    lowered = line.lower()
    if not on_bar and not context.timed and not any(word in lowered for word in _TELLING):
        # Most lines: a search for words costs a hundredth of one for their forms.
        return _RATE.sub("‹lasted›", line) if "/" in line else line
    if on_bar or _SURELY_TIMED.search(line) or (context.timed and _PERHAPS_TIMED.search(line)):
        if "loop" in line or "slowest" in line:
            line = _LOOPS.sub("‹loops›", _PER_LOOP.sub("‹lasted›", _SPEEDUP.sub("‹loops›", line)))
        line = _CPU_TIMES.sub("‹lasted›", line)
        line = _RATE.sub("‹lasted›", line)
        line = _DURATION.sub(_unless_result, line)
        line = _AFTER_WORD.sub(r"\1‹lasted›", line)
        line = _RATIO.sub("‹lasted›", line) if context.timed else line
        if ":" in line:
            line = (
                _CLOCKED.sub("‹lasted›", line)
                if on_bar
                else _CLOCKED_AFTER.sub(lambda m: f"{m[1] or ''}‹lasted›", line)
            )
    elif "/" in line:
        line = _RATE.sub("‹lasted›", line)
    if "MiB" in line:
        line = _MEMIT.sub("‹memory›", line)
    return line


def _unless_result(match: re.Match[str]) -> str:
    before = match.string[max(0, match.start() - 40) : match.start()]
    result = _RESULT.search(before)
    return match[0] if result and not _CLOCK_WORD.search(result[0]) else "‹lasted›"


_WORD = re.compile(r"\S+")
_VALUE = re.compile(r"-?[\d.]+(?:e[-+]?\d+)?\Z")


def mask_measured_columns(lines: list[str]) -> list[str]:
    """Mask the columns of printed tables whose headings say that a library measured them."""
    done = lines
    for at, line in enumerate(lines):
        if "_time" not in line and "_sec" not in line and "runtime" not in line:
            continue
        for head in _WORD.finditer(line[:2000]):
            if not MEASURED.fullmatch(head[0]) or len(line.split()) < 2:
                continue
            done = list(lines) if done is lines else done
            for below in range(at + 1, len(lines)):
                cell = re.compile(r"\S+\Z").search(done[below], 0, head.end())
                if not cell or not _VALUE.match(cell[0]) or done[below][head.end() :][:1].strip():
                    break
                # As long as it was: the columns behind it stay where they are.
                blank = f"‹{'·' * max(0, len(cell[0]) - 2)}›"
                done[below] = done[below][: cell.start()] + blank + done[below][head.end() :]
    return done


def mask_measured(text: str) -> str:
    """Mask, in a whole text, the values whose names say that a library measured them."""
    if "tottime" in text and "ncalls" in text:
        text = _PROFILED.sub("‹lasted›", text)
    if not any(word in text for word in _MEASURING):
        return text
    return _MEASURED_VALUES.sub(r"\g<name>‹lasted›", text)

"""What differs between two runs of the same code and means nothing: masks for text."""

from __future__ import annotations

import re

from mlrepro_nb.verify.compare._difference import Context

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07")
_UNIT = r"(?:ns|µs|μs|us|ms|s|secs?|seconds?|mins?|minutes?|h|hrs?|hours?)"
_NUMBER = r"\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
_DURATION = re.compile(rf"(?<![\w.]){_NUMBER}\s?{_UNIT}(?![\w/])", re.IGNORECASE)
_CLOCKED = re.compile(r"(?<![\d:-])(?:\d+:)?\d{1,3}:\d\d(?:\.\d+)?(?![\d:])")
_RATE = re.compile(
    rf"{_NUMBER}\s?(?:[kMG]?i?B|it|items|steps?|samples|rows|epochs?|batch(?:es)?)/s\b"
    rf"|{_NUMBER}\s?{_UNIT}/(?:it|step|epoch|iter|iteration|batch|sample)\b"
    r"|\?it/s",
    re.IGNORECASE,
)
# On such a line a duration is what was measured, whatever the code says.
_SURELY_TIMED = re.compile(
    r"\belapsed|\btook\b|\bwall time|\bcpu times?\b|\bper loop\b|\beta\b|\bit/s\b|s/it\b"
    r"|s/step\b|s/epoch\b|\btotal time\b|\b(?:finished|done|completed|passed|ran|failed|built|"
    rf"trained|loaded|fitted|executed|processed)\b.{{0,40}}\bin {_NUMBER}",
    re.IGNORECASE,
)
_PERHAPS_TIMED = re.compile(
    rf"\btim(?:e|es|ed|ing|ings)\b|\bduration|\bruntime|\bseconds?\b|\bsecs?\b|\bspeed|\blatency"
    rf"|\bthroughput|\bin {_NUMBER}\s?{_UNIT}\b|{_NUMBER}\s?{_UNIT}\b",
    re.IGNORECASE,
)
_AFTER_WORD = re.compile(
    rf"(\b(?:elapsed|took|time|timing|duration|runtime|latency|speed-?up|seconds|secs)\b"
    rf"[^\d\n]{{0,24}}?)(-?{_NUMBER})",
    re.IGNORECASE,
)
_TIMEIT = re.compile(r"\(mean ± std\. dev\. of [^)]*\)|best of \d+|\d[\d,]* loops?(?: each)?")
_CPU_TIMES = re.compile(r"^\s*CPU times: .*$")
_SPEEDUP = re.compile(r"The slowest run took .*", re.IGNORECASE)
_BAR = re.compile(
    r"[ \t]*\d{1,3}%\|[^|\n]*\|[^\n\[]*(?:\[[^\]\n]*\])?"  # tqdm
    r"|\[[=>.#\- ━]{6,}\]|[━╸╺█▉▊▋▌▍▎▏#=]{6,}(?=\s*\d)"  # keras, pip, rich
)
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{4,16}\b|(<[^<>\n]*?\b(?:id=)?)0x[0-9a-fA-F]{6,16}\b")
_BARE_ADDRESS = re.compile(r"\b0x[0-9a-f]{9,16}\b")
_IDENTITY = re.compile(r"\b\d{12,16}\b|\b0x[0-9a-fA-F]{6,16}\b")
_TEMPORARY = re.compile(
    r"(?:/private)?/(?:tmp|var/tmp|var/folders|dev/shm)/[^\s'\"<>)\]},;:]*"
    r"|[A-Za-z]:\\+Users\\+[^\\\s]+\\+AppData\\+Local\\+Temp\\+[^\s'\"<>)]*"
)
_INSTALLED = re.compile(r"(?:[A-Za-z]:)?[^\s'\"(<]*(?:site|dist)-packages[/\\]")
_STDLIB = re.compile(r"(?<![\w.])/[^\s'\"(<]*/lib/python3\.\d+/")
_SOURCE_LINE = re.compile(r"(\.py):\d+(?=:|\b)")
_KERNEL_FILE = re.compile(r"[^\s'\"(<]*ipykernel_\d+[/\\]\d+\.py|<ipython-input-\d+-[0-9a-f]+>")
_PROCESS = re.compile(r"\b(pid|process(?: id)?)([ =:#]{1,3})\d+", re.IGNORECASE)
_COUNTED_ID = re.compile(r"\bsk-(?:container|estimator)-id-\d+")


def screen(text: str) -> str:
    """Return what a terminal would show: no colours, carriage returns carried out."""
    text = _ANSI.sub("", text).replace("\r\n", "\n")
    if "\b" in text:
        while (shorter := re.sub(r"[^\n\b]\x08", "", text)) != text:
            text = shorter
    if "\r" in text:
        text = "\n".join(
            next((part for part in reversed(line.split("\r")) if part.strip()), "")
            for line in text.split("\n")
        )
    return text


def mask_line(line: str, context: Context) -> str:
    """Return a line with what is noise by its form replaced by a placeholder."""
    line = _BAR.sub(" ‹bar› ", line)
    if "0x" in line:
        line = _ADDRESS.sub(lambda m: f"{m[1] or 'at '}‹address›", line)
        line = _BARE_ADDRESS.sub("‹address›", line)
    if context.identities:
        line = _IDENTITY.sub("‹address›", line)
    if "/" in line or "\\" in line:
        line = _KERNEL_FILE.sub("‹cell›", line)
        line = _INSTALLED.sub("‹site›/", line)
        line = _STDLIB.sub("‹python›/", line)
        line = _SOURCE_LINE.sub(r"\1", line)
        line = _TEMPORARY.sub("‹temporary›", line)
    line = _COUNTED_ID.sub("‹id›", line)
    line = _PROCESS.sub(r"\1\2‹pid›", line)
    if _SURELY_TIMED.search(line) or (context.timed and _PERHAPS_TIMED.search(line)):
        line = _TIMEIT.sub("‹loops›", _SPEEDUP.sub("", _CPU_TIMES.sub("‹duration›", line)))
        line = _RATE.sub("‹duration›", line)
        line = _DURATION.sub("‹duration›", line)
        line = _CLOCKED.sub("‹duration›", line)
        line = _AFTER_WORD.sub(r"\1‹duration›", line)
    elif "/" in line:
        line = _RATE.sub("‹duration›", line)
    return line


def only_noise(line: str) -> bool:
    """Whether nothing of a masked line is left but placeholders."""
    return not re.sub(r"‹\w+›|[\s|:,.\[\]()<>%±+-]", "", line)

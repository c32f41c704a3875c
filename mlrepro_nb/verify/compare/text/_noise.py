"""What differs between two runs of the same code and means nothing: masks for a line of text.

Every pattern is linear in the length of the line: none begins with an unbounded
repetition, and what may repeat is bounded or cannot match in two ways.
"""

from __future__ import annotations

import re

from mlrepro_nb.verify.compare._difference import Context
from mlrepro_nb.verify.compare.text._spelling import plainly_spelled
from mlrepro_nb.verify.compare.text._timing import mask_progress, mask_times

UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_START = r"(?<![^\s'\"(<=,\[])"
_ADDRESS = re.compile(
    r"\bat 0x[0-9a-fA-F]{4,16}\b|(<[^<>\n]{0,200}?\b(?:id=)?)0x[0-9a-fA-F]{6,16}\b"
)
_BARE_ADDRESS = re.compile(r"\b0x[0-9a-f]{9,16}\b")
_REPR_ID = re.compile(r"(<[A-Z_a-z][^<>\n]{0,120}?\b(?:id|object)[ =:]{1,2})\d{7,16}\b")
_IDENTITY = re.compile(r"\b\d{12,16}\b|\b0x[0-9a-fA-F]{6,16}\b")
_TEMPORARY = re.compile(
    r"(?:/private)?/(?:tmp|var/tmp|var/folders|dev/shm)/[^\s'\"<>)\]},;:]*"
    r"|[A-Za-z]:\\{1,2}Users\\{1,2}[^\\\s]{1,80}\\{1,2}AppData\\{1,2}Local\\{1,2}Temp\\{1,2}"
    r"[^\s'\"<>)]*"
)
_INSTALLED = re.compile(rf"{_START}(?:[A-Za-z]:)?[^\s'\"(<]{{0,300}}?(?:site|dist)-packages[/\\]")
_STDLIB = re.compile(r"(?<![\w./])/[^\s'\"(<]{0,200}?/lib/python3\.\d{1,2}/")
_SOURCE_LINE = re.compile(r"(\.py):\d+(?=:|\b)")
_KERNEL_FILE = re.compile(
    rf"{_START}[^\s'\"(<]{{0,200}}?ipykernel_\d+[/\\]\d+\.py|<ipython-input-\d+-[0-9a-f]+>"
)
_PROCESS = re.compile(
    r"\b(pid|process(?: id)?|tid|thread(?: id)?|worker pid|ppid)(['\"]?[ =:#]{1,3})\d+", re.I
)
_PORT = re.compile(r"\b(port)(['\"]?[ =:#]{1,3})\d{4,5}\b", re.I)
_HOST = re.compile(
    r"\b(hostname|host name|node name|nodename)(['\"]?\s?[=:]\s?['\"]?)[\w.-]+", re.I
)
_LOCAL = re.compile(
    r"(?<![\w.])(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1?\]|10(?:\.\d{1,3}){3}"
    r"|192\.168(?:\.\d{1,3}){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2}):\d{2,5}\b"
    r"|(?<=://)(?:ip(?:-\d{1,3}){4}[\w.-]{0,80}|[\w-]{1,60})(?::\d{2,5})(?=[/\s'\"]|$)"
)
_COUNTED_ID = re.compile(r"\bsk-(?:container|estimator)-id-\d+|\bT_[0-9a-f]{5}(?=[_\b'\" ]|$)")
# An id that says whose it is: nobody computes it.
_NAMED_ID = re.compile(
    r"\b((?:run|session|job|task|request|trace|span|experiment|client|worker|scheduler|container"
    r"|object|div|element|kernel|execution|query|correlation|model|comm|message|cluster|upload"
    r"|download|operation|event|invocation)[ _-]?(?:u?u?id)s?['\"]?\s{0,3}[:=#(]?\s{0,3}['\"]?)"
    rf"({UUID}|(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{{8,64}})\b",
    re.I,
)
_TRACKED = re.compile(
    rf"((?:/runs/|/experiments/|/artifacts/|/sessions/|mlruns/\d{{1,20}}/|[?&](?:token|run|id)=|runs:/))"
    rf"({UUID}|[0-9a-f]{{16,64}}|\d{{15,20}})"
)
_RANDOM_NAME = re.compile(r"tmp\w{3}|[0-9a-f]{6}|\d{5}|^[a-z0-9_]{8}$|-\w{8}$")
_LEVEL = r"(?:DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL|TRACE|NOTICE|[DIWEF])"
_MOMENT = (
    r"(?:\d{4}[-/]\d\d[-/]\d\d[T ])?\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|\s?[-+]\d\d:?\d\d|\s?UTC)?"
)
# The time at which a line was logged: it stands first, and a level or a logger's name follows.
_LOGGED = re.compile(
    rf"^(\s*(?:\[?{_LEVEL}\]?[:\s|]\s{{0,4}})?[\[(]?(?:{_LEVEL}\s)?){_MOMENT}(?:(?<=\d)\]|[\])]?"
    rf"(?=\s{{0,4}}(?:[-|:\[]\s?|{_LEVEL}\b|[\w.]{{1,60}}(?::|\s\[|\s-\s))))"
)
_LEVELS = re.compile(r"\b(?:DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL|TRACE|NOTICE)\b")
_MILLISECONDS = re.compile(r"\d,\d{3}\b")
_GLOG = re.compile(
    r"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: )?([DIWEF])"
    r"(?:\d{4} \d\d:\d\d:\d\d\.\d+|0000 00:00:\d+\.\d+)\s{1,8}\d+ "
)
_SPARK = re.compile(rf"^\d\d/\d\d/\d\d \d\d:\d\d:\d\d(?= {_LEVEL})")
_FITTED_ON = re.compile(r"\b(time fit was run = ).{4,40}")
_LEFT = re.compile(r"‹[^›\n]{0,40}›|[\s|:,.\[\]()<>%±+-]")


def mask_line(line: str, context: Context) -> str:
    """Return a line with what is noise by its form replaced by a placeholder."""
    line = plainly_spelled(mask_progress(line))
    if ":" in line:
        line = _LOGGED.sub(_logged, line)
        line = _SPARK.sub("‹logged›", _GLOG.sub(r"\1‹logged› ", line))
        line = _LOCAL.sub("‹host›", line)
        line = _FITTED_ON.sub(r"\1‹logged›", line)
    if "0x" in line:
        line = _ADDRESS.sub(lambda m: f"{m[1] or 'at '}‹address›", line)
        line = _BARE_ADDRESS.sub("‹address›", line)
    if context.identities:
        line = _IDENTITY.sub("‹address›", line)
    if "<" in line:
        line = _REPR_ID.sub(r"\1‹address›", line)
    if "/" in line or "\\" in line:
        line = _mask_paths(line)
    if "sk-" in line or "T_" in line:
        line = _COUNTED_ID.sub("‹id›", line)
    lowered = line.lower()
    if not context.entropy and "id" in lowered:
        line = _NAMED_ID.sub(r"\1‹id›", line)
    if "id" in lowered or "pro" in lowered or "thread" in lowered:
        line = _PROCESS.sub(r"\1\2‹pid›", line)
    if "port" in lowered or "name" in lowered:
        line = _HOST.sub(r"\1\2‹host›", _PORT.sub(r"\1\2‹port›", line))
    return mask_times(line, context)


def only_noise(line: str) -> bool:
    """Whether nothing of a masked line is left but placeholders."""
    return "‹" in line and not _LEFT.sub("", line)


def _logged(match: re.Match[str]) -> str:
    """Mask a time only where a logger put it: in brackets, with milliseconds, beside a level."""
    around = match.string[: match.end() + 80]
    sure = match[0].endswith("]") or _MILLISECONDS.search(match[0]) or _LEVELS.search(around)
    return f"{match[1]}‹logged›" if sure else match[0]


def _mask_paths(line: str) -> str:
    if "ipy" in line:
        line = _KERNEL_FILE.sub("‹cell›", line)
    if "-packages" in line:
        line = _INSTALLED.sub("‹site›/", line)
    if "/lib/python" in line:
        line = _STDLIB.sub("‹python›/", line)
    if ".py:" in line:
        line = _SOURCE_LINE.sub(r"\1", line)
    if any(word in line for word in ("run", "token=", "id=", "s/")):
        line = _TRACKED.sub(r"\1‹id›", line)
    if any(word in line for word in ("tmp", "/var/", "/shm/", "Temp")):
        line = _TEMPORARY.sub(_temporary, line)
    return line


def _temporary(match: re.Match[str]) -> str:
    """Keep the name of a file in a temporary folder, unless that is drawn, too."""
    name = re.split(r"[/\\]", match[0].rstrip("/\\"))
    # The first below the temporary folder is drawn; macOS draws two more above it.
    depth = 3 if name[1] != "var" else 4
    if len(name) <= depth or _RANDOM_NAME.search(name[-1].partition(".")[0]):
        return "‹temporary›"
    return f"‹temporary›/{name[-1]}"

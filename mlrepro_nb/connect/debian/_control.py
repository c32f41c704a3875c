"""Control files: paragraphs, versions and dependencies, as Debian's policy has them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec


class Package(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A package that an archive has, or that is installed."""

    name: str
    version: str
    architecture: str = ""
    depends: str = ""
    """What it needs, as it is written."""
    provides: str = ""
    file: str = ""
    """Path in the archive; no host."""
    sha256: str = ""
    size: int = 0


class Relation(msgspec.Struct, frozen=True, kw_only=True):
    """A package that is asked for, perhaps of some versions only."""

    name: str
    operator: str = ""
    version: str = ""

    def accepts(self, version: str) -> bool:
        """Whether a version is one of those."""
        if not self.operator:
            return True
        order = compare(version, self.version)
        return {
            "<<": order < 0, "<=": order <= 0, "=": order == 0, ">=": order >= 0, ">>": order > 0,
        }[self.operator]  # fmt: skip


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Yield the paragraphs of a control file; a value that goes on keeps its lines."""
    for block in re.split(r"\n[ \t]*\n", text):
        found: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line[:1] in (" ", "\t"):
                if name:
                    found[name] += f"\n{line.strip()}"
            elif not line.startswith("#") and ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                found[name] = value.strip()
        if found:
            yield found


def package(fields: dict[str, str]) -> Package | None:
    """Return a paragraph as a package."""
    if not fields.get("package") or not fields.get("version"):
        return None
    depends = [fields.get("pre-depends", ""), fields.get("depends", "")]
    return Package(
        name=fields["package"],
        version=fields["version"],
        architecture=fields.get("architecture", ""),
        depends=", ".join(d.replace("\n", " ") for d in depends if d),
        provides=fields.get("provides", "").replace("\n", " "),
        file=fields.get("filename", ""),
        sha256=fields.get("sha256", ""),
        size=int(fields.get("size") or 0),
    )


def installed(status: str) -> tuple[Package, ...]:
    """Return what a ``/var/lib/dpkg/status`` says is installed."""
    found = []
    for fields in paragraphs(status):
        # What was removed and left its configuration behind is listed, too.
        if fields.get("status", "install ok installed").endswith(" installed"):
            one = package(fields)
            found += [one] if one else []
    return tuple(found)


_RELATION = re.compile(
    r"\s*(?P<name>[A-Za-z0-9][A-Za-z0-9+.-]*)(?::[a-z0-9-]+)?\s*"
    r"(?:\(\s*(?P<operator><<|<=|=|>=|>>)\s*(?P<version>[^\s)]+)\s*\))?"
)


def dependencies(text: str) -> list[list[Relation]]:
    """Return what a Depends or Provides field says: all of these, each of them one or another."""
    found = []
    for clause in text.split(","):
        ways = [
            Relation(
                name=match["name"],
                operator=match["operator"] or "",
                version=match["version"] or "",
            )
            for way in clause.split("|")
            if (match := _RELATION.match(way)) is not None
        ]
        if ways:
            found.append(ways)
    return found


def compare(one: str, other: str) -> int:
    """Return whether a version is older (-1), the same (0) or newer (1) than another."""
    first, second = _parts(one), _parts(other)
    if first[0] != second[0]:
        return -1 if first[0] < second[0] else 1
    for a, b in zip(first[1:], second[1:], strict=True):
        order = _compare_part(str(a), str(b))
        if order:
            return order
    return 0


def _parts(version: str) -> tuple[int, str, str]:
    """Return a version's epoch, upstream version and revision."""
    epoch, colon, rest = version.partition(":")
    if not colon or not epoch.isdecimal():
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch), upstream, revision


def _compare_part(one: str, other: str) -> int:
    # Runs of what are no digits and of digits in turn; numbers count as numbers.
    a, b = re.findall(r"(\D*)(\d*)", one), re.findall(r"(\D*)(\d*)", other)
    for at in range(max(len(a), len(b))):
        text_a, number_a = a[at] if at < len(a) else ("", "")
        text_b, number_b = b[at] if at < len(b) else ("", "")
        first = [_weight(c) for c in text_a] + [0]
        second = [_weight(c) for c in text_b] + [0]
        if first != second:
            return -1 if first < second else 1
        order = int(number_a or 0) - int(number_b or 0)
        if order:
            return -1 if order < 0 else 1
    return 0


def _weight(character: str) -> int:
    """Return a character's place: ``~`` before the end, then letters, then all else."""
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256

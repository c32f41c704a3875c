"""What a terminal shows of what was written to it."""

from __future__ import annotations

import re

# Colours and titles; of the movements only those that progress bars make are carried out.
_ANSI = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_UP = re.compile(r"\x1b\[\d*A")
_STEP = re.compile(r"(\n|\r|\x1b\[\d*A|\x1b\[\d*B|\x1b\[[012]?K)")


def screen(text: str) -> str:
    """Return what a terminal would show: no colours, returns and movements carried out."""
    if "\x1b" in text:
        text = _moved(_COLOUR.sub("", text)) if _UP.search(text) else text
        text = _ANSI.sub("", text)
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if "\b" in text:
        text = "\n".join(_backspaced(line) if "\b" in line else line for line in text.split("\n"))
    if "\r" in text:
        text = "\n".join(
            next((part for part in reversed(line.split("\r")) if part.strip()), "")
            if "\r" in line
            else line
            for line in text.split("\n")
        )
    return text


def _backspaced(line: str) -> str:
    kept: list[str] = []
    for char in line:
        if char != "\b":
            kept.append(char)
        elif kept:
            kept.pop()
    return "".join(kept)


def _moved(text: str) -> str:
    """Carry out the movements between lines with which nested bars are drawn."""
    rows, row, fresh = [""], 0, True
    for piece in _STEP.split(text):
        if piece == "\n" or piece.endswith("B"):
            if not piece.startswith("\x1b") or piece == "\n":
                row, fresh = row + 1, True
                # A line that is drawn again is replaced, not continued.
                while row >= len(rows):
                    rows.append("")
            else:
                row = min(row + _count(piece), len(rows) - 1)
        elif piece.startswith("\x1b[") and piece.endswith("A"):
            row, fresh = max(0, row - _count(piece)), True
        elif piece == "\r":
            fresh = True
        elif piece.startswith("\x1b[") and piece.endswith("K"):
            rows[row] = ""
        elif piece.strip():
            rows[row] = piece if fresh else rows[row] + piece
            fresh = False
        elif piece and not fresh:
            rows[row] += piece
    return "\n".join(rows)


def _count(piece: str) -> int:
    digits = piece[2:-1]
    return min(int(digits), 1000) if digits and len(digits) < 5 else 1

#!/usr/bin/env python3
"""Takes an SVG picture of a terminal program, as it really looks, through tmux.

    assets/screenshot.py OUT.svg [--size 80x24] [--wait SECONDS] [--keys 'c'] -- COMMAND...

Needs tmux and Python 3, nothing else. The pictures of the README are made by
assets/pictures.py.
"""
import argparse
import html
import re
import subprocess
import sys
import time
import unicodedata

CELL_W, CELL_H, FONT = 8.43, 18, 14
GROUNDS = {"dark": ("#d4d7dd", "#14161b"), "light": ("#24292f", "#fcfcfc")}
FOREGROUND, BACKGROUND = GROUNDS["dark"]
BASIC = ["#1d1f26", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#c8ccd4",
         "#6b7280", "#ff7b86", "#b5e890", "#ffd787", "#82c7ff", "#e29bf4", "#7fdbe6", "#ffffff"]


def ground(theme):
    """Draws on the ground of this theme from now on."""
    global FOREGROUND, BACKGROUND
    FOREGROUND, BACKGROUND = GROUNDS[theme]


def indexed(n):
    if n < 16:
        return BASIC[n]
    if n >= 232:
        return "#%02x%02x%02x" % ((8 + (n - 232) * 10,) * 3)
    n -= 16
    level = [0, 95, 135, 175, 215, 255]
    return "#%02x%02x%02x" % (level[n // 36], level[n // 6 % 6], level[n % 6])


class Style:
    def __init__(self):
        self.fg = self.bg = None
        self.bold = self.dim = self.reverse = self.underline = self.italic = False

    def apply(self, codes):
        codes = [int(c or 0) for c in codes]
        while codes:
            c = codes.pop(0)
            if c == 0:
                self.__init__()
            elif c in (1, 2, 3, 4, 7):
                setattr(self, {1: "bold", 2: "dim", 3: "italic", 4: "underline", 7: "reverse"}[c], True)
            elif c == 22:
                self.bold = self.dim = False
            elif c in (23, 24, 27):
                setattr(self, {23: "italic", 24: "underline", 27: "reverse"}[c], False)
            elif 30 <= c <= 37 or 90 <= c <= 97:
                self.fg = BASIC[c - 30 if c < 90 else c - 82]
            elif 40 <= c <= 47 or 100 <= c <= 107:
                self.bg = BASIC[c - 40 if c < 100 else c - 92]
            elif c == 39:
                self.fg = None
            elif c == 49:
                self.bg = None
            elif c in (38, 48) and codes:
                kind = codes.pop(0)
                colour = indexed(codes.pop(0)) if kind == 5 else "#%02x%02x%02x" % tuple(
                    codes.pop(0) for _ in range(3))
                setattr(self, "fg" if c == 38 else "bg", colour)

    def colours(self):
        fg, bg = self.fg or FOREGROUND, self.bg or BACKGROUND
        return (bg, fg) if self.reverse else (fg, bg)


def width(ch):
    if unicodedata.combining(ch):
        return 0
    return 2 if unicodedata.east_asian_width(ch) in "WF" else 1


def runs(line, style):
    """Pieces of one line with one style: (column, text, cells, attributes)."""
    column = 0
    for part in re.split(r"(\x1b\[[0-9;:]*m)", line):
        if part.startswith("\x1b["):
            style.apply(re.split("[;:]", part[2:-1]))
        elif part:
            cells = sum(width(ch) for ch in part)
            yield column, part, cells, style.colours(), style.bold, style.dim, style.underline
            column += cells


class Sheet:
    """The looks of text in one drawing, each a class with a short name."""

    def __init__(self):
        self.names = {}

    def name(self, fg, bold, dim, underline):
        look = f"fill:{fg}" + ";font-weight:bold" * bold + ";opacity:.6" * dim + ";text-decoration:underline" * underline
        return self.names.setdefault(look, f"s{len(self.names)}")

    def css(self):
        return "".join(f".{name}{{{look}}}" for look, name in self.names.items())


def svg(screen, columns, rows):
    """The screen as one drawing."""
    sheet, drawn = Sheet(), []
    for row, parts in enumerate(svg_rows(screen, rows, sheet)):
        if parts:
            drawn.append(f'<g transform="translate(0 {row * CELL_H})">{parts}</g>')
    return svg_document(columns, rows, sheet.css(), drawn)


def svg_document(columns, rows, css, drawn):
    """A terminal's ground with something drawn on it."""
    w, h = columns * CELL_W + 24, rows * CELL_H + 24
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h:.0f}" width="{w:.0f}" height="{h:.0f}" '
        f'font-family="ui-monospace, Menlo, Consolas, \'DejaVu Sans Mono\', monospace" font-size="{FONT}" '
        'xml:space="preserve">', f"<style>{css}</style>",
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>', *drawn, "</svg>", ""])


def svg_rows(screen, rows, sheet):
    """The drawing of each row, as if it were the first one."""
    style = Style()
    for line in screen[:rows]:
        out = []
        for column, text, cells, (fg, bg), bold, dim, underline in runs(line, style):
            if bg != BACKGROUND:
                out.append(f'<rect x="{12 + column * CELL_W:.1f}" y="12" width="{cells * CELL_W:.1f}" '
                           f'height="{CELL_H}" fill="{bg}"/>')
            lead = len(text) - len(text.lstrip(" "))
            shown = text.strip(" ")
            if shown:
                cells -= len(text) - len(shown)
                name = sheet.name(fg, bold, dim, underline)
                out.append(f'<text x="{12 + (column + lead) * CELL_W:.1f}" y="25" class="{name}" '
                           f'textLength="{cells * CELL_W:.1f}">{html.escape(shown)}</text>')
        yield "".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out")
    parser.add_argument("--size", default="80x24")
    parser.add_argument("--wait", type=float, default=3)
    parser.add_argument("--keys", action="append", default=[], help="tmux key names, sent one a second before the picture")
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    command = sys.argv[split + 1:]
    args = parser.parse_args(sys.argv[1:split])
    columns, rows = map(int, args.size.split("x"))
    tmux = ["tmux", "-L", "evaltop-screenshot"]
    subprocess.run(tmux + ["-f", "/dev/null", "new-session", "-d", "-s", "shot", "-x", str(columns), "-y", str(rows),
                           "-e", "COLORTERM=truecolor", "-e", "LC_ALL=C.UTF-8"] + command, check=True)
    try:
        time.sleep(args.wait)
        for key in args.keys:
            subprocess.run(tmux + ["send-keys", "-t", "shot", key], check=True)
            time.sleep(1)
        screen = subprocess.run(tmux + ["capture-pane", "-e", "-p", "-t", "shot"], check=True,
                                capture_output=True, text=True).stdout.split("\n")
        subprocess.run(tmux + ["send-keys", "-t", "shot", "q"], check=False)
        time.sleep(2)
    finally:
        subprocess.run(tmux + ["kill-server"], check=False, stderr=subprocess.DEVNULL)
    with open(args.out, "w", encoding="utf-8") as file:
        file.write(svg(screen, columns, rows))


if __name__ == "__main__":
    main()

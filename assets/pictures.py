#!/usr/bin/env python3
"""Takes the pictures of the README and the docs from the real program, in one go.

    cargo build --release
    assets/pictures.py [--program target/release/evaltop]

Needs tmux and Python 3, nothing else; takes three minutes. The demo runs with a fixed seed in
a terminal and a home folder of its own, once in the dark theme and once in the light one. Keys are pressed, and what
the terminal shows is written as SVG: still pictures, and a recorded session that plays by itself where it is shown.
"""
import argparse
import os
import subprocess
import tempfile
import time

from screenshot import CELL_H, Sheet, ground, svg, svg_document, svg_rows

HERE = os.path.dirname(os.path.abspath(__file__))
# Seconds between two looks at the terminal while a session is recorded.
STEP = 1.0


class Terminal:
    """The program in tmux, in a theme."""

    def __init__(self, size, home, theme, *command):
        self.columns, self.rows = size
        self.theme = theme
        self.tmux = ["tmux", "-L", f"evaltop-pictures-{theme}"]
        settings = os.path.join(home, f"{theme}.toml")
        with open(settings, "w", encoding="utf-8") as file:
            file.write(f'[dashboard]\ntheme = "{theme}"\n')
        environment = ["-e", "COLORTERM=truecolor", "-e", "LC_ALL=C.UTF-8", "-e", f"EVALTOP_CONFIG={settings}",
                       "-e", f"HOME={home}", "-e", f"XDG_STATE_HOME={home}"]
        self.run("-f", "/dev/null", "new-session", "-d", "-s", "p", "-x", str(size[0]), "-y", str(size[1]),
                 *environment, *command)

    def run(self, *arguments):
        return subprocess.run(self.tmux + list(arguments), check=True, capture_output=True, text=True).stdout

    def screen(self):
        return self.run("capture-pane", "-e", "-p", "-t", "p").split("\n")[:self.rows]

    def text(self):
        return self.run("capture-pane", "-p", "-t", "p")

    def press(self, *keys):
        self.run("send-keys", "-t", "p", *keys)

    def back(self):
        """One step back. A key that follows at once would make it Alt and that key."""
        self.press("Escape")
        time.sleep(1)

    def wait(self, text, seconds=120):
        end = time.time() + seconds
        while text not in self.text():
            if time.time() > end:
                raise SystemExit(f"never came: {text}\n{self.text()}")
            time.sleep(0.2)

    def picture(self, name, *keys):
        """A still picture after some keys; Esc takes them back."""
        for key in keys:
            self.press(key)
            time.sleep(1)
        ground(self.theme)
        write(name, svg(self.screen(), self.columns, self.rows))

    def resize(self, columns, rows):
        self.run("resize-window", "-t", "p", "-x", str(columns), "-y", str(rows))
        self.columns, self.rows = columns, rows
        time.sleep(2)

    def close(self):
        subprocess.run(self.tmux + ["kill-server"], check=False, stderr=subprocess.DEVNULL)


def write(name, text):
    path = os.path.join(HERE, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    print(f"{path}: {len(text) / 1024:.0f} KiB")


def record(terminal, steps):
    """What is shown while keys are pressed: (seconds from the start, rows), changes only."""
    frames, begun = [], time.time()
    for seconds, keys in steps:
        for key in keys:
            terminal.press(key)
        end = time.time() + seconds
        while time.time() < end:
            screen = terminal.screen()
            if not frames or frames[-1][1] != screen:
                frames.append((time.time() - begun, screen))
            time.sleep(STEP)
    return frames, time.time() - begun


def animated(frames, length, columns, rows):
    """One SVG that shows each frame in its time, over and over. A row that is the same in
    several frames is written once."""
    sheet, names, rows_used, shown = Sheet(), {}, [], []
    for number, (begin, screen) in enumerate(frames):
        end = frames[number + 1][0] if number + 1 < len(frames) else length
        uses = []
        for row, parts in enumerate(svg_rows(screen, rows, sheet)):
            if not parts:
                continue
            if parts not in names:
                names[parts] = f"r{len(names)}"
                rows_used.append(f'<g id="{names[parts]}">{parts}</g>')
            uses.append(f'<use href="#{names[parts]}" y="{row * CELL_H}"/>')
        first, last = 100 * begin / length, 100 * end / length
        shown.append((number, first, last, "".join(uses)))
    style = ["g.f{visibility:hidden}"]
    for number, first, last, _ in shown:
        hidden = f"{first:.2f}%{{visibility:visible}}{last:.2f}%{{visibility:hidden}}"
        style.append(f"@keyframes f{number}{{0%{{visibility:hidden}}{hidden}}}"
                     f"#f{number}{{animation:f{number} {length:.1f}s step-end infinite}}")
    drawn = [f"<defs>{''.join(rows_used)}</defs>"]
    drawn += [f'<g class="f" id="f{number}">{uses}</g>' for number, _, _, uses in shown]
    return svg_document(columns, rows, sheet.css() + "".join(style), drawn)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--program", default="target/release/evaltop")
    program = os.path.abspath(parser.parse_args().program)
    home = tempfile.TemporaryDirectory(prefix="evaltop-pictures-")
    opened = {}
    try:
        for theme in ("dark", "light"):
            store = os.path.join(home.name, "runs", theme, "nightly")
            opened[theme] = Terminal((80, 24), home.name, theme, program, "demo", "--dir", store)
        terminal, light = opened["dark"], opened["light"]
        for one in (terminal, light):
            one.wait("▲429")
            one.wait("1 lost")
        light.picture("dashboard-light.svg")
        light.resize(140, 40)
        light.picture("wide-light.svg")
        light.press("q")
        terminal.picture("dashboard.svg")
        terminal.picture("alert.svg", "i")
        terminal.back()
        frames, length = record(terminal, [
            (3, []), (2, ["g"]), (3, ["Enter"]), (3, ["NPage"]), (3, ["Right"]), (1, ["Escape"]), (4, ["i"]),
            (1, ["Escape"]), (1, ["/"]), (2, ["q", "u", "a"]), (1, ["Escape"]), (3, ["c"]), (7, ["y"]),
        ])
        write("session.svg", animated(frames, length, terminal.columns, terminal.rows))
        terminal.picture("model.svg", "g", "Enter")
        terminal.back()
        # Keys that come at once would be pasted text.
        for key in ("Space", "j", "="):
            terminal.press(key)
            time.sleep(1)
        terminal.wait("only it passed")
        terminal.picture("compare.svg")
        terminal.back()
        terminal.picture("history.svg", "H")
        terminal.back()
        terminal.picture("help.svg", "?")
        terminal.back()
        terminal.resize(140, 40)
        terminal.picture("wide.svg")
        terminal.press("q")
        time.sleep(2)
    finally:
        for one in opened.values():
            one.close()
        home.cleanup()


if __name__ == "__main__":
    main()

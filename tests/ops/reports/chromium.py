"""Pages in headless chromium: pictures of them, and whether anything is cut off."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zlib

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-file-access-from-files",
    "--virtual-time-budget=5000",
)
PAPER = {"light": (255, 255, 255), "dark": (14, 19, 24)}
WIDTHS = (1440, 1000, 390)
MEASURE = """<script>
addEventListener('load',function(){document.querySelectorAll('iframe').forEach(function(f){
  var d=f.contentDocument;d.querySelectorAll('details').forEach(function(e){e.open=true;});
  f.dataset.over=d.scrollingElement.scrollWidth-f.clientWidth;
  f.dataset.js=d.documentElement.className;});});
</script>"""


def run(tmp_path, page, *flags, width=1440, height=2400):
    done = subprocess.run(
        [
            str(CHROMIUM),
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},{height}",
            *flags,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def pixels(path):
    """(width, height, first pixel, different bytes) of a PNG; the first pixel has no filter."""
    data = path.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    body, at = b"", 8
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body += data[at + 8 : at + 8 + length] if kind == b"IDAT" else b""
        at += 12 + length
    raw = zlib.decompress(body)
    return width, height, tuple(raw[1:4]), len(set(raw))


def assert_fits(folder, pages):
    """No page, by kind, is wider than desktop, tablet or phone; the pinned script runs in each."""
    frames = []
    for kind, page in pages.items():
        (folder / f"{kind}.html").write_text(page, encoding="utf-8")
        frames += [
            f'<iframe title="{kind} {width}" src="{kind}.html" '
            f'style="width:{width}px;height:900px;border:0"></iframe>'
            for width in WIDTHS
        ]
    wrapper = folder / "all.html"
    wrapper.write_text(f"<!doctype html>{MEASURE}{''.join(frames)}", encoding="utf-8")
    dom = run(folder, wrapper, "--dump-dom")
    found = re.findall(r'<iframe title="([^"]+)"[^>]*data-over="(-?\d+)" data-js="(\w*)"', dom)
    assert len(found) == len(frames)
    assert [row for row in found if int(row[1]) > 0] == []
    assert {row[2] for row in found} == {"js"}, "the pinned script did not run"

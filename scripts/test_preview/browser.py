"""The preview's page in a real browser, which is driven by WebDriver (W3C).

    python3 browser.py AFFECTD DIRECTORY

The browser has no way to a Unix socket, so a thread passes connections to
127.0.0.1 on, as `ssh -L` does.
"""

import base64
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PHOTO = ROOT / "tests/data/photos/astronaut-gray.png"
WIDTH, HEIGHT = 384, 320
LONG = 60


def gray(path):
    """Width, height and rows of an 8-bit gray PNG."""
    data = path.read_bytes()
    at, body, size = 8, b"", None
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        kind, chunk = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            size = struct.unpack(">II", chunk[:8])
            assert chunk[8:10] == b"\x08\x00", "not an 8-bit gray picture"
        if kind == b"IDAT":
            body += chunk
        at += 12 + length
    width, height = size
    raw, rows, above = zlib.decompress(body), [], bytes(width)
    for y in range(height):
        kind, line = raw[y * (width + 1)], bytearray(raw[y * (width + 1) + 1 :][:width])
        for x in range(width):
            left = line[x - 1] if x else 0
            up, corner = above[x], above[x - 1] if x else 0
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = up
            elif kind == 3:
                guess = (left + up) // 2
            elif kind == 4:
                guess = min((left, up, corner), key=lambda v: abs(left + up - corner - v))
            else:
                guess = 0
            line[x] = (line[x] + guess) & 255
        above = bytes(line)
        rows.append(above)
    return width, height, rows


def recording(path, change=lambda rows: rows):
    """A Y4M of a picture that sways."""
    _, _, small = gray(PHOTO)
    # Twice as large.
    rows = [bytes(value for value in row for _ in "xx") for row in small for _ in "xx"]
    with path.open("wb") as out:
        out.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F15:1 Cmono\n".encode())
        for frame in range(60):
            x = 16 + abs(frame % 30 - 15)
            y = abs(frame % 20 - 10)
            frame = [row[x : x + WIDTH] for row in rows[y : y + HEIGHT]]
            out.write(b"FRAME\n" + b"".join(change(frame)))


def darker(rows):
    return [bytes(value // 9 for value in row) for row in rows]


def upside_down(rows):
    return [row[::-1] for row in reversed(rows)]


class Forward:
    """Passes TCP connections to this machine on to a Unix socket."""

    def __init__(self, path):
        self.path = path
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self.path))
            except OSError:
                client.close()
                continue
            for one, other in [(client, server), (server, client)]:
                threading.Thread(target=self.copy, args=(one, other), daemon=True).start()

    @staticmethod
    def copy(source, sink):
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Daemon:
    def __init__(self, program, folder, source):
        self.socket = folder / "http.sock"
        board = folder / "board.toml"
        board.write_text(
            f"""name = "Robot at the door"
[capture]
source = "{source}"
repeat = true
pace = "recorded"
[track]
confirm = 1
[events]
file = "events.jsonl"
[preview]
socket = "http.sock"
"""
        )
        self.events = folder / "events.jsonl"
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [program, "run", "--board", board], cwd=ROOT, stderr=self.log, stdout=subprocess.DEVNULL
        )
        wait("the preview's socket", self.socket.exists)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(LONG) == 0

    def watched(self):
        lines = map(json.loads, self.events.read_text().splitlines())
        return [line["watched"] for line in lines if line["type"] == "preview"]


class Browser:
    """A session of chromedriver."""

    def __init__(self, port, profile, width, height, phone):
        self.base = f"http://127.0.0.1:{port}/session"
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
        ]
        options = {"args": arguments}
        if phone:
            metrics = {"width": width, "height": height, "pixelRatio": 2, "touch": True}
            options["mobileEmulation"] = {"deviceMetrics": metrics}
        capabilities = {
            "browserName": "chrome",
            # The stream of pictures never finishes loading.
            "pageLoadStrategy": "eager",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        answer = self.call("POST", "", {"capabilities": {"alwaysMatch": capabilities}})
        self.base += "/" + answer["sessionId"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.call("DELETE", "")

    def call(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.base + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=LONG) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read().decode()[:500]}") from error

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, code):
        return self.call("POST", "/execute/sync", {"script": code, "args": []})

    def text(self, element):
        return self.run(f"return document.getElementById('{element}').innerText")

    def errors(self):
        log = self.call("POST", "/se/log", {"type": "browser"})
        # The daemon may be starting, and it has no icon.
        known = ("favicon", "status of 503")
        messages = [line["message"] for line in log if line["level"] == "SEVERE"]
        return [message for message in messages if not any(k in message for k in known)]

    def expect_no_errors(self):
        errors = self.errors()
        assert not errors, "\n".join(errors)

    def screenshot(self, path):
        path.write_bytes(base64.b64decode(self.call("GET", "/screenshot")))


def wait(what, is_done, patience=LONG):
    deadline = time.monotonic() + patience
    while not (result := is_done()):
        assert time.monotonic() < deadline, f"{what}: not within {patience} s"
        time.sleep(0.1)
    return result


# A small hash of the live picture as it is on the screen.
LIVE = """
const image = document.getElementById('live');
if (!image.naturalWidth) return null;
const canvas = document.createElement('canvas');
[canvas.width, canvas.height] = [48, 36];
const pen = canvas.getContext('2d');
pen.drawImage(image, 0, 0, 48, 36);
return [image.naturalWidth, image.naturalHeight, ...pen.getImageData(0, 0, 48, 36).data].join();
"""

# How many pixels of the chart have a colour.
CHART = """
const canvas = document.getElementById('chart');
const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
let count = 0;
for (let i = 0; i < data.length; i += 4) {
  const [least, most] = [Math.min(data[i], data[i + 1], data[i + 2]), Math.max(data[i], data[i + 1], data[i + 2])];
  if (data[i + 3] > 200 && most - least > 40) count++;
}
return count;
"""

WIDER = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


def look(browser, url, shot):
    """What a good picture shows, at any size of the window."""
    browser.open(url)
    wait("a picture", lambda: browser.run(LIVE))
    first = browser.run(LIVE)
    assert first.startswith(f"{WIDTH},{HEIGHT},"), first[:20]
    wait("another picture", lambda: browser.run(LIVE) != first)
    wait("a label", lambda: browser.text("label") not in ("", "no face"))
    wait("good advice", lambda: "The picture is good" in browser.text("advice"))
    assert browser.text("name") == "Robot at the door"
    assert browser.text("camera") == "camera works"
    assert browser.text("bars").split()[0::2] == (
        "angry disgust fear happy sad surprise neutral".split()
    ), browser.text("bars")
    assert "px" in browser.text("size") and "%" in browser.text("sharpness")
    assert "MB" in browser.text("health")
    assert browser.run("return document.getElementById('gpio').hidden") is True
    wait("the chart", lambda: browser.run(CHART) > 50)
    assert browser.run(WIDER) == 0, "the page is wider than the window"
    time.sleep(12)
    browser.screenshot(shot)
    browser.expect_no_errors()


def ask(port, path, host):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def main():
    program, shots = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    shots.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp())
    driver_port = socket.create_server(("127.0.0.1", 0))
    port = driver_port.getsockname()[1]
    driver_port.close()
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}", f"--log-path={work}/driver.log"],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(work)},
    )
    try:
        wait("chromedriver", lambda: reachable(port))
        recording(work / "good.y4m")
        recording(work / "dark.y4m", darker)
        recording(work / "turned.y4m", upside_down)

        def browser(width, height, phone=False):
            profile = tempfile.mkdtemp(dir=work)
            return Browser(port, profile, width, height, phone)

        folder = work / "good"
        folder.mkdir()
        with Daemon(program, folder, work / "good.y4m") as daemon:
            forward = Forward(daemon.socket)
            url = f"http://localhost:{forward.port}/"
            with browser(1280, 900) as window:
                look(window, url, shots / "desktop.png")
            with browser(390, 844, phone=True) as window:
                look(window, url, shots / "phone.png")
                window.run("window.scrollTo(0, 760)")
                time.sleep(0.5)
                window.screenshot(shots / "phone-below.png")
            wait("the end of the watch", lambda: daemon.watched()[-1] is False, 20)
            assert daemon.watched()[0] is True
            status, headers, body = ask(forward.port, "/snapshot", "127.0.0.1:1")
            assert status == 200 and body[:3] == b"\xff\xd8\xff", (status, body[:20])
            assert headers["Cache-Control"] == "no-store"
            assert "default-src 'self'" in headers["Content-Security-Policy"]
            assert "Access-Control-Allow-Origin" not in headers
            assert ask(forward.port, "/state", "evil.example")[0] == 421
        for name, expected in [("dark", "too dark"), ("turned", "upside down")]:
            folder = work / name
            folder.mkdir()
            with Daemon(program, folder, work / f"{name}.y4m") as daemon:
                forward = Forward(daemon.socket)
                with browser(390, 844, phone=True) as window:
                    window.open(f"http://localhost:{forward.port}/")
                    wait(name, lambda: expected in window.text("advice").lower())
                    window.screenshot(shots / f"{name}.png")
                    window.expect_no_errors()
        folder = work / "none"
        folder.mkdir()
        with Daemon(program, folder, "/dev/video-there-is-none") as daemon:
            forward = Forward(daemon.socket)
            with browser(390, 844, phone=True) as window:
                window.open(f"http://localhost:{forward.port}/")
                wait("no camera", lambda: "No camera" in window.text("cover"))
                window.screenshot(shots / "no-camera.png")
                window.expect_no_errors()
            assert ask(forward.port, "/snapshot", "localhost")[0] == 503
    finally:
        driver.terminate()
        driver.wait(LONG)
        shutil.rmtree(work, ignore_errors=True)
    print(f"the preview's page: desktop, phone, dark, upside down, no camera; see {shots}")


def reachable(port):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=1).close()
        return True
    except OSError:
        return False


main()

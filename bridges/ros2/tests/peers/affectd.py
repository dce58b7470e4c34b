"""A stand-in for affectd: an event socket that sends what a test says."""

import json
import os
import socket
import subprocess
import threading
import time


class Affectd:
    """Listens on a path. A new reader gets `hello` and the present state, as from the daemon."""

    def __init__(self, path, **hello):
        self.path = str(path)
        self.lock = threading.Lock()
        self.readers = []
        self.state = {}  # what holds now: type and keys of each line
        self.hello = {
            "version": "0.2.0", "id": "robot-7", "name": "Küche", "config": "0" * 64,
            "source": "/dev/video0", "live": True, "model": "expression", "model_sha256": "0" * 64,
            "outputs": [], "classes": ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"],
            "period_ms": 1000, **hello,
        }
        self.start()
        threading.Thread(target=self._repeat, daemon=True).start()

    def start(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(16)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def stop(self):
        """Like a daemon that ends: its readers are closed, and nobody listens."""
        self.listener.close()
        os.unlink(self.path)
        self.disconnect()
        self.state.clear()

    def disconnect(self):
        with self.lock:
            for reader in self.readers:
                reader.shutdown(socket.SHUT_RDWR)
                reader.close()
            self.readers.clear()

    def _accept(self, listener):
        while True:
            try:
                reader, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                lines = [self.line("hello", **self.hello), *(self.line(kind, **keys) for kind, keys in self.state.values())]
                reader.sendall("".join(lines).encode())
                self.readers.append(reader)

    def _repeat(self):
        """Once per period, as the daemon does."""
        while self.hello["period_ms"]:
            time.sleep(self.hello["period_ms"] / 1000)
            for kind, keys in list(self.state.values()):
                self.raw(self.line(kind, **{**keys, "change": False}).encode())

    def wait_for_reader(self, count=1, timeout=20):
        deadline = time.monotonic() + timeout
        while len(self.readers) < count:
            assert time.monotonic() < deadline, "the bridge does not connect"
            time.sleep(0.02)

    @staticmethod
    def line(kind, at=None, **keys):
        at = time.monotonic() if at is None else at
        wall = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        start = {"schema": 1, "type": kind, "time": round(at, 3), "wall": wall, "frame": int(at * 30)}
        return json.dumps({**start, **keys}, ensure_ascii=False) + "\n"

    def raw(self, data):
        with self.lock:
            for reader in list(self.readers):
                try:
                    reader.sendall(data)
                except OSError:
                    self.readers.remove(reader)

    def send(self, kind, at=None, **keys):
        if kind in ("none", "camera_lost", "paused"):
            self.state = {key: kept for key, kept in self.state.items() if key == "health"}
            self.state[kind] = kind, keys
        elif kind == "face":
            self.state.pop("none", None)
            self.state[f"face {keys['track']}"] = kind, keys
        elif kind == "gone":
            self.forget(keys["track"])
        elif kind == "health":
            self.state[kind] = kind, keys
        self.raw(self.line(kind, at, **keys).encode())

    def forget(self, track):
        """Repeats a face no more, without a word about it."""
        self.state.pop(f"face {track}", None)

    def face(self, track, label="happy", confidence=0.75, at=None, **more):
        """A face of 80x80 pixels at 160,120 in a picture of 640x480."""
        keys = {
            "track": track, "leading": True, "box": [160, 120, 80, 80], "size": [640, 480],
            "searched": 1.0, "label": label, "confidence": confidence,
            "probabilities": dict.fromkeys(self.hello["classes"], 0.1), "since": 1.0, "change": True, **more,
        }
        self.send("face", at, **keys)

    def nobody(self):
        self.send("none", since=1.0, change=True)

    def health(self, camera="streaming", **more):
        keys = {"camera": camera, "fps": 29.97, "frames": 300, "dropped": {"busy": 3, "broken": 0, "dark": 0, "hot": 0},
                "hot": False, "uptime": 10.0, "change": False, **more}
        self.send("health", **keys)


class Bridge:
    """The program under test, with its configuration."""

    def __init__(self, program, folder, socket, name="ros2", log="info", inside=(), **ros):
        self.config = os.path.join(folder, f"{name}.toml")
        with open(self.config, "w") as file:
            file.write(f'[events]\nsocket = "{socket}"\n[ros]\n')
            for key, value in ros.items():
                file.write(f"{key} = {json.dumps(value)}\n")
        self.logfile = open(os.path.join(folder, f"{name}.log"), "w+")
        self.process = subprocess.Popen(
            [*inside, program, "--config", self.config, "--log", log], stderr=self.logfile)

    def log(self):
        self.logfile.seek(0)
        return self.logfile.read()

    def stop(self):
        self.process.terminate()
        code = self.process.wait(10)
        assert code == 0, f"exit code {code}: {self.log()}"

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def wait_until(condition, timeout=10, what="it"):
    """The condition's first true value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(0.01)

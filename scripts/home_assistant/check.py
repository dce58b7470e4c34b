"""Runs mosquitto, affectd-mqtt, a Home Assistant and a daemon that is played, and
looks at Home Assistant's states. scripts/test-home-assistant calls it in a network
of its own.
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

PERIOD = 3
# Long enough for any machine; nothing waits for it unless it fails.
LONG = 120
DOCUMENT = pathlib.Path(__file__).parent.parent.parent / "docs/home-assistant.md"
URL = "http://127.0.0.1:8123/api/"
NAME = "kuchenhauschen"
SECRET, TOKEN_ID, USER = "k" * 64, "0" * 32, "a" * 32


class Daemon:
    """affectd's sockets. Says once a second what is so."""

    def __init__(self, folder):
        self.events, self.control = folder / "events.sock", folder / "control.sock"
        self.state = "happy"
        self.orders = []
        for path, serve in [(self.events, self.speak), (self.control, self.obey)]:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen()
            threading.Thread(target=self.accept, args=(listener, serve), daemon=True).start()

    def accept(self, listener, serve):
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def speak(self, connection):
        def send(kind, **keys):
            wall = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
            line = {"schema": 1, "type": kind, "time": now, "wall": wall, "frame": int(now * 30), **keys}
            connection.sendall((json.dumps(line) + "\n").encode())

        now = 100.0
        try:
            send("hello", version="0.2.0", id="robot-7", name="Küchenhäuschen", config="c",
                 live=True, period_ms=1000)
            while True:
                state = self.state
                now += 1
                streams = state not in ("lost", "paused")
                if state == "lost":
                    send("camera_lost", reason="unplugged", since=now, change=True)
                elif state == "paused":
                    send("paused", by=["control"], since=now, change=True)
                elif state == "none":
                    send("none", since=now, change=True)
                else:
                    send("face", track=1, leading=True, box=[1, 2, 3, 4], size=[640, 480],
                         label=state, confidence=0.87, since=now, change=True, facing=True)
                    send("fatigue", track=1, state="drowsy", reason=None, since=now, valid=0.93,
                         perclos=0.1, closure_ms=None, calibrated=True, change=True)
                send("health", camera="streaming" if streams else state, fps=29.9, frames=1,
                     dropped={}, frame_p50_ms=12.5, frame_p99_ms=20, temperature=51.5, hot=False,
                     uptime=now, restarts=0, change=True)
                time.sleep(1)
        except OSError:
            pass

    def obey(self, connection):
        with connection, connection.makefile("rw") as stream:
            order = json.loads(stream.readline())["command"]
            self.orders.append(order)
            self.state = {"pause": "paused", "resume": "happy"}[order]
            stream.write('{"ok":true}\n')


def automation():
    """The automation that the document shows, with an input that it can change."""
    block = re.search(r"```yaml\n(.*?)```", DOCUMENT.read_text(), re.S)[1]
    return "http:\napi:\n" + block


def prepare(folder):
    storage = folder / ".storage"
    storage.mkdir(parents=True)
    (folder / "configuration.yaml").write_text(automation())

    def put(key, data, version=1, minor=1):
        content = {"version": version, "minor_version": minor, "key": key, "data": data}
        (storage / key).write_text(json.dumps(content))

    then = "2026-01-01T00:00:00+00:00"
    put("auth", {
        "users": [{
            "id": USER, "group_ids": ["system-admin"], "is_owner": True, "is_active": True,
            "name": "test", "system_generated": False, "local_only": False,
        }],
        "groups": [{"id": "system-admin", "name": "Administrators"}],
        "credentials": [],
        "refresh_tokens": [{
            "id": TOKEN_ID, "user_id": USER, "client_id": None, "client_name": "test",
            "client_icon": None, "token_type": "long_lived_access_token", "created_at": then,
            "access_token_expiration": 315360000.0, "token": "t" * 64, "jwt_key": SECRET,
            "last_used_at": None, "last_used_ip": None, "expire_at": None, "credential_id": None,
            "version": None,
        }],
    })
    put("onboarding", {"done": ["user", "core_config", "analytics", "integration"]}, 4)
    put("core.config_entries", {"entries": [{
        "created_at": then, "modified_at": then, "data": {"broker": "127.0.0.1", "port": 1883},
        "disabled_by": None, "discovery_keys": {}, "domain": "mqtt", "entry_id": "e" * 26,
        "minor_version": 2, "options": {}, "pref_disable_new_entities": False,
        "pref_disable_polling": False, "source": "user", "subentries": [], "title": "MQTT",
        "unique_id": None, "version": 1,
    }]}, 1, 5)


def call(path, data=None):
    part = lambda content: base64.urlsafe_b64encode(content).rstrip(b"=").decode()
    now = int(time.time())
    claims = {"iss": TOKEN_ID, "iat": now - 60, "exp": now + 3600}
    signed = ".".join(part(json.dumps(piece).encode()) for piece in ({"alg": "HS256", "typ": "JWT"}, claims))
    signature = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest()
    request = urllib.request.Request(URL + path, data and json.dumps(data).encode(), {
        "Authorization": f"Bearer {signed}.{part(signature)}", "Content-Type": "application/json",
    })
    return json.load(urllib.request.urlopen(request, timeout=10))


def states():
    """State and attributes by the entity's name without the machine's."""
    found = {}
    for entity in call("states"):
        name = entity["entity_id"].split(".")[1]
        if name.startswith(NAME):
            found[name.removeprefix(NAME + "_")] = (entity["state"], entity["attributes"])
        elif entity["entity_id"] == "input_boolean.greeting":
            found["greeting"] = (entity["state"], {})
    return found


def expect(step, within=LONG, **wanted):
    deadline = time.monotonic() + within
    while True:
        try:
            seen = {name: state for name, (state, _) in states().items()}
        except OSError as error:
            seen = {"Home Assistant": str(error)}
        if all(seen.get(name) == state for name, state in wanted.items()):
            print(f"ok      {step}", flush=True)
            return
        if time.monotonic() > deadline:
            sys.exit(f"test-home-assistant: {step}: {seen}, and not {wanted}")
        time.sleep(0.5)


FINE = {
    "expression": "happy", "face": "on", "faces": "1", "confidence": "87",
    "facing_the_camera": "on", "eye_closure": "drowsy", "eye_closure_valid_time": "93",
    "camera": "on", "temperature": "51.5", "frame_rate": "29.9", "frame_time": "12.5",
    "too_hot": "off", "events_lost": "0", "pause": "off",
}
UNAVAILABLE = dict.fromkeys([*FINE, "change_of_expression"], "unavailable")


def main():
    root, bridge = pathlib.Path(sys.argv[1]), sys.argv[2]
    folder = pathlib.Path(tempfile.mkdtemp())
    subprocess.run(["rm", "-rf", root / "config"], check=True)
    prepare(root / "config")
    daemon = Daemon(folder)
    (folder / "mosquitto.conf").write_text("listener 1883 127.0.0.1\nuser root\nallow_anonymous true\n")
    config = folder / "mqtt.toml"
    settings = f"""
[events]
socket = "{daemon.events}"
[broker]
retry_max_s = 2
[topics]
period_s = {PERIOD}
[control]
socket = "{daemon.control}"
pause = true
"""
    config.write_text(settings)
    running = []

    def start(name, *command):
        log = open(folder / f"{name}.log", "a")
        process = subprocess.Popen(command, stdout=log, stderr=log)
        running.append(process)
        return process

    start_broker = lambda: start("mosquitto", "/usr/sbin/mosquitto", "-c", str(folder / "mosquitto.conf"))
    start_bridge = lambda: start("bridge", bridge, "--config", str(config))
    start_home = lambda: start("home-assistant", "chroot", str(root), "env", "-i", "LANG=C.UTF-8",
                               "HOME=/root", "PATH=/ha/bin:/usr/bin:/bin", "hass", "--skip-pip", "-c", "/config")

    def end(process, how=signal.SIGTERM):
        process.send_signal(how)
        process.wait(timeout=LONG)

    try:
        broker, publisher, home = start_broker(), start_bridge(), start_home()
        expect("all entities have their states", **FINE)
        attributes = states()["expression"][1]
        if attributes["friendly_name"] != "Küchenhäuschen Expression" or attributes["confidence"] != 0.87:
            sys.exit(f"test-home-assistant: {attributes}")
        expect("the automation has not run", greeting="off")

        daemon.state = "lost"
        expect("without a camera nothing is known", 10, expression="unknown", face="unknown",
               faces="unknown", confidence="unknown", facing_the_camera="unknown", camera="off")
        daemon.state = "none"
        expect("no face", 10, expression="none", face="off", faces="0", confidence="unknown", camera="on")
        daemon.state = "happy"
        expect("the automation runs", 10, greeting="on")
        event = states()["change_of_expression"][1]
        if event["event_type"] != "happy" or event["from"] != "none":
            sys.exit(f"test-home-assistant: {event}")

        call("services/switch/turn_on", {"entity_id": f"switch.{NAME}_pause"})
        expect("the switch pauses", 10, pause="on", camera="off", expression="unknown")
        call("services/switch/turn_off", {"entity_id": f"switch.{NAME}_pause"})
        expect("the switch resumes", 10, **FINE)
        if daemon.orders != ["pause", "resume"]:
            sys.exit(f"test-home-assistant: {daemon.orders}")

        end(publisher, signal.SIGKILL)
        expect("a bridge that was killed", 10, **UNAVAILABLE)
        daemon.state = "sad"
        publisher = start_bridge()
        expect("started again", 20, **{**FINE, "expression": "sad"})
        publisher.send_signal(signal.SIGSTOP)
        expect("a bridge that hangs", 20, **UNAVAILABLE)
        publisher.send_signal(signal.SIGCONT)
        expect("that goes on", 30, **{**FINE, "expression": "sad"})

        end(broker, signal.SIGKILL)
        expect("a broker that was killed", 20, **UNAVAILABLE)
        daemon.state = "neutral"
        broker = start_broker()
        expect("started again with nothing retained", 60, **{**FINE, "expression": "neutral"})

        end(home)
        daemon.state = "fear"
        home = start_home()
        expect("Home Assistant after a restart", **{**FINE, "expression": "fear"})

        end(publisher)
        expect("a bridge that was stopped", 10, **UNAVAILABLE)
        config.write_text(settings + '[homeassistant]\nhide = ["fps"]\n')
        publisher = start_bridge()
        kept = {name: state for name, state in FINE.items() if name != "frame_rate"}
        expect("an entity is hidden, the others stay", 20, **{**kept, "expression": "fear", "frame_rate": None})

        end(publisher)
        subprocess.run([bridge, "forget", "--config", config, "--id", "robot-7"], check=True)
        expect("nothing remains after forget", 10, **dict.fromkeys(UNAVAILABLE))

        log = (folder / "home-assistant.log").read_text()
        bad = [line for line in log.splitlines() if "ERROR" in line or ("affectd" in line and "WARN" in line)]
        if bad:
            sys.exit("test-home-assistant: Home Assistant complains:\n" + "\n".join(bad))
        print("ok      no complaint in Home Assistant's log")
    finally:
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
        print(f"logs: {folder}")


main()

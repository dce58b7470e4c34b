"""affectd-ros2 and a network that changes: the bridge in a namespace of its own, joined to ours by a cable.

    AFFECTD_ROS2=PROGRAM python3 -m unittest -v test_network     (as root, in a network namespace)
"""

import os
import subprocess
import tempfile
import time
import unittest

from affectd import Affectd, Bridge, wait_until
from listener import Listener

PROGRAM = os.environ["AFFECTD_ROS2"]


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


class Robot:
    """A network namespace of its own."""

    def __init__(self):
        self.process = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        here = os.readlink("/proc/self/ns/net")
        wait_until(lambda: os.readlink(f"/proc/{self.process.pid}/ns/net") != here, what="a namespace")
        self.enter = ["nsenter", "--target", str(self.process.pid), "--net"]
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments):
        subprocess.run([*self.enter, "ip", *arguments], check=True)

    def plug(self):
        ip("link", "add", "cable", "type", "veth", "peer", "name", "eth7", "netns", str(self.process.pid))
        ip("address", "add", "10.77.0.1/24", "dev", "cable")
        ip("link", "set", "cable", "up")
        self.ip("address", "add", "10.77.0.2/24", "dev", "eth7")
        self.ip("link", "set", "eth7", "up")

    def unplug(self):
        ip("link", "delete", "cable")

    def end(self):
        self.process.kill()
        self.process.wait()
        subprocess.run(["ip", "link", "delete", "cable"], stderr=subprocess.DEVNULL)


class Network(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.socket = os.path.join(self.folder, "events.sock")
        self.affectd = Affectd(self.socket)
        self.affectd.face(1)
        self.robot = Robot()
        self.addCleanup(self.robot.end)

    def bridge(self, **ros):
        bridge = Bridge(PROGRAM, self.folder, self.socket, inside=self.robot.enter, **ros)
        self.addCleanup(bridge.process.kill)
        self.affectd.wait_for_reader()
        return bridge

    def listen(self):
        listener = Listener()
        self.addCleanup(listener.close)
        return listener

    def test_a_link_that_is_down_for_eight_seconds(self):
        self.robot.plug()
        bridge = self.bridge()
        listener = self.listen()
        listener.ids(1)
        ip("link", "set", "cable", "down")
        time.sleep(1)
        since = time.monotonic()
        self.affectd.nobody()
        time.sleep(7)
        self.assertEqual(listener.all("/humans/faces/tracked", since), [], "the link is down")
        ip("link", "set", "cable", "up")
        up = time.monotonic()
        listener.ids(0, up, timeout=15)
        print(f"heard again after {time.monotonic() - up:.1f} s")
        bridge.stop()

    def test_an_interface_that_goes_away_and_comes_back(self):
        self.robot.plug()
        bridge = self.bridge(networks=["10.77.0.0/24"])
        listener = self.listen()
        listener.ids(1)
        listener.close()
        self.robot.unplug()
        wait_until(lambda: "10.77.0.2 (eth7) is gone" in bridge.log(), what="the log line")
        time.sleep(2)
        self.robot.plug()
        wait_until(lambda: bridge.log().count("in ROS domain 0 on 10.77.0.2 (eth7)") == 2, 20, "a second participant")
        self.listen().ids(1)
        self.assertEqual(bridge.log().count("is gone"), 1)
        bridge.stop()

    def test_a_network_that_comes_late(self):
        bridge = self.bridge(networks=["eth7"])
        self.assertIn("no address in `networks`", bridge.log())
        time.sleep(3)
        self.robot.plug()
        wait_until(lambda: "in ROS domain 0 on 10.77.0.2 (eth7)" in bridge.log(), 20, "a participant")
        self.listen().ids(1)
        bridge.stop()

    def test_other_networks_are_not_used(self):
        self.robot.plug()
        self.bridge(networks=["127.0.0.0/8"])
        listener = self.listen()
        time.sleep(4)
        self.assertEqual(listener.heard, [])


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""A ROS node that hears everything that affectd-ros2 says."""

import threading
import time

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from hri_msgs.msg import Expression, FacialActionUnits, IdsList, NormalizedRegionOfInterest2D
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from tf2_msgs.msg import TFMessage

# As libhri subscribes (SystemDefaultsQoS): reliable, volatile.
USUAL = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
OF_FACES = {
    "roi": NormalizedRegionOfInterest2D, "expression": Expression, "facs": FacialActionUnits, "pose": PoseStamped,
}


class Listener:
    """Subscribes to the topics of each face when it is listed, as libhri does."""

    def __init__(self, domain=0, namespace="", tracked=USUAL):
        self.context = rclpy.Context()
        self.context.init(domain_id=domain)
        self.node = rclpy.create_node("listener", context=self.context)
        self.namespace = namespace
        self.heard = []  # (time, topic, message)
        self.faces = set()
        self.said = threading.Condition()
        self.hear(f"{namespace}/humans/faces/tracked", IdsList, tracked)
        self.hear(f"{namespace}/affectd/attention", IdsList)
        self.hear(f"{namespace}/affectd/fatigue", DiagnosticArray)
        self.hear(f"{namespace}/tf", TFMessage)
        self.hear("/diagnostics", DiagnosticArray)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()

    def hear(self, topic, kind, qos=USUAL):
        def take(message):
            at = time.monotonic()
            if topic.endswith("/tracked"):
                for face in set(message.ids) - self.faces:
                    self.faces.add(face)
                    for name, kind in OF_FACES.items():
                        self.hear(f"{self.namespace}/humans/faces/{face}/{name}", kind)
            with self.said:
                self.heard.append((at, topic, message))
                self.said.notify_all()
        self.node.create_subscription(kind, topic, take, qos)

    def all(self, topic, since=0.0):
        topic = topic if topic == "/diagnostics" else f"{self.namespace}{topic}"
        with self.said:
            return [message for at, name, message in self.heard if name == topic and at >= since]

    def last(self, topic, since=0.0):
        messages = self.all(topic, since)
        return messages[-1] if messages else None

    def wait(self, topic, condition=lambda message: True, since=0.0, timeout=10, what=""):
        """The first message on a topic that fulfils the condition."""
        deadline = time.monotonic() + timeout
        while True:
            for message in self.all(topic, since):
                if condition(message):
                    return message
            left = deadline - time.monotonic()
            assert left > 0, f"{topic} {what}: not within {timeout} s; last: {self.last(topic)}"
            with self.said:
                self.said.wait(min(left, 0.05))

    def ids(self, count, since=0.0, timeout=10):
        """The ids of the faces, once there are so many of them."""
        wanted = lambda message: len(message.ids) == count
        return list(self.wait("/humans/faces/tracked", wanted, since, timeout, f"with {count} ids").ids)

    def status(self, topic, ending, condition=lambda status: True, since=0.0, timeout=10):
        """The first status with this end of its name that fulfils the condition."""
        fits = lambda status: status.name.endswith(ending) and condition(status)
        message = self.wait(topic, lambda message: any(map(fits, message.status)), since, timeout, f"with '{ending}'")
        return next(filter(fits, message.status))

    def close(self):
        self.executor.shutdown()
        self.thread.join(5)
        self.node.destroy_node()
        self.context.try_shutdown()

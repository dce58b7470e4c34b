"""affectd-ros2 against Cyclone DDS, the second implementation of DDS that ROS uses: without ROS, by the names and the
fields that ROS's messages have in DDS.

    AFFECTD_ROS2=PROGRAM python3 -m unittest -v test_cyclonedds
"""

import math
import os
import tempfile
import time
import unittest
from dataclasses import dataclass

from affectd import Affectd, Bridge, wait_until
from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.types import array, byte, float32, float64, int32, sequence, uint32
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

PROGRAM = os.environ["AFFECTD_ROS2"]


@dataclass
class Time(IdlStruct, typename="builtin_interfaces::msg::dds_::Time_"):
    sec: int32
    nanosec: uint32


@dataclass
class Header(IdlStruct, typename="std_msgs::msg::dds_::Header_"):
    stamp: Time
    frame_id: str


@dataclass
class IdsList(IdlStruct, typename="hri_msgs::msg::dds_::IdsList_"):
    header: Header
    ids: sequence[str]


@dataclass
class Region(IdlStruct, typename="hri_msgs::msg::dds_::NormalizedRegionOfInterest2D_"):
    header: Header
    xmin: float32
    ymin: float32
    xmax: float32
    ymax: float32
    c: float32


@dataclass
class Expression(IdlStruct, typename="hri_msgs::msg::dds_::Expression_"):
    header: Header
    expression: str
    valence: float32
    arousal: float32
    confidence: float32


@dataclass
class ActionUnits(IdlStruct, typename="hri_msgs::msg::dds_::FacialActionUnits_"):
    header: Header
    intensity: array[float32, 99]
    confidence: array[float32, 99]


@dataclass
class Point(IdlStruct, typename="geometry_msgs::msg::dds_::Point_"):
    x: float64
    y: float64
    z: float64


@dataclass
class Quaternion(IdlStruct, typename="geometry_msgs::msg::dds_::Quaternion_"):
    x: float64
    y: float64
    z: float64
    w: float64


@dataclass
class Pose(IdlStruct, typename="geometry_msgs::msg::dds_::Pose_"):
    position: Point
    orientation: Quaternion


@dataclass
class PoseStamped(IdlStruct, typename="geometry_msgs::msg::dds_::PoseStamped_"):
    header: Header
    pose: Pose


@dataclass
class KeyValue(IdlStruct, typename="diagnostic_msgs::msg::dds_::KeyValue_"):
    key: str
    value: str


@dataclass
class Status(IdlStruct, typename="diagnostic_msgs::msg::dds_::DiagnosticStatus_"):
    level: byte
    name: str
    message: str
    hardware_id: str
    values: sequence[KeyValue]


@dataclass
class DiagnosticArray(IdlStruct, typename="diagnostic_msgs::msg::dds_::DiagnosticArray_"):
    header: Header
    status: sequence[Status]


class Cyclone(unittest.TestCase):
    def test_a_subscriber_without_ros(self):
        with tempfile.TemporaryDirectory() as folder:
            socket = os.path.join(folder, "events.sock")
            affectd = Affectd(socket)
            bridge = Bridge(PROGRAM, folder, socket)
            affectd.wait_for_reader()
            participant = DomainParticipant(0)

            def reader(topic, kind, *more):
                qos = Qos(Policy.Reliability.Reliable(duration(seconds=1)), Policy.History.KeepLast(10), *more)
                return DataReader(participant, Topic(participant, f"rt{topic}", kind), qos=qos)

            def first(source, condition=lambda message: True, repeat=lambda: None, timeout=10):
                def look():
                    repeat()
                    return next(filter(condition, source.take(20)), None)
                return wait_until(look, timeout, "a message")

            affectd.face(1)
            tracked = reader("/humans/faces/tracked", IdsList, Policy.Durability.TransientLocal)
            began = time.monotonic()
            (face,) = first(tracked, lambda message: message.ids).ids
            self.assertLess(time.monotonic() - began, 5)

            topics = {"expression": Expression, "roi": Region, "facs": ActionUnits, "pose": PoseStamped}
            readers = {name: reader(f"/humans/faces/{face}/{name}", kind) for name, kind in topics.items()}
            at = time.monotonic()
            def repeat():
                affectd.face(1, "disgust", 0.5, at=at, presence=0.75, jaw=0.25, yaw=0.0, pitch=0.0, roll=0.0, distance_m=2.0)
                time.sleep(0.1)
            expression = first(readers["expression"], lambda m: m.expression == "disgusted", repeat)
            self.assertEqual(expression.confidence, 0.5)
            self.assertTrue(math.isnan(expression.valence))
            self.assertEqual(expression.header.frame_id, "camera_optical_frame")
            stamp = expression.header.stamp.sec + expression.header.stamp.nanosec / 1e9
            self.assertAlmostEqual(stamp, at + time.time() - time.monotonic(), delta=0.01)
            region = first(readers["roi"], lambda m: m.c == 0.75, repeat)
            self.assertEqual((region.xmin, region.xmax), (0.25, 0.375))
            units = first(readers["facs"], repeat=repeat)
            self.assertEqual((units.intensity[26], units.confidence[26], units.intensity[98]), (0.25, 0.75, 0.0))
            pose = first(readers["pose"], repeat=repeat).pose
            self.assertEqual(pose.position.z, 2.0)
            self.assertAlmostEqual(pose.orientation.w, 0.5)

            affectd.health()
            diagnostics = reader("/diagnostics", DiagnosticArray)
            message = first(diagnostics, lambda m: m.status[0].level == 0)
            self.assertEqual([status.name for status in message.status], ["affectd: camera", "affectd: bridge"])
            self.assertEqual(message.status[0].hardware_id, "robot-7")
            affectd.nobody()
            first(tracked, lambda message: not message.ids)
            bridge.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)

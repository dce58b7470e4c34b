//! The ROS messages that the bridge sends, field by field as in their `.msg`
//! files: CDR has no names, so the order of the fields is the format.

use std::time::Duration;

use serde::ser::SerializeTuple as _;
use serde::{Serialize, Serializer};

/// A message type with its name in ROS.
pub trait RosType: Serialize {
    /// The package that defines it.
    const PACKAGE: &'static str;
    /// Its name in that package.
    const NAME: &'static str;
}

macro_rules! ros_types {
    ($($message:ty: $package:literal $name:literal,)*) => {
        $(impl RosType for $message {
            const PACKAGE: &'static str = $package;
            const NAME: &'static str = $name;
        })*
    };
}

ros_types! {
    IdsList: "hri_msgs" "IdsList",
    RegionOfInterest: "hri_msgs" "NormalizedRegionOfInterest2D",
    Expression: "hri_msgs" "Expression",
    ActionUnits: "hri_msgs" "FacialActionUnits",
    PoseStamped: "geometry_msgs" "PoseStamped",
    Transforms: "tf2_msgs" "TFMessage",
    DiagnosticArray: "diagnostic_msgs" "DiagnosticArray",
}

/// `builtin_interfaces/Time`: time since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Time {
    pub sec: i32,
    pub nanosec: u32,
}

impl From<Duration> for Time {
    fn from(since_epoch: Duration) -> Self {
        Self {
            // ROS ends in 2038.
            sec: i32::try_from(since_epoch.as_secs()).unwrap_or(i32::MAX),
            nanosec: since_epoch.subsec_nanos(),
        }
    }
}

/// `std_msgs/Header`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Header {
    pub stamp: Time,
    pub frame_id: String,
}

/// `hri_msgs/IdsList`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdsList {
    pub header: Header,
    pub ids: Vec<String>,
}

/// `hri_msgs/NormalizedRegionOfInterest2D`: edges as parts of the picture, 0
/// to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegionOfInterest {
    pub header: Header,
    pub xmin: f32,
    pub ymin: f32,
    pub xmax: f32,
    pub ymax: f32,
    /// How sure it is that this is a face, 0 to 1.
    pub c: f32,
}

/// `hri_msgs/Expression`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expression {
    pub header: Header,
    pub expression: String,
    pub valence: f32,
    pub arousal: f32,
    pub confidence: f32,
}

/// The number of facial action units in `hri_msgs/FacialActionUnits`.
const UNITS: usize = 99;

/// One number per facial action unit, by the unit's code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerUnit(pub [f32; UNITS]);

impl PerUnit {
    pub const ZERO: Self = Self([0.0; UNITS]);
}

/// serde itself knows arrays of up to 32 elements.
impl Serialize for PerUnit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(UNITS)?;
        for number in &self.0 {
            tuple.serialize_element(number)?;
        }
        tuple.end()
    }
}

/// `hri_msgs/FacialActionUnits`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActionUnits {
    pub header: Header,
    pub intensity: PerUnit,
    pub confidence: PerUnit,
}

/// The jaw drops.
pub const JAW_DROP: usize = 26;
/// The eyes are closed.
pub const EYES_CLOSED: usize = 43;

/// `geometry_msgs/Point` and `geometry_msgs/Vector3`, in metres.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Vector {
    pub x: f64,
    pub y: f64,
    pub z: f64,
}

/// `geometry_msgs/Quaternion`
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quaternion {
    pub x: f64,
    pub y: f64,
    pub z: f64,
    pub w: f64,
}

/// `geometry_msgs/Pose` and `geometry_msgs/Transform`
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pose {
    pub position: Vector,
    pub orientation: Quaternion,
}

/// `geometry_msgs/PoseStamped`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoseStamped {
    pub header: Header,
    pub pose: Pose,
}

/// `geometry_msgs/TransformStamped`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TransformStamped {
    pub header: Header,
    pub child_frame_id: String,
    pub transform: Pose,
}

/// `tf2_msgs/TFMessage`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Transforms {
    pub transforms: Vec<TransformStamped>,
}

/// How bad a diagnostic status is, by `diagnostic_msgs/DiagnosticStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Ok = 0,
    Warn = 1,
    Error = 2,
    Stale = 3,
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

/// `diagnostic_msgs/KeyValue`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyValue {
    pub key: String,
    pub value: String,
}

/// `diagnostic_msgs/DiagnosticStatus`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiagnosticStatus {
    pub level: Level,
    pub name: String,
    pub message: String,
    pub hardware_id: String,
    pub values: Vec<KeyValue>,
}

/// `diagnostic_msgs/DiagnosticArray`
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiagnosticArray {
    pub header: Header,
    pub status: Vec<DiagnosticStatus>,
}

/// A message with the topic that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// `humans/faces/tracked`
    Tracked(IdsList),
    /// `humans/faces/<id>/...`, of the face with this number in the pool of ids.
    Face(usize, FaceMessage),
    /// `tf`
    Transforms(Transforms),
    /// `affectd/attention`
    Attention(IdsList),
    /// `affectd/fatigue`
    Fatigue(DiagnosticArray),
    /// `/diagnostics`
    Diagnostics(DiagnosticArray),
}

/// A message about one face.
#[derive(Clone, Debug, PartialEq)]
pub enum FaceMessage {
    /// `roi`
    Region(RegionOfInterest),
    /// `expression`
    Expression(Expression),
    /// `facs`
    ActionUnits(Box<ActionUnits>),
    /// `pose`
    Pose(PoseStamped),
}

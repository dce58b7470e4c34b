//! The bridge's place in the ROS graph: a DDS participant with a node and its
//! publishers.

use std::fmt::Display;

use ros2_client::dds::rustdds::policy::ResourceLimits;
use ros2_client::dds::rustdds::{
    DomainParticipantBuilder, QosPolicies, QosPolicyBuilder, TopicKind,
};
use ros2_client::qos::{Durability, History, QosProfile, WhenFull};
use ros2_client::{Context, MessageTypeName, Name, Node, NodeName, NodeOptions, Publisher};

use crate::config::Ros;
use crate::ids::{self, POOL};
use crate::interfaces::Address;
use crate::messages::{
    ActionUnits, DiagnosticArray, Expression, FaceMessage, IdsList, Message, PoseStamped,
    RegionOfInterest, RosType, Transforms,
};

/// The name of the node.
pub const NODE: &str = "affectd";

/// A sample that finds no room is lost: waiting for a subscriber that does not
/// answer would hold up all others.
const RELIABLE: QosProfile = QosProfile::publisher_default()
    .reliability_reliable(WhenFull::Fail)
    .history(History::KeepLast { depth: 1 });
/// For subscribers that come late and ask for it.
const LATCHED: QosProfile = RELIABLE.durability(Durability::TransientLocal);

/// How many messages of a topic wait for subscribers that do not answer.
const UNANSWERED: i32 = 1024;
/// As many of a topic with its last message for late subscribers: RustDDS keeps
/// so many where nobody listens, and sends them all to who comes late.
const UNANSWERED_LATCHED: i32 = 64;

/// The publishers of an id.
struct FacePublishers {
    region: Publisher<RegionOfInterest>,
    expression: Publisher<Expression>,
    units: Publisher<ActionUnits>,
    pose: Publisher<PoseStamped>,
}

/// The node and its publishers. Dropping it leaves the graph.
// Fields are dropped in this order: publishers before their node.
pub struct Graph {
    faces: [Option<FacePublishers>; POOL],
    tracked: Publisher<IdsList>,
    transforms: Publisher<Transforms>,
    attention: Publisher<IdsList>,
    fatigue: Publisher<DiagnosticArray>,
    diagnostics: Publisher<DiagnosticArray>,
    node: Node,
    context: Context,
    namespace: String,
    letter: char,
}

impl Graph {
    /// Joins the domain with these addresses. `letter` begins the ids of faces.
    ///
    /// # Errors
    ///
    /// The network gives no sockets.
    pub fn join(ros: &Ros, addresses: &[Address], letter: char) -> Result<Self, String> {
        let participant = DomainParticipantBuilder::new(ros.domain)
            .with_only_networks(addresses.iter().map(|address| address.ip))
            // The system's: the bridge receives little more than discovery.
            .socket_receive_buffer_size(0)
            .socket_send_buffer_size(0)
            .build()
            .map_err(explained)?;
        let context = Context::from_domain_participant(participant).map_err(explained)?;
        let namespace = &ros.namespace;
        let root = if namespace.is_empty() { "/" } else { namespace };
        let name = NodeName::new(root, NODE).map_err(explained)?;
        let options = NodeOptions::new()
            .enable_rosout(false)
            .start_parameter_services(false);
        let mut node = context.new_node(name, options).map_err(explained)?;
        let at = |name: &str| format!("{namespace}/{name}");
        Ok(Self {
            faces: [const { None }; POOL],
            tracked: publisher(&context, &mut node, &at("humans/faces/tracked"), LATCHED)?,
            transforms: publisher(&context, &mut node, &at("tf"), RELIABLE)?,
            attention: publisher(&context, &mut node, &at("affectd/attention"), LATCHED)?,
            fatigue: publisher(&context, &mut node, &at("affectd/fatigue"), RELIABLE)?,
            // As all nodes do, whatever their namespace.
            diagnostics: publisher(&context, &mut node, "/diagnostics", RELIABLE)?,
            node,
            context,
            namespace: namespace.clone(),
            letter,
        })
    }

    /// Publishes a message.
    ///
    /// # Errors
    ///
    /// It could not be published.
    pub fn publish(&mut self, message: Message) -> Result<(), String> {
        match message {
            Message::Tracked(message) => send(&self.tracked, message),
            Message::Transforms(message) => send(&self.transforms, message),
            Message::Attention(message) => send(&self.attention, message),
            Message::Fatigue(message) => send(&self.fatigue, message),
            Message::Diagnostics(message) => send(&self.diagnostics, message),
            Message::Face(id, message) => {
                let face = self.face(id)?;
                match message {
                    FaceMessage::Region(message) => send(&face.region, message),
                    FaceMessage::Expression(message) => send(&face.expression, message),
                    FaceMessage::ActionUnits(message) => send(&face.units, *message),
                    FaceMessage::Pose(message) => send(&face.pose, message),
                }
            }
        }
    }

    /// The publishers of an id, made when it is used for the first time.
    fn face(&mut self, id: usize) -> Result<&FacePublishers, String> {
        let (context, node) = (&self.context, &mut self.node);
        match &mut self.faces[id] {
            Some(face) => Ok(face),
            none => {
                let name = ids::name(self.letter, id);
                let at = |topic| format!("{}/humans/faces/{name}/{topic}", self.namespace);
                Ok(none.insert(FacePublishers {
                    region: publisher(context, node, &at("roi"), RELIABLE)?,
                    expression: publisher(context, node, &at("expression"), RELIABLE)?,
                    units: publisher(context, node, &at("facs"), RELIABLE)?,
                    pose: publisher(context, node, &at("pose"), RELIABLE)?,
                }))
            }
        }
    }
}

fn publisher<M: RosType>(
    context: &Context,
    node: &mut Node,
    name: &str,
    qos: QosProfile,
) -> Result<Publisher<M>, String> {
    let failed = |error: &dyn Display| format!("topic {name}: {error}");
    // It checks the name; the topic is made below it, because QosProfile has no
    // limits.
    Name::parse(name).map_err(|error| failed(&error))?;
    let limit = match qos.durability {
        Durability::Volatile => UNANSWERED,
        Durability::TransientLocal => UNANSWERED_LATCHED,
    };
    let limits = QosPolicyBuilder::new().resource_limits(ResourceLimits {
        max_samples: limit,
        max_instances: 1,
        max_samples_per_instance: limit,
    });
    let limited = QosPolicies::from(&qos).modify_by(&limits.build());
    let topic = context
        .domain_participant()
        .create_topic(
            format!("rt{name}"),
            MessageTypeName::new(M::PACKAGE, M::NAME).dds_msg_type(),
            &limited,
            TopicKind::NoKey,
        )
        .map_err(|error| failed(&error))?;
    node.create_publisher(&topic, Some(qos))
        .map_err(|error| failed(&error))
}

fn send<M: RosType>(publisher: &Publisher<M>, message: M) -> Result<(), String> {
    publisher
        .publish(message)
        .map_err(|error| format!("{} {error}", M::NAME))
}

fn explained(error: impl Display) -> String {
    error.to_string()
}

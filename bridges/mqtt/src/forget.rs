//! `affectd-mqtt forget`: clears what the broker keeps of a machine.

use std::time::{Duration, Instant};

use rumqttc::{Event, Incoming, Outgoing, PublishOptions, QoS, RecvTimeoutError};

use crate::broker::{self, Introduction};
use crate::check;
use crate::discovery::Names;
use crate::settings::Settings;

/// How long retained messages may take after the subscription.
const RETAINED: Duration = Duration::from_secs(1);

/// Clears the retained messages of this machine, or of another one.
///
/// # Errors
/// The id is not known, the broker does not accept, or a bridge for this machine
/// is running.
pub fn run(settings: &Settings, id: Option<&str>) -> Result<(), String> {
    let id = match id {
        Some(id) => id.to_owned(),
        None => {
            let machine = check::hello(&settings.events);
            machine
                .map_err(|error| format!("{error}; or name the machine: forget --id ID"))?
                .id
        }
    };
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if id.is_empty() || id.len() > 64 || !id.chars().all(is_fine) {
        return Err(format!(
            "'{id}' is no id; it has letters, digits, '-' and '_'"
        ));
    }
    let names = Names::new(settings, &id);
    let broker = &settings.broker;
    let introduction = Introduction {
        client_id: format!("affectd-forget-{}", std::process::id()),
        will: None,
        keep_alive: Duration::from_secs(30),
    };
    let at =
        |what: &dyn std::fmt::Display| format!("broker {}:{}: {what}", broker.host, broker.port);
    let (client, mut connection) =
        broker::connect(broker, &introduction).map_err(|problem| at(&problem))?;
    let queue = |result: Result<(), rumqttc::ClientError>| result.map_err(|error| at(&error));
    let topics = [names.discovery(), names.health(), names.availability()];
    for topic in &topics {
        queue(client.try_subscribe(topic.as_str(), QoS::AtLeastOnce))?;
    }
    let mut found = Vec::new();
    let mut until = None;
    let mut is_cleared = false;
    loop {
        if until.is_some_and(|until| Instant::now() >= until) && !is_cleared {
            is_cleared = true;
            for topic in &topics {
                let options = PublishOptions::new(QoS::AtLeastOnce).retained();
                queue(client.try_publish(topic.as_str(), "", options))?;
            }
            queue(client.try_disconnect_with_timeout(Duration::from_secs(5)))?;
        }
        match connection.recv_timeout(Duration::from_millis(100)) {
            Ok(Ok(Event::Incoming(Incoming::SubAck(_)))) => {
                until.get_or_insert(Instant::now() + RETAINED);
            }
            Ok(Ok(Event::Incoming(Incoming::Publish(message)))) if message.retain => {
                let topic = String::from_utf8_lossy(&message.topic).into_owned();
                if topic == names.availability() && message.payload.as_ref() == b"online" {
                    return Err(format!(
                        "affectd-mqtt runs as '{id}' and would send everything again; stop it \
                         before, on that machine: systemctl stop affectd-mqtt"
                    ));
                }
                found.push(topic);
            }
            Ok(Ok(Event::Outgoing(Outgoing::Disconnect))) if is_cleared => break,
            Ok(Ok(_)) | Err(RecvTimeoutError::Timeout { .. }) => {}
            Ok(Err(error)) => return Err(at(&broker::explained(&error, broker))),
            Err(RecvTimeoutError::Disconnected) if is_cleared => break,
            Err(RecvTimeoutError::Disconnected) => return Err(at(&"the connection has ended")),
        }
    }
    if found.is_empty() {
        println!("the broker kept nothing of '{id}'");
    }
    for topic in found {
        println!("cleared {topic}");
    }
    Ok(())
}

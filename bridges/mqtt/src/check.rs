//! `affectd-mqtt check`: the configuration was read without an error; `--connect`
//! tries both ends.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use affectd_bridge::cli::Arguments;
use affectd_bridge::events::Event;
use rumqttc::{Event as Packet, Incoming};

use crate::broker::{self, Introduction};
use crate::settings::{Broker, Settings};
use crate::world::Identity;

/// Prints what is fine, and gives what is not.
///
/// # Errors
/// A part does not work.
pub fn run(settings: &Settings, arguments: &Arguments) -> Result<(), String> {
    let broker = &settings.broker;
    // What reading the file alone does not show.
    if let Some(tls) = &broker.tls {
        broker::tls_config(tls)?;
    }
    println!("ok      configuration {}", arguments.config.display());
    if broker.tls.is_none() && broker.password_file.is_some() && !is_local(&broker.host) {
        println!(
            "note    the password crosses the network unencrypted; better: tls = true in [broker]"
        );
    }
    if arguments.option("connect").is_none() {
        return Ok(());
    }
    let machine = hello(&settings.events)?;
    println!(
        "ok      affectd {} is '{}' ({})",
        machine.version, machine.id, machine.name
    );
    accepted(broker)?;
    println!(
        "ok      broker {}:{} accepts the connection",
        broker.host, broker.port
    );
    Ok(())
}

fn is_local(host: &str) -> bool {
    matches!(host, "localhost" | "::1") || host.starts_with("127.")
}

/// Asks the daemon which machine this is.
///
/// # Errors
/// No daemon, or one that sends something else.
pub fn hello(socket: &Path) -> Result<Identity, String> {
    let wrong = |what: &dyn std::fmt::Display| format!("event socket {}: {what}", socket.display());
    let stream = UnixStream::connect(socket)
        .map_err(|error| wrong(&format_args!("{error}; is affectd running?")))?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .map_err(|error| wrong(&error))?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .map_err(|error| wrong(&format_args!("{error}; affectd does not answer")))?;
    let event = Event::parse(line.trim_end()).map_err(|bad| wrong(&bad))?;
    Identity::new(&event)
}

fn accepted(broker: &Broker) -> Result<(), String> {
    let introduction = Introduction {
        client_id: format!("affectd-check-{}", std::process::id()),
        will: None,
        keep_alive: Duration::from_secs(30),
    };
    let at =
        |what: &dyn std::fmt::Display| format!("broker {}:{}: {what}", broker.host, broker.port);
    let (_client, mut connection) =
        broker::connect(broker, &introduction).map_err(|problem| at(&problem))?;
    loop {
        match connection.recv() {
            Ok(Ok(Packet::Incoming(Incoming::ConnAck(_)))) => return Ok(()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(at(&broker::explained(&error, broker))),
            Err(_) => return Err(at(&"the connection has ended")),
        }
    }
}

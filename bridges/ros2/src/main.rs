//! `affectd-ros2` publishes affectd's events as ROS 2 topics (docs/ros2.md).

mod bridge;
mod clock;
mod config;
mod event;
mod graph;
mod ids;
mod interfaces;
mod messages;
mod pose;
#[cfg(test)]
mod soak;

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use affectd_bridge::cli::{self, Arguments, Parsed, Program};
use affectd_bridge::events::{EventSocket, Notice, Timing};
use affectd_bridge::fault::Fault;
use affectd_bridge::service::Notifier;
use affectd_bridge::{logging, signals};
use log::{info, warn};

use crate::bridge::Bridge;
use crate::clock::Now;
use crate::config::{Config, Ros};
use crate::event::Event;
use crate::graph::Graph;
use crate::interfaces::{Address, Watch, list, usable};
use crate::messages::Message;

const PROGRAM: Program = Program {
    name: "affectd-ros2",
    version: env!("CARGO_PKG_VERSION"),
    help: include_str!("help.txt"),
    config: config::PATH,
    commands: &["run", "check"],
    options: &[],
};

/// How often diagnostics are published, whether anybody listens or not.
const TICK: Duration = Duration::from_secs(1);
/// How long the last messages get to reach subscribers.
const FAREWELL: Duration = Duration::from_millis(300);
/// How long stopping may take before the process is ended.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait before the next attempt to make a participant.
const BETWEEN_JOINS: Duration = Duration::from_secs(5);
/// Publishing counts as well again after so long without a lost message.
const CALM: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments = match cli::parse(&PROGRAM, std::env::args_os().skip(1)) {
        Parsed::Run(arguments) => arguments,
        Parsed::Print(text) => {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        Parsed::Wrong(text) => {
            eprint!("{text}");
            return ExitCode::from(2);
        }
    };
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), String> {
    let path = &arguments.config;
    let config = Config::read(path).map_err(|error| error.to_string())?;
    if arguments.command == "check" {
        println!("{}: valid", path.display());
        println!("event socket: {}", config.socket.display());
        println!("ROS domain: {}", config.ros.domain);
        println!("topics: {}/humans/faces/…", config.ros.namespace);
        let addresses = usable(&config.ros.networks).map_err(|error| error.to_string())?;
        println!("addresses now: {}", list(&addresses));
        return Ok(());
    }
    logging::start(arguments.log);
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    signals::on_stop(PATIENCE, move |signal| {
        info!("stopping: {signal}");
        asked.store(true, Ordering::Relaxed);
    })
    .map_err(|error| format!("signals: {error}"))?;
    run(&config, &stop);
    Ok(())
}

fn run(config: &Config, stop: &AtomicBool) {
    let mut runner = Runner::new(config);
    runner.join(Now::read());
    runner.notifier.ready();
    let timing = Timing {
        // So that a tick is late by this much at most.
        idle: Duration::from_millis(100),
        ..Timing::default()
    };
    EventSocket::new(&config.socket, timing).run(|notice| {
        runner.take(notice);
        if stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    runner.notifier.stopping();
    runner.leave();
}

/// Everything that runs: the state, the node, and what watches the network.
struct Runner {
    ros: Ros,
    bridge: Bridge,
    /// None while the network gives no sockets.
    graph: Option<Graph>,
    watch: Watch,
    /// When the last attempt to join was made.
    tried: Duration,
    next_tick: Duration,
    notifier: Notifier,
    network: Fault,
    publishing: Fault,
    /// When the last message could not be published.
    failed: Duration,
    lines: Fault,
    messages: Vec<Message>,
}

impl Runner {
    fn new(config: &Config) -> Self {
        let now = Now::read();
        let node = format!("{}/{}", config.ros.namespace, graph::NODE);
        // Another letter after each start: see IdPool::new.
        let letter = fastrand::lowercase();
        Self {
            ros: config.ros.clone(),
            bridge: Bridge::new(&config.ros.frame_id, &node, letter, now),
            graph: None,
            watch: Watch::new(Vec::new(), now.monotonic),
            tried: now.monotonic,
            next_tick: now.monotonic,
            notifier: Notifier::from_environment(),
            network: Fault::new("network"),
            publishing: Fault::new("publishing"),
            failed: now.monotonic,
            lines: Fault::new("events"),
            messages: Vec::new(),
        }
    }

    fn take(&mut self, notice: Notice) {
        let now = Now::read();
        match notice {
            Notice::Event(line) => {
                if !self.bridge.is_connected() {
                    self.bridge.connected(now, &mut self.messages);
                }
                match Event::read(line.keys().clone()) {
                    Ok(event) => self.bridge.take(event, now, &mut self.messages),
                    Err(problem) => {
                        self.lines.occurred(format_args!(
                            "a line is not as docs/events.md says and is skipped: {problem}; \
                             install the affectd-ros2 that came with this affectd"
                        ));
                        self.bridge.invalid(&problem, now);
                    }
                }
            }
            Notice::Idle => {}
            Notice::Lost(why) => self.bridge.disconnected(&why, now, &mut self.messages),
        }
        if now.monotonic >= self.next_tick {
            self.tick(now);
        }
        self.publish(now);
    }

    fn tick(&mut self, now: Now) {
        // Ticks that were missed are not made up for.
        self.next_tick = (self.next_tick + TICK).max(now.monotonic + TICK / 2);
        self.notifier.feed();
        self.look_at_addresses(now);
        self.bridge.tick(now, &mut self.messages);
        let link = if self.bridge.is_connected() {
            "connected to affectd"
        } else {
            "waiting for affectd"
        };
        let (faces, domain) = (self.bridge.faces(), self.ros.domain);
        self.notifier
            .status(&format!("{link}, faces: {faces}, ROS domain {domain}"));
    }

    fn look_at_addresses(&mut self, now: Now) {
        let present = match usable(&self.ros.networks) {
            Ok(present) => present,
            Err(error) => {
                self.network.occurred(format_args!(
                    "the kernel does not list its addresses: {error}"
                ));
                return;
            }
        };
        let change = self.watch.look(&present, now.monotonic);
        if !change.gone.is_empty() {
            let gone = list(&change.gone);
            warn!("network: {gone} is gone; ROS is joined again when it is back");
        }
        let may_try = now.monotonic.saturating_sub(self.tried) >= BETWEEN_JOINS;
        if change.must_join || (self.graph.is_none() && may_try) {
            self.join(now);
        }
    }

    /// Makes the participant, again if there is one.
    fn join(&mut self, now: Now) {
        self.tried = now.monotonic;
        let addresses = match usable(&self.ros.networks) {
            Ok(addresses) => addresses,
            Err(error) => {
                self.network.occurred(format_args!(
                    "the kernel does not list its addresses: {error}"
                ));
                return;
            }
        };
        // The old one leaves the domain first.
        self.graph = None;
        match Graph::join(&self.ros, &addresses, self.bridge.letter()) {
            Ok(graph) => {
                self.network.cleared();
                self.graph = Some(graph);
                self.say_joined(&addresses);
                self.bridge.use_addresses(list(&addresses));
                self.watch = Watch::new(addresses, now.monotonic);
            }
            Err(error) => {
                self.network.occurred(format_args!(
                    "ROS domain {} cannot be joined: {error}; it is tried again",
                    self.ros.domain
                ));
            }
        }
    }

    fn say_joined(&self, addresses: &[Address]) {
        let Ros {
            domain, namespace, ..
        } = &self.ros;
        let node = graph::NODE;
        if addresses.is_empty() {
            warn!(
                "network: this machine has no address in `networks`; ROS is joined when it has one"
            );
        } else {
            let on = list(addresses);
            info!("node {namespace}/{node} in ROS domain {domain} on {on}");
        }
    }

    fn publish(&mut self, now: Now) {
        let Some(graph) = &mut self.graph else {
            self.messages.clear();
            return;
        };
        let mut failed = false;
        for message in self.messages.drain(..) {
            if let Err(error) = graph.publish(message) {
                failed = true;
                self.bridge.unpublished(&error, now);
                self.publishing.occurred(format_args!(
                    "{error}; does a subscriber hang? The next messages are tried again"
                ));
            }
        }
        if failed {
            self.failed = now.monotonic;
        } else if now.monotonic.saturating_sub(self.failed) >= CALM {
            self.publishing.cleared();
        }
    }

    /// Tells subscribers that there are no faces any more, and leaves the domain.
    fn leave(mut self) {
        let now = Now::read();
        self.bridge
            .disconnected("affectd-ros2 was stopped", now, &mut self.messages);
        self.bridge.tick(now, &mut self.messages);
        self.publish(now);
        if self.graph.is_some() {
            thread::sleep(FAREWELL);
        }
    }
}

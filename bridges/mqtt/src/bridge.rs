//! The bridge: events in, messages out.
//!
//! One thread reads the event socket, one keeps the connection to the broker, one
//! sends orders to the control socket. This one owns what is known and decides
//! what is published. It waits for nothing for more than a moment, so that the
//! watchdog sees whether it lives.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use affectd_bridge::control::{self, Command};
use affectd_bridge::events::{Event, EventSocket, Notice, Timing};
use affectd_bridge::fault::Fault;
use affectd_bridge::service::Notifier;
use affectd_bridge::signals;
use rumqttc::{Client, ClientError, PublishOptions, QoS};
use serde_json::json;

use crate::broker::{Introduction, Link, LinkEvent};
use crate::discovery::{self, Known, Names};
use crate::settings::Settings;
use crate::world::{Identity, Shown, ShownFatigue, World};

/// Lines and messages that wait for this thread. The event socket is read no
/// further while this is full, so that affectd counts what is lost.
const QUEUE: usize = 256;

/// The lines of one frame come together. After so long without a line the frame
/// is complete.
const FRAME_COMPLETE: Duration = Duration::from_millis(20);

/// How long the line may take that says what comes after the leading face.
const SETTLED: Duration = Duration::from_secs(1);

/// How long a message may wait for room in the connection's queue.
const ROOM: Duration = Duration::from_secs(1);

/// How long to wait for the retained discovery message of an earlier run.
const RETAINED: Duration = Duration::from_millis(700);

/// Home Assistant needs this long from the discovery message to its subscription.
const SUBSCRIBED: Duration = Duration::from_secs(2);

/// How long the farewell may take.
const FAREWELL: Duration = Duration::from_secs(3);

/// What reaches this thread.
enum Input {
    Socket(Notice),
    /// With the number of the link that it comes from.
    Link(u64, LinkEvent),
    Ordered(Command, Result<(), String>),
    Stop(&'static str),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// The system has no threads left.
pub fn run(settings: Settings) -> Result<(), String> {
    let threads = |error: std::io::Error| format!("no thread can be started: {error}");
    let (inputs, received) = sync_channel(QUEUE);

    let stop = inputs.clone();
    signals::on_stop(FAREWELL + Duration::from_secs(2), move |signal| {
        // It fails only if the bridge has ended.
        let _ = stop.send(Input::Stop(signal));
    })
    .map_err(threads)?;

    let (socket, notices) = (settings.events.clone(), inputs.clone());
    thread::Builder::new()
        .name("events".to_owned())
        .spawn(move || {
            EventSocket::new(&socket, Timing::default()).run(|notice| {
                if notice == Notice::Idle {
                    return ControlFlow::Continue(());
                }
                match notices.send(Input::Socket(notice)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            });
        })
        .map_err(threads)?;

    let orders = orders(settings.control.socket.clone(), inputs.clone()).map_err(threads)?;

    let mut notifier = Notifier::from_environment();
    notifier.status("waiting for affectd");
    notifier.ready();
    Bridge {
        settings,
        inputs,
        orders,
        notifier,
        socket: None,
        link: None,
        links: 0,
        outbox: Outbox::new(),
    }
    .until_stopped(&received);
    Ok(())
}

/// A thread that sends orders to the daemon, one after the other.
fn orders(socket: PathBuf, inputs: SyncSender<Input>) -> std::io::Result<SyncSender<Command>> {
    let (orders, received) = sync_channel(4);
    thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            for command in received {
                let result = control::ask(&socket, command);
                if inputs.send(Input::Ordered(command, result)).is_err() {
                    return;
                }
            }
        })?;
    Ok(orders)
}

struct Bridge {
    settings: Settings,
    inputs: SyncSender<Input>,
    orders: SyncSender<Command>,
    notifier: Notifier,
    /// The daemon, while it is connected.
    socket: Option<Daemon>,
    /// The broker, from the first `hello` on: the id is a part of the will.
    link: Option<Session>,
    links: u64,
    outbox: Outbox,
}

/// What is known while the event socket is connected.
#[derive(Default)]
struct Daemon {
    world: World,
    /// What was published last; none before the first time.
    shown: Option<Shown>,
    shown_fatigue: ShownFatigue,
    /// The frame whose lines are coming, and when the newest one came.
    frame: Option<(u64, Instant)>,
    /// Since when the world is not settled.
    unsettled: Option<Instant>,
}

impl Daemon {
    fn take(&mut self, event: &Event) {
        let now = Instant::now();
        self.frame = Some((event.frame(), now));
        self.world.take(event);
        if self.world.is_settled() {
            self.unsettled = None;
        } else {
            self.unsettled.get_or_insert(now);
        }
    }

    /// When what is known may be published, if no further line comes.
    fn due(&self) -> Option<Instant> {
        let (_, newest) = self.frame?;
        let complete = newest + FRAME_COMPLETE;
        let settled = self.unsettled.map_or(complete, |since| since + SETTLED);
        Some(complete.max(settled))
    }
}

/// One identity at the broker.
struct Session {
    number: u64,
    link: Link,
    machine: Identity,
    names: Names,
    known: Known,
    /// The discovery message that was sent in this connection.
    discovered: Option<String>,
    discovery_due: Option<Instant>,
    state_due: Option<Instant>,
    period_due: Instant,
}

impl Bridge {
    fn until_stopped(mut self, received: &Receiver<Input>) {
        loop {
            let wait = self
                .next_due()
                .saturating_duration_since(Instant::now())
                .min(Duration::from_millis(500));
            match received.recv_timeout(wait) {
                Ok(Input::Socket(Notice::Event(event))) => self.event(&event),
                Ok(Input::Socket(Notice::Lost(_))) => self.lost(),
                Ok(Input::Socket(Notice::Idle)) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Input::Link(number, event)) => self.of_broker(number, event),
                Ok(Input::Ordered(command, result)) => self.ordered(command, result),
                Ok(Input::Stop(signal)) => {
                    self.farewell(signal, received);
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.what_is_due();
            self.notifier.feed();
        }
    }

    fn next_due(&self) -> Instant {
        let now = Instant::now();
        let frame = self.socket.as_ref().and_then(Daemon::due);
        let link = self.link.as_ref().filter(|_| self.outbox.is_connected());
        let of_link = link.map(|link| {
            let others = [link.discovery_due, link.state_due].into_iter().flatten();
            others.fold(link.period_due, Instant::min)
        });
        let dues = [frame, of_link].into_iter().flatten();
        dues.fold(now + Duration::from_secs(1), Instant::min)
    }

    /// Takes a line of the daemon.
    fn event(&mut self, event: &Event) {
        if event.kind() == "hello" {
            self.hello(event);
        }
        let Some(daemon) = &mut self.socket else {
            return;
        };
        // `hello` alone says nothing of the state, which follows at once.
        let is_known = daemon.shown.is_some() || daemon.world.shown() != Shown::default();
        let is_settled = daemon
            .unsettled
            .is_none_or(|since| since.elapsed() >= SETTLED);
        let is_next = daemon
            .frame
            .is_some_and(|(frame, _)| frame != event.frame());
        if is_known && is_settled && is_next {
            self.frame_is_complete();
        }
        let Some(daemon) = &mut self.socket else {
            return;
        };
        daemon.take(event);
        if event.kind() == "dropped" {
            let lines = event.integer("lines").unwrap_or(1);
            self.outbox.lines_dropped += u64::try_from(lines).unwrap_or(0);
            log::warn!(
                "affectd dropped {lines} lines, because this bridge was too slow or affectd's \
                 output failed; the state is right again within a period"
            );
        }
        self.note_optional(event);
        if self.settings.topics.events
            && let Some(link) = &self.link
        {
            self.outbox.send(link.names.events(), event.line(), EACH);
        }
        if matches!(event.kind(), "health" | "dropped") {
            self.send_health();
        }
    }

    fn hello(&mut self, hello: &Event) {
        match Identity::new(hello) {
            Ok(machine) => {
                log::info!(
                    "affectd {} is '{}' ({})",
                    machine.version,
                    machine.id,
                    machine.name
                );
                if self.socket.is_none() {
                    self.socket = Some(Daemon::default());
                }
                self.meet(machine);
            }
            Err(error) => {
                log::error!("{error}");
                self.lost();
            }
        }
    }

    /// Connects to the broker as this machine, if that is not so already.
    fn meet(&mut self, machine: Identity) {
        if let Some(link) = &mut self.link
            && link.machine.id == machine.id
        {
            link.machine = machine;
            self.discover_if_changed();
            return;
        }
        if let Some(old) = self.link.take() {
            log::info!("the machine is not '{}' any more", old.machine.id);
            self.outbox
                .send(old.names.availability(), "offline", RETAINED_STATE);
            self.outbox.disconnect();
        }
        self.links += 1;
        let number = self.links;
        let names = Names::new(&self.settings, &machine.id);
        let introduction = Introduction {
            client_id: self
                .settings
                .broker
                .client_id
                .clone()
                .unwrap_or_else(|| format!("affectd-{}", machine.id)),
            will: Some((names.availability(), "offline")),
            // The broker sends the will after one and a half times this.
            keep_alive: (self.settings.topics.period * 2 / 3)
                .clamp(Duration::from_secs(3), Duration::from_secs(60)),
        };
        let inputs = self.inputs.clone();
        let link = Link::start(self.settings.broker.clone(), introduction, move |event| {
            inputs.send(Input::Link(number, event)).is_ok()
        });
        match link {
            Ok(link) => {
                self.link = Some(Session {
                    number,
                    link,
                    machine,
                    names,
                    known: Known::default(),
                    discovered: None,
                    discovery_due: None,
                    state_due: None,
                    period_due: Instant::now(),
                });
            }
            Err(error) => log::error!("no thread can be started: {error}"),
        }
    }

    /// The event socket's connection has ended: nothing is known any more.
    fn lost(&mut self) {
        self.socket = None;
        self.send_availability();
    }

    fn of_broker(&mut self, number: u64, event: LinkEvent) {
        let Some(link) = self.link.as_mut().filter(|link| link.number == number) else {
            return;
        };
        match event {
            LinkEvent::Connected(client) => {
                self.outbox.connected(client);
                link.discovered = None;
                let mut topics = Vec::new();
                if self.settings.home_assistant.discovery {
                    link.discovery_due = Some(Instant::now() + RETAINED);
                    topics.extend([link.names.discovery(), link.names.birth.clone()]);
                }
                if self.settings.control.pause {
                    topics.push(link.names.pause());
                }
                for topic in topics {
                    self.outbox.subscribe(&topic);
                }
                self.send_all();
            }
            LinkEvent::Received {
                topic,
                payload,
                retain,
            } => self.received(&topic, &payload, retain),
            LinkEvent::Disconnected => self.outbox.disconnected(),
        }
    }

    fn received(&mut self, topic: &str, payload: &[u8], retain: bool) {
        let Some(link) = &mut self.link else {
            return;
        };
        if topic == link.names.discovery() {
            // Our own one comes back without the flag.
            if retain {
                let (shown, platforms) = discovery::published(payload);
                for key in discovery::OPTIONAL {
                    if shown.contains(*key) {
                        link.known.seen.insert((*key).to_owned());
                    }
                }
                link.known.leftovers.extend(platforms);
                link.discovery_due = Some(Instant::now());
            }
        } else if topic == link.names.birth {
            if payload == b"online" && !retain {
                // A hundred robots must not answer in one moment.
                let wait = Duration::from_secs(5).mul_f64(fastrand::f64());
                log::info!("Home Assistant has started: everything is sent again in {wait:.1?}");
                link.discovered = None;
                link.discovery_due = Some(Instant::now() + wait);
            }
        } else if topic == link.names.pause() && self.settings.control.pause {
            let command = match payload {
                _ if retain => {
                    log::warn!(
                        "{topic}: a retained order is not obeyed, since it would come again with \
                         each connection; send it without the flag retain"
                    );
                    return;
                }
                b"ON" => Command::Pause,
                b"OFF" => Command::Resume,
                other => {
                    let other = String::from_utf8_lossy(&other[..other.len().min(40)]);
                    log::warn!("{topic}: '{other}' is no order; orders are ON and OFF");
                    return;
                }
            };
            if let Err(TrySendError::Full(_)) = self.orders.try_send(command) {
                log::warn!(
                    "{topic}: affectd has not obeyed the earlier orders yet: {command} is dropped"
                );
            }
        }
    }

    fn ordered(&mut self, command: Command, result: Result<(), String>) {
        match result {
            Ok(()) => log::info!("{command}: affectd obeyed an order by MQTT"),
            Err(error) => log::warn!("{command}: {error}"),
        }
        // So that a switch shows what is so, whether it changed or not.
        self.send_state();
    }

    /// Notes that values of optional components have come.
    fn note_optional(&mut self, event: &Event) {
        let Some(link) = &mut self.link else {
            return;
        };
        let mut is_news = false;
        for key in discovery::OPTIONAL {
            if !link.known.seen.contains(*key) && World::has(event, key) {
                link.known.seen.insert((*key).to_owned());
                is_news = true;
            }
        }
        if is_news && link.discovered.is_some() {
            self.discover_if_changed();
        }
    }

    fn what_is_due(&mut self) {
        let now = Instant::now();
        let frame = self.socket.as_ref().and_then(Daemon::due);
        if frame.is_some_and(|due| due <= now) {
            self.frame_is_complete();
        }
        if !self.outbox.is_connected() {
            self.tell_status();
            return;
        }
        let Some(link) = &mut self.link else {
            return;
        };
        let is_due = |due: &mut Option<Instant>| due.take_if(|due| *due <= now).is_some();
        let (discovery, state) = (is_due(&mut link.discovery_due), is_due(&mut link.state_due));
        if discovery {
            self.discover_if_changed();
            self.send_all();
        }
        if state {
            self.send_state();
        }
        if self
            .link
            .as_ref()
            .is_some_and(|link| link.period_due <= now)
        {
            self.send_state();
            self.tell_status();
        }
    }

    /// Publishes what is new after all lines of a frame.
    fn frame_is_complete(&mut self) {
        let Some(daemon) = &mut self.socket else {
            return;
        };
        daemon.frame = None;
        let (shown, eyes) = (daemon.world.shown(), daemon.world.shown_fatigue());
        let before = daemon.shown.replace(shown.clone());
        let fatigue_is_new = eyes != daemon.shown_fatigue;
        daemon.shown_fatigue = eyes;
        let is_first = before.is_none();
        let state_is_new = before.as_ref() != Some(&shown);
        // From unknown to known is no change of an expression.
        let from = before.and_then(|before| before.expression);
        let change = if from.is_some() && from != shown.expression {
            daemon.world.change(from.as_deref())
        } else {
            None
        };
        if state_is_new {
            self.send_state();
        } else if fatigue_is_new {
            self.send_fatigue();
        }
        if let (Some(change), Some(link)) = (change, &self.link) {
            self.outbox.send(link.names.change(), &change, ONCE);
        }
        if is_first {
            // After the state, so that no older one is shown.
            self.send_availability();
        }
    }

    fn discover_if_changed(&mut self) {
        let Some(link) = &mut self.link else {
            return;
        };
        // Not before the retained message of an earlier run has come.
        if !self.settings.home_assistant.discovery || link.discovery_due.is_some() {
            return;
        }
        let message = discovery::message(&self.settings, &link.machine, &link.names, &link.known);
        if link.discovered.as_ref() != Some(&message) {
            self.outbox
                .send(link.names.discovery(), &message, RETAINED_STATE);
            link.discovered = Some(message);
            link.state_due = Some(Instant::now() + SUBSCRIBED);
        }
    }

    fn send_all(&mut self) {
        self.send_health();
        self.send_state();
        self.send_availability();
    }

    fn send_availability(&mut self) {
        let is_known = self
            .socket
            .as_ref()
            .is_some_and(|daemon| daemon.shown.is_some());
        let availability = if is_known { "online" } else { "offline" };
        if let Some(link) = &self.link {
            self.outbox
                .send(link.names.availability(), availability, RETAINED_STATE);
        }
        self.tell_status();
    }

    fn send_health(&mut self) {
        let (Some(daemon), Some(link)) = (&self.socket, &self.link) else {
            return;
        };
        let bridge = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "lines_dropped": self.outbox.lines_dropped,
            "messages_dropped": self.outbox.messages_dropped,
        });
        if let Some(health) = daemon.world.health(&bridge) {
            self.outbox
                .send(link.names.health(), &health, RETAINED_STATE);
        }
    }

    /// Sends the state and the eyes.
    fn send_state(&mut self) {
        let (Some(daemon), Some(link)) = (&self.socket, &mut self.link) else {
            return;
        };
        let state = daemon.world.state(self.settings.topics.details);
        link.period_due = Instant::now() + self.settings.topics.period;
        self.outbox.send(link.names.state(), &state, EACH);
        self.send_fatigue();
    }

    fn send_fatigue(&mut self) {
        let (Some(daemon), Some(link)) = (&self.socket, &self.link) else {
            return;
        };
        if let Some(fatigue) = daemon.world.fatigue() {
            self.outbox.send(link.names.fatigue(), &fatigue, EACH);
        }
    }

    fn tell_status(&mut self) {
        let daemon = match (&self.socket, &self.link) {
            (Some(_), Some(link)) => format!("affectd '{}' is connected", link.machine.id),
            _ => "waiting for affectd".to_owned(),
        };
        let broker = match (&self.link, self.outbox.is_connected()) {
            (None, _) => "",
            (_, true) => ", the broker too",
            (_, false) => ", waiting for the broker",
        };
        self.notifier.status(&format!("{daemon}{broker}"));
    }

    /// Says goodbye, so that nothing looks alive that is not.
    fn farewell(&mut self, signal: &str, received: &Receiver<Input>) {
        log::info!("stopping: {signal}");
        self.notifier.stopping();
        let Some(link) = self.link.take() else {
            return;
        };
        link.link.stop();
        if !self.outbox.is_connected() {
            return;
        }
        self.outbox
            .send(link.names.availability(), "offline", RETAINED_STATE);
        self.outbox.disconnect();
        let until = Instant::now() + FAREWELL;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match received.recv_timeout(left) {
                Ok(Input::Link(number, LinkEvent::Disconnected)) if number == link.number => return,
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }
}

/// Neither retained nor repeated if it is lost.
const EACH: PublishOptions = PublishOptions::new(QoS::AtMostOnce);
/// Not retained, and confirmed by the broker.
const ONCE: PublishOptions = PublishOptions::new(QoS::AtLeastOnce);
/// Retained and confirmed by the broker.
const RETAINED_STATE: PublishOptions = PublishOptions::new(QoS::AtLeastOnce).retained();

/// The way to the connection's thread. Without a connection nothing is kept: what
/// counts is sent again with the next one.
struct Outbox {
    client: Option<Client>,
    /// The broker takes nothing; do not wait again until it does.
    is_stuck: bool,
    stuck: Fault,
    lines_dropped: u64,
    messages_dropped: u64,
    refused: BTreeSet<String>,
}

impl Outbox {
    fn new() -> Self {
        Self {
            client: None,
            is_stuck: false,
            stuck: Fault::new("broker"),
            lines_dropped: 0,
            messages_dropped: 0,
            refused: BTreeSet::new(),
        }
    }

    const fn is_connected(&self) -> bool {
        self.client.is_some()
    }

    fn connected(&mut self, client: Client) {
        self.client = Some(client);
        self.is_stuck = false;
        self.stuck.cleared();
    }

    fn disconnected(&mut self) {
        self.client = None;
    }

    /// Ends the connection after what was sent. If the broker takes nothing, the
    /// connection ends with the process, and the broker sends the will.
    fn disconnect(&mut self) {
        if let Some(client) = self.client.take()
            && !self.is_stuck
            && let Err(error) = client.try_disconnect_with_timeout(FAREWELL)
        {
            log::debug!("no farewell: {error}");
        }
    }

    fn send(&mut self, topic: String, message: &str, options: PublishOptions) {
        let Some(client) = &self.client else {
            // What is repeated or retained is sent with the next connection.
            self.messages_dropped += u64::from(options == ONCE);
            return;
        };
        let until = Instant::now() + ROOM;
        loop {
            match client.try_publish(topic.as_str(), message, options) {
                Ok(()) => {
                    if std::mem::take(&mut self.is_stuck) {
                        self.stuck.cleared();
                    }
                    return;
                }
                // The connection has just ended.
                Err(ClientError::RequestChannelDisconnected(_)) => {
                    self.messages_dropped += u64::from(options == ONCE);
                    return;
                }
                Err(ClientError::RequestChannelFull(_))
                    if !self.is_stuck && Instant::now() < until =>
                {
                    thread::sleep(Duration::from_millis(1));
                }
                Err(error) => {
                    self.messages_dropped += 1;
                    self.is_stuck = true;
                    log::debug!("{topic}: {error}");
                    self.stuck
                        .occurred("takes no messages; they are dropped until it does");
                    return;
                }
            }
        }
    }

    fn subscribe(&mut self, topic: &str) {
        if let Some(client) = &self.client
            && let Err(error) = client.try_subscribe(topic, QoS::AtLeastOnce)
            && self.refused.insert(topic.to_owned())
        {
            log::warn!("{topic}: cannot be subscribed to: {error}");
        }
    }
}

//! The connection to the broker: a thread that connects, hands over what comes,
//! and connects again for ever.
//!
//! Each attempt has a client of its own, so that nothing that was left over from
//! an earlier connection is sent later, when it would be stale.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use affectd_bridge::backoff::Backoff;
use affectd_bridge::fault::Fault;
use rumqttc::tokio_rustls::rustls::pki_types::pem::PemObject as _;
use rumqttc::tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rumqttc::tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};
use rumqttc::{
    Client, ConnectReturnCode, Connection, ConnectionError, Event, Incoming, LastWill, MqttOptions,
    QoS, StateError, TlsConfiguration, TlsError, Transport,
};

use crate::secrets;
use crate::settings::{Broker, Tls};

/// How long the broker may take to accept a connection, in seconds.
const CONNECT_S: u64 = 10;

/// Messages that wait for the connection's thread.
const QUEUE: usize = 64;

/// The longest message that is taken and sent.
const LONGEST: (usize, usize) = (1 << 20, 1 << 20);

/// A connection that ended sooner was a short one.
const SHORT: Duration = Duration::from_secs(90);

/// So many short connections in a row mean that another client has this id.
const TAKEN_OVER: u32 = 3;

/// What the thread tells.
pub enum LinkEvent {
    /// The broker has accepted.
    Connected(Client),
    Received {
        topic: String,
        payload: Vec<u8>,
        retain: bool,
    },
    Disconnected,
}

/// How to introduce oneself to the broker.
#[derive(Clone, Debug)]
pub struct Introduction {
    pub client_id: String,
    /// Topic and payload of the will: retained, QoS 1.
    pub will: Option<(String, &'static str)>,
    pub keep_alive: Duration,
}

/// A connection that is kept up. Dropping it lets its thread end when the
/// connection does.
pub struct Link {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Link {
    /// Starts the thread. `tell` gets what happens; the thread ends if it gives
    /// false.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        broker: Broker,
        introduction: Introduction,
        tell: impl FnMut(LinkEvent) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("broker".to_owned())
            .spawn(move || keep_up(&broker, &introduction, &stopped, tell))?;
        Ok(Self { thread, stop })
    }

    /// Makes no further attempts. A connection that lasts is not ended by this.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.thread().unpark();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop();
    }
}

fn keep_up(
    broker: &Broker,
    introduction: &Introduction,
    stop: &AtomicBool,
    mut tell: impl FnMut(LinkEvent) -> bool,
) {
    let address = format!("broker {}:{}", broker.host, broker.port);
    let mut fault = Fault::new(&address);
    let mut backoff = Backoff::new(
        Duration::from_secs(4).min(broker.retry_max),
        broker.retry_max,
    );
    let mut short = 0;
    while !stop.load(Ordering::SeqCst) {
        let mut accepted: Option<Instant> = None;
        let ended = connect(broker, introduction).and_then(|(client, mut connection)| {
            let mut client = Some(client);
            loop {
                let received = connection.recv();
                if short > 0 && accepted.is_some_and(|accepted| accepted.elapsed() > SHORT) {
                    short = 0;
                    fault.cleared();
                }
                let told = match received {
                    Ok(Ok(Event::Incoming(Incoming::ConnAck(_)))) => {
                        accepted = Some(Instant::now());
                        if short < TAKEN_OVER {
                            fault.cleared();
                        }
                        log::info!("{address}: connected as '{}'", introduction.client_id);
                        client
                            .take()
                            .is_none_or(|client| tell(LinkEvent::Connected(client)))
                    }
                    Ok(Ok(Event::Incoming(Incoming::Publish(message)))) => {
                        tell(LinkEvent::Received {
                            topic: String::from_utf8_lossy(&message.topic).into_owned(),
                            payload: message.payload.to_vec(),
                            retain: message.retain,
                        })
                    }
                    Ok(Ok(_)) => true,
                    Ok(Err(error)) => return Err(explained(&error, broker)),
                    // Disconnected by ourselves.
                    Err(_) => return Ok(()),
                };
                if !told {
                    return Ok(());
                }
            }
        });
        let lived = accepted.map(|accepted| accepted.elapsed());
        if accepted.is_some() && !tell(LinkEvent::Disconnected) {
            return;
        }
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let Err(why) = ended else {
            continue;
        };
        match lived {
            Some(lived) if lived < SHORT && why.is_closed => short += 1,
            Some(lived) if lived < SHORT => {}
            Some(_) => {
                short = 0;
                backoff.reset();
            }
            // An attempt that fails, as while the broker restarts, is no sign of
            // another client.
            None => short = 0,
        }
        if short >= TAKEN_OVER {
            fault.occurred(format_args!(
                "accepts the client id '{id}' and then ends the connection, again and again: most \
                 likely another client uses '{id}', too (a second robot with the same id, or a \
                 second affectd-mqtt); give each robot an `id` of its own in its board file",
                id = introduction.client_id
            ));
        } else {
            fault.occurred(why);
        }
        let until = Instant::now() + backoff.wait();
        while !stop.load(Ordering::SeqCst) && Instant::now() < until {
            thread::park_timeout(until.saturating_duration_since(Instant::now()));
        }
    }
}

/// A client and its connection, which is opened when it is first polled.
///
/// # Errors
/// A file of the configuration cannot be used.
pub fn connect(
    broker: &Broker,
    introduction: &Introduction,
) -> Result<(Client, Connection), Problem> {
    let mut options = MqttOptions::new(
        introduction.client_id.clone(),
        (broker.host.clone(), broker.port),
    );
    options
        .set_keep_alive(u16::try_from(introduction.keep_alive.as_secs()).unwrap_or(60))
        .set_max_packet_size(LONGEST.0, LONGEST.1);
    if let Some((topic, payload)) = &introduction.will {
        options.set_last_will(LastWill::new(topic, *payload, QoS::AtLeastOnce, true));
    }
    if let Some(user) = &broker.user {
        match &broker.password_file {
            Some(file) => {
                options.set_credentials(user, secrets::password(file).map_err(Problem::of)?);
            }
            None => {
                options.set_username(user);
            }
        }
    }
    if let Some(tls) = &broker.tls {
        let config = tls_config(tls).map_err(Problem::of)?;
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
            Arc::new(config),
        )));
    }
    let (client, mut connection) = Client::builder(options)
        .capacity(QUEUE)
        .try_build()
        .map_err(|error| Problem::of(error.to_string()))?;
    connection
        .eventloop
        .network_options
        .set_connection_timeout(CONNECT_S)
        .set_tcp_nodelay(true);
    Ok((client, connection))
}

/// Reads the certificates. Each connection does it anew, so that renewed ones
/// count.
///
/// # Errors
/// The text names the file.
pub fn tls_config(tls: &Tls) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(file) => {
            let text = secrets::public(file)?;
            let wrong = |why: &dyn fmt::Display| {
                format!(
                    "{}: {why}; it must have certificates in PEM",
                    file.display()
                )
            };
            for certificate in CertificateDer::pem_slice_iter(&text) {
                let certificate = certificate.map_err(|error| wrong(&error))?;
                roots.add(certificate).map_err(|error| wrong(&error))?;
            }
            if roots.is_empty() {
                return Err(wrong(&"no certificate in it"));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(
                    "this system has no root certificates: install the package ca-certificates, \
                     or name a file: [broker] ca = \"FILE\""
                        .to_owned(),
                );
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let Some((certificate, key)) = &tls.client else {
        return Ok(builder.with_no_client_auth());
    };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&secrets::public(certificate)?).collect();
    let chain = chain.map_err(|error| format!("{}: {error}", certificate.display()))?;
    let secret = PrivateKeyDer::from_pem_slice(&secrets::secret(key)?)
        .map_err(|error| format!("{}: {error}", key.display()))?;
    builder
        .with_client_auth_cert(chain, secret)
        .map_err(|error| format!("{} with {}: {error}", certificate.display(), key.display()))
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    text: String,
    /// The other side ended the connection without a word.
    is_closed: bool,
}

impl Problem {
    fn of(text: String) -> Self {
        Self {
            text,
            is_closed: false,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What an error means, and what to do.
#[must_use]
pub fn explained(error: &ConnectionError, broker: &Broker) -> Problem {
    let io_error = match error {
        ConnectionError::Io(error)
        | ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(rumqttc::Error::Io(error)),
        )
        | ConnectionError::Tls(TlsError::Io(error)) => Some(error),
        _ => None,
    };
    if let Some(error) = io_error {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
        return match tls {
            Some(error) => Problem::of(tls_explained(error, broker)),
            None => io_explained(error, broker),
        };
    }
    match error {
        ConnectionError::Tls(TlsError::TLS(error)) => Problem::of(tls_explained(error, broker)),
        ConnectionError::MqttState(StateError::ConnectionAborted) => Problem {
            text: closed(broker),
            is_closed: true,
        },
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => Problem::of(format!(
            "accepts the connection and then says nothing for {CONNECT_S} s, or does not accept \
             it; is {}:{} an MQTT broker, and does it run?",
            broker.host, broker.port
        )),
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            Problem::of("does not answer any more; it is tried again".to_owned())
        }
        ConnectionError::ConnectionRefused(code) => Problem::of(match code {
            ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => format!(
                "refuses {} ({code:?}): check user and password_file in [broker], and the \
                 broker's list of users",
                broker
                    .user
                    .as_ref()
                    .map_or("a client without a user".to_owned(), |user| format!(
                        "the user '{user}'"
                    ))
            ),
            ConnectReturnCode::BadClientId => {
                "refuses the client id; set another one with client_id in [broker]".to_owned()
            }
            code => format!("refuses the connection: {code:?}"),
        }),
        other => Problem::of(format!("{other}; it is tried again")),
    }
}

fn closed(broker: &Broker) -> String {
    let hint = if broker.tls.is_some() {
        "does it speak TLS at this port, and does it ask for a client certificate?"
    } else {
        "does it ask for TLS at this port (tls = true)?"
    };
    format!("ended the connection; if this happens at each attempt: {hint}")
}

fn io_explained(error: &io::Error, broker: &Broker) -> Problem {
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable,
        NetworkUnreachable, NotConnected, TimedOut, UnexpectedEof,
    };
    match error.kind() {
        ConnectionAborted | ConnectionReset | UnexpectedEof | BrokenPipe | NotConnected => {
            Problem {
                text: closed(broker),
                is_closed: true,
            }
        }
        ConnectionRefused => Problem::of(format!(
            "no program listens there ({error}); does the broker run, and are host and port in \
             [broker] right?"
        )),
        TimedOut | HostUnreachable | NetworkUnreachable => Problem::of(format!(
            "cannot be reached ({error}); is the network there, and does a firewall let port {} \
             pass?",
            broker.port
        )),
        _ => {
            // A name that cannot be resolved has no kind of its own.
            let text = error.to_string();
            if text.contains("lookup") || text.contains("resol") {
                Problem::of(format!(
                    "its name is not known ({text}); is the network there, and is host in \
                     [broker] right?"
                ))
            } else {
                Problem::of(format!("{text}; it is tried again"))
            }
        }
    }
}

fn tls_explained(error: &rustls::Error, broker: &Broker) -> String {
    let host = &broker.host;
    let ca = broker.tls.as_ref().and_then(|tls| tls.ca.as_ref());
    let ca = ca.map_or("the system's root certificates".to_owned(), |ca| {
        format!("{}", ca.display())
    });
    match error {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired; renew it, or set the clock of this machine".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet; set the clock of this machine".to_owned()
            }
            CertificateError::UnknownIssuer => format!(
                "its certificate is not signed by an authority of {ca}; name the right file: ca \
                 in [broker]"
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!(
                    "its certificate is not for the name '{host}'; set host in [broker] to a name of \
                 the certificate"
                )
            }
            other => format!("its certificate is refused: {other}"),
        },
        rustls::Error::AlertReceived(alert) => format!(
            "refuses this client ({alert:?}); does it ask for a client certificate (client_cert \
             and client_key in [broker]), or is that one wrong or expired?"
        ),
        rustls::Error::InvalidMessage(_) => {
            "does not speak TLS at this port; set tls = false in [broker], or its TLS port"
                .to_owned()
        }
        other => format!("TLS: {other}"),
    }
}

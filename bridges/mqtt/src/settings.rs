//! The configuration, `/etc/affectd/mqtt.toml`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use affectd_bridge::config::{self, ConfigError, Section};

use crate::discovery;
use crate::secrets;

/// The directory in which systemd puts a service's credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// All settings with their defaults.
#[derive(Clone, Debug)]
pub struct Settings {
    pub events: PathBuf,
    pub broker: Broker,
    pub topics: Topics,
    pub home_assistant: HomeAssistant,
    pub control: Control,
}

/// `[broker]`
#[derive(Clone, Debug)]
pub struct Broker {
    pub host: String,
    pub port: u16,
    /// None: without TLS.
    pub tls: Option<Tls>,
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
    /// None: `affectd-` and the id of the machine.
    pub client_id: Option<String>,
    pub retry_max: Duration,
}

/// The TLS part of `[broker]`.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// None: the roots of the system.
    pub ca: Option<PathBuf>,
    /// The certificate and its key.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// `[topics]`
#[derive(Clone, Debug)]
pub struct Topics {
    pub prefix: String,
    /// How often the state is repeated.
    pub period: Duration,
    pub details: bool,
    pub events: bool,
}

/// `[homeassistant]`
#[derive(Clone, Debug)]
pub struct HomeAssistant {
    pub discovery: bool,
    pub prefix: String,
    /// Keys of components that are not shown.
    pub hide: Vec<String>,
}

/// `[control]`
#[derive(Clone, Debug)]
pub struct Control {
    pub socket: PathBuf,
    /// Whether the pause switch works.
    pub pause: bool,
}

impl Settings {
    /// Reads the configuration.
    ///
    /// # Errors
    /// The text names the file and the lines of all problems.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        config::read(path, Self::keys)
    }

    fn keys(root: &mut Section<'_, '_>) -> Self {
        let events = root
            .section("events", |events| events.path("socket"))
            .flatten()
            .unwrap_or_else(|| "/run/affectd/events.sock".into());
        Self {
            events,
            broker: section(root, "broker", Broker::keys),
            topics: section(root, "topics", Topics::keys),
            home_assistant: section(root, "homeassistant", HomeAssistant::keys),
            control: section(root, "control", Control::keys),
        }
    }
}

/// Reads a section, or gives its defaults by reading an empty one.
fn section<T>(
    root: &mut Section<'_, '_>,
    key: &str,
    keys: impl Fn(&mut Section<'_, '_>) -> T,
) -> T {
    root.section(key, &keys).unwrap_or_else(|| {
        let path = Path::new("");
        config::parse(path, "", keys).expect("all keys have defaults")
    })
}

impl Broker {
    fn keys(broker: &mut Section<'_, '_>) -> Self {
        let ca = broker.path("ca");
        let certificate = broker.path("client_cert");
        let key = broker.path("client_key").map(credential);
        let asked = broker.boolean("tls");
        let port = broker.integer("port", 1..=65535);
        let is_tls = asked.unwrap_or(ca.is_some() || certificate.is_some() || port == Some(8883));
        for name in ["ca", "client_cert", "client_key"] {
            if !is_tls && broker.has(name) {
                broker.reject(name, "has no use with tls = false; remove one of the two");
            }
        }
        let client = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(_), None) => {
                broker.reject("client_cert", "needs its key: client_key = \"FILE\"");
                None
            }
            (None, Some(_)) => {
                broker.reject(
                    "client_key",
                    "needs its certificate: client_cert = \"FILE\"",
                );
                None
            }
            (None, None) => None,
        };
        for (name, file) in [
            ("ca", ca.as_deref()),
            (
                "client_cert",
                client
                    .as_ref()
                    .map(|(certificate, _)| certificate.as_path()),
            ),
        ] {
            if let Some(Err(error)) = file.map(secrets::public) {
                broker.reject(name, error);
            }
        }
        if let Some(Err(error)) = client.as_ref().map(|(_, key)| secrets::secret(key)) {
            broker.reject("client_key", error);
        }
        let host = broker
            .string("host")
            .unwrap_or_else(|| "localhost".to_owned());
        if host.is_empty() || host.contains(['/', ' ', '@']) || host.matches(':').count() == 1 {
            broker.reject(
                "host",
                "must be a name or an address, without a scheme and a port",
            );
        }
        let user = broker.string("user");
        let password_file = broker.path("password_file").map(credential);
        if let Some(Err(error)) = password_file.as_deref().map(secrets::secret) {
            broker.reject("password_file", error);
        }
        if password_file.is_some() && user.is_none() {
            broker.reject("password_file", "needs a user: user = \"NAME\"");
        }
        if broker.has("password") {
            broker.reject(
                "password",
                "is not taken from here, where others could read it; write it into a file: \
                 password_file = \"FILE\"",
            );
            broker.string("password");
        }
        let client_id = broker.string("client_id");
        if client_id
            .as_deref()
            .is_some_and(|id| id.is_empty() || id.len() > 64)
        {
            broker.reject("client_id", "must have 1 to 64 bytes");
        }
        let retry_max = broker.integer("retry_max_s", 1..=3600).unwrap_or(60);
        Self {
            host,
            port: port.unwrap_or(if is_tls { 8883 } else { 1883 }),
            tls: is_tls.then_some(Tls { ca, client }),
            // Of the unit, which loads /etc/affectd/mqtt.password as root.
            password_file: password_file.or_else(|| user.is_some().then(loaded_password).flatten()),
            user,
            client_id,
            retry_max: Duration::from_secs(retry_max),
        }
    }
}

impl Topics {
    fn keys(topics: &mut Section<'_, '_>) -> Self {
        Self {
            prefix: topic(topics, "prefix", "affectd"),
            period: Duration::from_secs(topics.integer("period_s", 1..=3600).unwrap_or(10)),
            details: topics.boolean("details").unwrap_or(false),
            events: topics.boolean("events").unwrap_or(false),
        }
    }
}

impl HomeAssistant {
    fn keys(section: &mut Section<'_, '_>) -> Self {
        let hide = section.strings("hide").unwrap_or_default();
        for key in &hide {
            if !discovery::KEYS.iter().any(|(known, _)| known == key) {
                let known: Vec<_> = discovery::KEYS.iter().map(|(known, _)| *known).collect();
                let known = known.join(", ");
                section.reject(
                    "hide",
                    format_args!("unknown name '{key}'; names are {known}"),
                );
            }
        }
        Self {
            discovery: section.boolean("discovery").unwrap_or(true),
            prefix: topic(section, "prefix", "homeassistant"),
            hide,
        }
    }
}

impl Control {
    fn keys(control: &mut Section<'_, '_>) -> Self {
        Self {
            socket: control
                .path("socket")
                .unwrap_or_else(|| "/run/affectd/control.sock".into()),
            pause: control.boolean("pause").unwrap_or(false),
        }
    }
}

/// The beginning of topics.
fn topic(section: &mut Section<'_, '_>, key: &str, default: &str) -> String {
    let Some(prefix) = section.string(key) else {
        return default.to_owned();
    };
    let is_level = |level: &str| !level.is_empty() && !level.contains(['+', '#', '\0']);
    if prefix.len() > 128 || !prefix.split('/').all(is_level) {
        section.reject(
            key,
            "must be levels of a topic such as \"affectd\" or \"house/robots\", without '+' and \
             '#', and not begin or end with '/'",
        );
    }
    prefix
}

/// A name without a folder is one of the service's credentials, if there is such
/// a credential.
fn credential(path: PathBuf) -> PathBuf {
    let is_name = path.components().count() == 1 && path.is_relative();
    let folder = std::env::var_os(CREDENTIALS).filter(|_| is_name);
    match folder.map(|folder| Path::new(&folder).join(&path)) {
        Some(credential) if credential.exists() => credential,
        _ => path,
    }
}

/// The credential `password`, unless it is empty.
fn loaded_password() -> Option<PathBuf> {
    let folder = std::env::var_os(CREDENTIALS)?;
    let path = Path::new(&folder).join("password");
    let is_filled = std::fs::metadata(&path).is_ok_and(|file| file.len() > 0);
    is_filled.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        config::parse(Path::new("m.toml"), text, Settings::keys).map_err(|error| error.to_string())
    }

    fn error(text: &str) -> String {
        settings(text).unwrap_err()
    }

    #[test]
    fn an_empty_file_has_all_defaults() {
        let settings = settings("").unwrap();
        assert_eq!(settings.broker.host, "localhost");
        assert_eq!(settings.broker.port, 1883);
        assert!(settings.broker.tls.is_none());
        assert_eq!(settings.topics.prefix, "affectd");
        assert_eq!(settings.topics.period, Duration::from_secs(10));
        assert!(settings.home_assistant.discovery);
        assert!(!settings.control.pause);
    }

    #[test]
    fn tls_follows_from_the_port_and_the_port_from_tls() {
        let of = |text: &str| {
            let broker = settings(text).unwrap().broker;
            (broker.tls.is_some(), broker.port)
        };
        assert_eq!(of("[broker]\nport = 8883\n"), (true, 8883));
        assert_eq!(of("[broker]\ntls = true\n"), (true, 8883));
        assert_eq!(of("[broker]\ntls = true\nport = 1\n"), (true, 1));
        assert_eq!(of("[broker]\ntls = false\nport = 8883\n"), (false, 8883));
    }

    #[test]
    fn wrong_settings_are_explained() {
        for (text, part) in [
            (
                "[broker]\nhost = \"mqtt://x\"",
                "m.toml:2: broker.host: must be a name",
            ),
            ("[broker]\nhost = \"x:1883\"", "without a scheme and a port"),
            ("[broker]\npassword = \"x\"", "password_file"),
            (
                "[broker]\nuser = \"u\"\npassword_file = \"/nonexistent\"",
                "m.toml:3: broker.password_file: /nonexistent",
            ),
            ("[broker]\nca = \"/nonexistent\"", "/nonexistent"),
            ("[broker]\nclient_cert = \"/x\"", "needs its key"),
            (
                "[broker]\ntls = false\nca = \"/x\"",
                "has no use with tls = false",
            ),
            ("[broker]\ninsecure = true", "unknown key"),
            ("[topics]\nprefix = \"a/#\"", "without '+' and '#'"),
            ("[topics]\nprefix = \"\"", "levels of a topic"),
            ("[topics]\nperiod_s = 0", "from 1 to 3600"),
            (
                "[homeassistant]\nhide = [\"x\"]",
                "unknown name 'x'; names are expression,",
            ),
        ] {
            assert!(error(text).contains(part), "{text}: {}", error(text));
        }
        settings("[broker]\nhost = \"::1\"").unwrap();
    }

    /// There is no switch that disables the check of certificates.
    #[test]
    fn certificates_are_always_checked() {
        for key in [
            "insecure",
            "tls_insecure",
            "verify",
            "skip_verify",
            "verify_certificates",
        ] {
            assert!(error(&format!("[broker]\n{key} = true")).contains("unknown key"));
        }
    }

    /// Every key stands in the example, and the example is valid with each key in
    /// force.
    #[test]
    fn the_example_has_every_key() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/mqtt.toml");
        let example = std::fs::read_to_string(path).unwrap();
        settings(&example).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "secret").unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let on: String = example
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(key) if key.starts_with(|c: char| c.is_lowercase() || c == '[') => key,
                _ => line,
            })
            .map(|line| match line.split_once(" = \"/etc/affectd/") {
                Some((key, _)) => format!("{key} = {file:?}\n"),
                None => format!("{line}\n"),
            })
            .collect();
        settings(&on).unwrap_or_else(|error| panic!("{error}\n{on}"));
        let source = include_str!("settings.rs");
        let source = source.split("#[cfg(test)]").next().unwrap();
        let mut keys = Vec::new();
        for getter in ["string", "path", "boolean", "strings", "integer"] {
            let getter = format!(".{getter}(\"");
            let asked = source.split(&getter).skip(1);
            keys.extend(asked.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
        keys.retain(|key| key != "password");
        assert!(keys.len() > 12, "{keys:?}");
        for key in keys {
            assert!(on.contains(&format!("\n{key} = ")), "no {key} in {on}");
        }
    }
}

//! The configuration, `/etc/affectd/ros2.toml`.

use std::path::{Path, PathBuf};

use affectd_bridge::config::{ConfigError, Section, read};

use crate::interfaces::Network;

/// Where the configuration is unless `--config` names another one.
pub const PATH: &str = "/etc/affectd/ros2.toml";

/// The settings of the bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// affectd's event socket.
    pub socket: PathBuf,
    pub ros: Ros,
}

/// Where the bridge is in the ROS graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ros {
    /// As `ROS_DOMAIN_ID`.
    pub domain: u16,
    /// Empty, or with a slash before each name: `/robot1/head`.
    pub namespace: String,
    /// The frame of the camera, an optical one.
    pub frame_id: String,
    /// Which addresses are used; all if empty.
    pub networks: Vec<Network>,
}

impl Config {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// All problems, with their lines.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        read(path, Self::keys)
    }

    fn keys(root: &mut Section<'_, '_>) -> Self {
        let socket = root.section("events", |events| events.path("socket"));
        Self {
            socket: socket
                .flatten()
                .unwrap_or_else(|| PathBuf::from("/run/affectd/events.sock")),
            ros: root.section("ros", Ros::keys).unwrap_or_default(),
        }
    }
}

impl Default for Ros {
    fn default() -> Self {
        Self {
            domain: 0,
            namespace: String::new(),
            frame_id: "camera_optical_frame".to_owned(),
            networks: Vec::new(),
        }
    }
}

impl Ros {
    fn keys(section: &mut Section<'_, '_>) -> Self {
        let mut ros = Self::default();
        if let Some(domain) = section.integer("domain", 0..=232) {
            ros.domain = domain;
        }
        if let Some(text) = section.string("namespace") {
            match namespace(&text) {
                Ok(namespace) => ros.namespace = namespace,
                Err(problem) => section.reject("namespace", problem),
            }
        }
        if let Some(frame_id) = section.string("frame_id") {
            if frame_id.is_empty() || frame_id.starts_with('/') || frame_id.contains(' ') {
                section.reject(
                    "frame_id",
                    "must be the name of a tf frame: not empty, no slash in front, no spaces",
                );
            }
            ros.frame_id = frame_id;
        }
        for text in section.strings("networks").unwrap_or_default() {
            match Network::parse(&text) {
                Ok(network) => ros.networks.push(network),
                Err(problem) => section.reject("networks", problem),
            }
        }
        ros
    }
}

/// Reads a namespace by ROS's rules for names, with or without a slash in front.
fn namespace(text: &str) -> Result<String, String> {
    let names = text.strip_prefix('/').unwrap_or(text);
    if names.is_empty() {
        return Ok(String::new());
    }
    for name in names.split('/') {
        let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let goes_on_well = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !begins_well || !goes_on_well || name.contains("__") {
            return Err(format!(
                "'{name}' is no name in ROS: letters, digits and single underscores, \
                 no digit in front, names separated by one slash each"
            ));
        }
    }
    Ok(format!("/{names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        affectd_bridge::config::parse(Path::new("ros2.toml"), text, Config::keys)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_is_enough() {
        let config = parse("").unwrap();
        assert_eq!(config.socket, Path::new("/run/affectd/events.sock"));
        assert_eq!(config.ros, Ros::default());
    }

    /// The example that the package installs has every key, with its default.
    #[test]
    fn the_example_has_every_key_with_its_default() {
        let example = include_str!("../packaging/ros2.toml");
        let mut uncommented = String::new();
        let mut keys = Vec::new();
        for line in example.lines() {
            let line = line
                .strip_prefix('#')
                .filter(|rest| !rest.starts_with(' '))
                .unwrap_or(line);
            if let Some((key, _)) = line.split_once(" = ") {
                keys.push(key);
            }
            uncommented += line;
            uncommented.push('\n');
        }
        assert_eq!(
            keys,
            ["socket", "domain", "namespace", "frame_id", "networks"]
        );
        assert_eq!(parse(&uncommented).unwrap(), parse("").unwrap());
        assert_eq!(parse(example).unwrap(), parse("").unwrap());
    }

    #[test]
    fn all_keys() {
        let config = parse(
            "[events]\nsocket = \"/run/affectd-front/events.sock\"\n[ros]\ndomain = 42\n\
             namespace = \"robot1/head\"\nframe_id = \"head_camera_optical_frame\"\n\
             networks = [\"wlan0\", \"10.0.0.0/8\"]\n",
        )
        .unwrap();
        assert_eq!(config.socket, Path::new("/run/affectd-front/events.sock"));
        assert_eq!(config.ros.domain, 42);
        assert_eq!(config.ros.namespace, "/robot1/head");
        assert_eq!(config.ros.networks.len(), 2);
        assert_eq!(
            parse("[ros]\nnamespace = \"/\"\n").unwrap().ros.namespace,
            ""
        );
        assert_eq!(
            parse("[ros]\nnamespace = \"/a\"\n").unwrap().ros.namespace,
            "/a"
        );
    }

    #[test]
    fn problems_have_their_lines() {
        let error = parse(
            "[ros]\ndomain = 233\nnamespace = \"robot-1\"\nframe_id = \"/camera\"\n\
             networks = [\"192.168.1.5/24\"]\nnetwork = 1\n",
        )
        .unwrap_err();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 5, "{error}");
        for (line, begin) in lines.iter().zip([
            "ros2.toml:2: ros.domain: must be a whole number from 0 to 232",
            "ros2.toml:3: ros.namespace: 'robot-1' is no name in ROS",
            "ros2.toml:4: ros.frame_id: must be the name of a tf frame",
            "ros2.toml:5: ros.networks: '192.168.1.5/24' has bits after the first 24",
            "ros2.toml:6: ros.network: unknown key; did you mean 'networks'?",
        ]) {
            assert!(line.starts_with(begin), "{line}");
        }
    }
}

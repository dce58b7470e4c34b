//! Who may ask the preview: the checks of a request before it is answered.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::options::Error;

/// The shortest password in bytes.
pub const TOKEN_SHORTEST: usize = 16;

/// The names of this machine for itself.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What a request must have.
#[derive(Clone, Debug)]
pub struct Gate {
    hosts: Vec<String>,
    token: Option<Token>,
}

/// A password, as its SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token([u8; 32]);

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The host is not one of ours: a page of another site may have got its own
    /// name to mean this machine (DNS rebinding).
    Host,
    /// A page of another site asks.
    OtherSite,
    /// The password is missing or wrong.
    Password,
}

/// The header fields of a request that count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    pub host: Option<&'a str>,
    pub authorization: Option<&'a str>,
    /// Which site the request comes from (`Sec-Fetch-Site`), in browsers.
    pub site: Option<&'a str>,
}

impl Gate {
    pub fn new(hosts: &[String], token: Option<Token>) -> Self {
        Self {
            hosts: hosts.iter().map(|host| plain(host)).collect(),
            token,
        }
    }

    /// Checks a request. `is_page`: whether it is for the page itself, to which
    /// other sites may link.
    pub fn check(&self, fields: Fields<'_>, is_page: bool) -> Result<(), Refusal> {
        let host = plain(fields.host.unwrap_or_default());
        if !LOCAL.contains(&&*host) && !self.hosts.contains(&host) {
            return Err(Refusal::Host);
        }
        let is_ours = matches!(fields.site, None | Some("same-origin" | "none"));
        if !is_ours && !is_page {
            return Err(Refusal::OtherSite);
        }
        match (&self.token, fields.authorization.and_then(given_token)) {
            (None, _) => Ok(()),
            // Hashes are compared, so the time says nothing about the password.
            (Some(token), Some(given)) if Token::of(&given) == *token => Ok(()),
            (Some(_), _) => Err(Refusal::Password),
        }
    }
}

/// A host without its port and a final dot, in small letters.
fn plain(host: &str) -> String {
    let name = match host.rfind(':') {
        // The colons of an IPv6 address are in brackets.
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether this may be in the list of hosts: a name, an IPv4 address, or an IPv6
/// address in brackets, without a port.
#[must_use]
pub fn is_host(host: &str) -> bool {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            !host.is_empty() && host.bytes().all(is_allowed)
        }
    }
}

/// The password of a field `Authorization`: `Basic`, with any user, or `Bearer`.
fn given_token(field: &str) -> Option<Vec<u8>> {
    let (scheme, rest) = field.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = from_base64(rest)?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded[colon + 1..].to_vec())
}

impl Token {
    fn of(password: &[u8]) -> Self {
        Self(Sha256::digest(password).into())
    }

    /// Reads a password from a file: its only line.
    ///
    /// # Errors
    /// The file cannot be read, every user can read it, or the password is too
    /// short.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let problem = |problem: String| Error::Token {
            path: path.to_owned(),
            problem,
        };
        let found = fs::metadata(path).map_err(|error| problem(error.to_string()))?;
        if found.mode() & 0o007 != 0 {
            return Err(problem(
                "every user of this machine can read or change it; chmod o= it".to_owned(),
            ));
        }
        let text = fs::read(path).map_err(|error| problem(error.to_string()))?;
        let password = text.trim_ascii();
        if password.len() < TOKEN_SHORTEST || password.contains(&b'\n') {
            return Err(problem(format!(
                "it must have one line of at least {TOKEN_SHORTEST} characters, such as from `openssl rand -hex 16`"
            )));
        }
        Ok(Self::of(password))
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding (RFC 4648, section 4).
pub fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(group);
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

/// The bytes of a text in base64, with or without padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.bytes() {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        bits = bits << 6 | digit as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn check(gate: &Gate, host: &str, authorization: Option<&str>) -> Result<(), Refusal> {
        let fields = Fields {
            host: Some(host),
            authorization,
            site: None,
        };
        gate.check(fields, false)
    }

    #[test]
    fn only_our_own_names_are_hosts() {
        let gate = Gate::new(&["Robot.local".to_owned(), "192.168.1.7".to_owned()], None);
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "[::1]:8080",
            "[::1]",
            "robot.local",
            "robot.local.:80",
            "192.168.1.7:8080",
        ] {
            assert_eq!(check(&gate, host, None), Ok(()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8080",
            "192.168.1.70",
            "::1",
        ] {
            assert_eq!(check(&gate, host, None), Err(Refusal::Host), "{host}");
        }
        assert_eq!(
            gate.check(Fields::default(), true),
            Err(Refusal::Host),
            "no host at all"
        );
    }

    #[test]
    fn hosts_have_no_port_and_no_scheme() {
        for right in ["robot", "robot-7.local", "10.0.0.7", "[fe80::1]"] {
            assert!(is_host(right), "{right}");
        }
        for wrong in [
            "",
            "robot:8080",
            "http://robot",
            "[robot]",
            "fe80::1",
            "a b",
            "*",
        ] {
            assert!(!is_host(wrong), "{wrong}");
        }
    }

    #[test]
    fn pages_of_other_sites_may_only_link() {
        let gate = Gate::new(&[], None);
        for (site, is_page, expected) in [
            ("same-origin", false, Ok(())),
            ("none", false, Ok(())),
            ("same-site", false, Err(Refusal::OtherSite)),
            ("cross-site", false, Err(Refusal::OtherSite)),
            ("cross-site", true, Ok(())),
        ] {
            let fields = Fields {
                host: Some("localhost:8080"),
                site: Some(site),
                ..Fields::default()
            };
            assert_eq!(gate.check(fields, is_page), expected, "{site}");
        }
    }

    #[test]
    fn a_password_is_needed_if_there_is_one() {
        let gate = Gate::new(&[], Some(Token::of(b"correct horse:battery")));
        let basic = format!("Basic {}", to_base64(b"anybody:correct horse:battery"));
        for right in [basic.as_str(), "bearer correct horse:battery"] {
            assert_eq!(check(&gate, "localhost", Some(right)), Ok(()), "{right}");
        }
        let other = format!("Basic {}", to_base64(b"correct horse:battery"));
        for wrong in [
            None,
            Some(""),
            Some("Basic"),
            Some("Basic !"),
            Some("Bearer "),
            Some("Bearer correct horse:batter"),
            Some("Digest correct horse:battery"),
            Some(other.as_str()),
        ] {
            assert_eq!(
                check(&gate, "localhost", wrong),
                Err(Refusal::Password),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn a_password_that_others_can_read_or_guess_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let read = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Token::read(&path).map_err(|error| error.to_string())
        };
        assert_eq!(
            read("0123456789abcdef\n", 0o640),
            Ok(Token::of(b"0123456789abcdef"))
        );
        for (text, mode, says) in [
            ("0123456789abcdef\n", 0o644, "chmod"),
            ("0123456789abcde\n", 0o600, "at least 16"),
            ("0123456789abcdef\n0123456789abcdef\n", 0o600, "one line"),
        ] {
            let error = read(text, mode).unwrap_err();
            assert!(error.contains(says) && error.contains("token"), "{error}");
        }
        let missing = Token::read(&folder.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("No such file"), "{missing}");
    }

    proptest! {
        #[test]
        fn base64_reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = to_base64(&bytes);
            prop_assert_eq!(text.len() % 4, 0);
            prop_assert_eq!(from_base64(&text), Some(bytes));
        }

        #[test]
        fn any_field_is_read_without_a_panic(text in ".*") {
            let _ = given_token(&text);
            let _ = plain(&text);
        }
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(to_base64(bytes.as_bytes()), text);
        }
    }
}

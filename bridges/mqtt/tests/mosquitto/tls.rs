//! TLS with an authority of one's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Bridge, Broker, Daemon};

/// An authority, made by openssl.
struct Authority {
    folder: PathBuf,
    name: &'static str,
}

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("openssl is missing; scripts/test-bridges installs it");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

const CURVE: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

impl Authority {
    fn new(folder: &Path, name: &'static str) -> Self {
        let authority = Self {
            folder: folder.to_owned(),
            name,
        };
        let (key, certificate) = (authority.file(name, "key"), authority.file(name, "pem"));
        let subject = format!("/CN={name}");
        let mut arguments = vec!["req", "-x509", "-nodes", "-days", "30", "-subj", &subject];
        arguments.extend(CURVE);
        arguments.extend(["-keyout", &key, "-out", &certificate]);
        openssl(&arguments);
        authority
    }

    fn file(&self, name: &str, kind: &str) -> String {
        let path = self.folder.join(format!("{}-{name}.{kind}", self.name));
        path.to_str().unwrap().to_owned()
    }

    fn certificate(&self) -> String {
        self.file(self.name, "pem")
    }

    /// A certificate with its key, for so many days from now.
    fn sign(&self, name: &str, names: &str, days: &str) -> (String, String) {
        let file = |kind| self.file(name, kind);
        let (key, request, certificate) = (file("key"), file("csr"), file("pem"));
        let subject = format!("/CN={name}");
        let mut arguments = vec!["req", "-new", "-nodes", "-subj", &subject];
        arguments.extend(CURVE);
        arguments.extend(["-keyout", &key, "-out", &request]);
        openssl(&arguments);
        let extension = file("ext");
        fs::write(&extension, format!("subjectAltName={names}\n")).unwrap();
        let (authority, secret) = (self.certificate(), self.file(self.name, "key"));
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &authority,
            "-CAkey",
            &secret,
            "-CAcreateserial",
            "-days",
            days,
            "-extfile",
            &extension,
            "-out",
            &certificate,
        ]);
        (certificate, key)
    }
}

const HERE: &str = "DNS:localhost,IP:127.0.0.1";

fn listener(authority: &Authority, (certificate, key): &(String, String), more: &str) -> String {
    format!(
        "allow_anonymous true\ncafile {}\ncertfile {certificate}\nkeyfile {key}\n{more}",
        authority.certificate()
    )
}

/// A bridge with a broker that it must not accept, and the reason that it logs.
fn refused(folder: &Path, id: &str, broker: &Broker, settings: &str, reason: &str) {
    let mut daemon = Daemon::new(folder, id, "r");
    let bridge = Bridge::start(&daemon, broker, &format!("[broker]\n{settings}"));
    daemon.accept();
    bridge.await_log(reason);
    assert_eq!(bridge.logged("connected as"), 0, "{}", bridge.log());
}

#[test]
fn an_authority_of_ones_own_is_trusted_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let other = Authority::new(folder.path(), "other");
    let server = ours.sign("server", HERE, "30");
    let ca = ours.certificate();
    let broker = Broker::with(
        folder.path(),
        &listener(&ours, &server, ""),
        &["--cafile", &ca],
    );
    let subscriber = broker.subscribe("affectd/#");
    for (id, host) in [("name", "localhost"), ("address", "127.0.0.1")] {
        let mut daemon = Daemon::new(folder.path(), id, "r");
        let settings = format!("[broker]\nhost = {host:?}\nca = {ca:?}\n");
        let _bridge = Bridge::start(&daemon, &broker, &settings);
        daemon.accept();
        subscriber.text(&format!("{id}/availability"), "online");
    }
    let foreign = format!("ca = {:?}\n", other.certificate());
    refused(
        folder.path(),
        "a",
        &broker,
        &foreign,
        "is not signed by an authority of",
    );
    refused(folder.path(), "b", &broker, "tls = true\n", "certificate");
    let key = format!("ca = {:?}\n", server.1);
    refused(folder.path(), "c", &broker, &key, "no certificate in it");
    refused(
        folder.path(),
        "d",
        &broker,
        "tls = false\n",
        "does it ask for TLS at this port",
    );
}

#[test]
fn an_expired_certificate_and_one_for_another_name_are_refused() {
    for (name, names, days, reason) in [
        (
            "expired",
            HERE,
            "-1",
            "has expired; renew it, or set the clock",
        ),
        (
            "elsewhere",
            "DNS:elsewhere.example",
            "30",
            "not for the name 'localhost'",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ours = Authority::new(folder.path(), "ours");
        let server = ours.sign(name, names, days);
        let broker = Broker::with(folder.path(), &listener(&ours, &server, ""), &[]);
        let settings = format!("ca = {:?}\n", ours.certificate());
        refused(folder.path(), "r", &broker, &settings, reason);
    }
}

#[test]
fn a_client_certificate_is_shown_if_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let other = Authority::new(folder.path(), "other");
    let server = ours.sign("server", HERE, "30");
    let (certificate, key) = ours.sign("robot", "DNS:robot", "30");
    let (foreign, foreign_key) = other.sign("robot", "DNS:robot", "30");
    let ca = ours.certificate();
    let broker = Broker::with(
        folder.path(),
        &listener(&ours, &server, "require_certificate true\n"),
        &["--cafile", &ca, "--cert", &certificate, "--key", &key],
    );
    let subscriber = broker.subscribe("affectd/#");
    let mut daemon = Daemon::new(folder.path(), "r", "r");
    let settings =
        format!("[broker]\nca = {ca:?}\nclient_cert = {certificate:?}\nclient_key = {key:?}\n");
    let bridge = Bridge::start(&daemon, &broker, &settings);
    daemon.accept();
    subscriber.text("r/availability", "online");
    drop(bridge);
    let without = format!("ca = {ca:?}\n");
    refused(
        folder.path(),
        "a",
        &broker,
        &without,
        "ask for a client certificate",
    );
    let wrong = format!("ca = {ca:?}\nclient_cert = {foreign:?}\nclient_key = {foreign_key:?}\n");
    refused(
        folder.path(),
        "b",
        &broker,
        &wrong,
        "ask for a client certificate",
    );
}

#[test]
fn a_port_without_tls_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let ours = Authority::new(folder.path(), "ours");
    let broker = Broker::start(folder.path());
    let settings = format!("ca = {:?}\n", ours.certificate());
    refused(folder.path(), "r", &broker, &settings, "TLS at this port");
}

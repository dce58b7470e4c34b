//! The preview of a daemon that repeats a photograph: page, pictures, figures,
//! who may ask, and who is told.

use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use affectd::image::{self, LumaImage};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::pictures::photo;

const LONG: Duration = Duration::from_secs(60);

struct Daemon {
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
    folder: tempfile::TempDir,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Daemon {
    /// `more`: keys of the section [preview].
    fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let board = folder.path().join("board.toml");
        fs::write(&board, text(more)).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_affectd"))
            .args(["run", "--board"])
            .arg(&board)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut events = BufReader::new(child.stdout.take().unwrap()).lines();
        events.next().expect("hello").unwrap();
        let daemon = Self {
            child,
            events,
            folder,
        };
        // Events are opened before the preview.
        let start = Instant::now();
        while !daemon.path("http.sock").exists() {
            assert!(start.elapsed() < LONG, "the preview does not open");
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn connect(&self, path: &str, more: &str) -> UnixStream {
        let mut client = UnixStream::connect(self.path("http.sock")).unwrap();
        client.set_read_timeout(Some(LONG)).unwrap();
        let host = if more.contains("Host:") {
            ""
        } else {
            "Host: localhost:8080\r\n"
        };
        write!(
            client,
            "GET {path} HTTP/1.1\r\n{host}{more}Connection: close\r\n\r\n"
        )
        .unwrap();
        client
    }

    fn ask(&self, path: &str, more: &str) -> Answer {
        let mut all = Vec::new();
        self.connect(path, more).read_to_end(&mut all).unwrap();
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        Answer {
            status: head[9..12].parse().unwrap(),
            body: all.split_off(end + 4),
            head,
        }
    }

    fn state(&self) -> Value {
        let start = Instant::now();
        let answer = loop {
            let answer = self.ask("/state", "");
            if answer.status == 200 {
                break answer;
            }
            // The daemon is still starting.
            assert_eq!(answer.status, 503, "{}", answer.head);
            assert!(start.elapsed() < LONG);
        };
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn expect(&mut self, kind: &str) -> Value {
        loop {
            let line = self.events.next().expect(kind).unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["type"] == kind {
                return event;
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(more: &str) -> String {
    format!(
        "name = 'lobby'\n[capture]\nsource = '{}'\nrepeat = true\nfps = 20\npace = 'recorded'\n\
         [track]\nconfirm = 1\n[events]\nstdout = true\n\
         [preview]\nsocket = 'http.sock'\n{more}\n",
        photo("astronaut.jpg").display()
    )
}

#[test]
fn a_browser_sees_the_page_pictures_and_figures() {
    let mut daemon = Daemon::start("fps = 20");
    let page = daemon.ask("/", "");
    assert_eq!(page.status, 200);
    let text = String::from_utf8(page.body).unwrap();
    assert!(
        text.contains("--happy:#ffcf4d;") && !text.contains("/*"),
        "{text}"
    );
    for field in [
        "Cache-Control: no-store",
        "Content-Security-Policy: default-src 'self'; script-src 'sha256-",
        "Cross-Origin-Resource-Policy: same-origin",
        "Content-Type: text/html; charset=utf-8",
    ] {
        assert!(page.head.contains(field), "{}", page.head);
    }
    assert!(!page.head.contains("Access-Control"), "{}", page.head);
    let mode = fs::metadata(daemon.path("http.sock"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o660);

    let start = Instant::now();
    let state = loop {
        let state = daemon.state();
        if state["faces"]
            .as_array()
            .is_some_and(|faces| !faces.is_empty())
        {
            break state;
        }
        assert!(start.elapsed() < LONG, "{state}");
    };
    assert_eq!(daemon.expect("preview")["watched"], true);
    assert_eq!(state["name"], "lobby");
    assert_eq!(state["camera"], "streaming");
    assert_eq!(state["size"], serde_json::json!([512, 512]));
    assert!(state["ends_in"].as_u64().unwrap() > 500, "{state}");
    assert!(state["face_size"].as_u64().unwrap() > 60, "{state}");
    assert_eq!(state["faces"][0]["landmarks"].as_array().unwrap().len(), 14);
    let brightness = state["brightness"].as_f64().unwrap();
    assert!((0.2..0.8).contains(&brightness), "{state}");
    assert_eq!(state["lines"], serde_json::json!([]));
    assert!(state["health"]["rss_kib"].is_u64() || state["health"]["rss_kib"] == 0);

    let snapshot = daemon.ask("/snapshot", "");
    assert!(
        snapshot.head.contains("Content-Type: image/jpeg"),
        "{}",
        snapshot.head
    );
    let mut picture = LumaImage::default();
    image::luma(&snapshot.body, &mut picture).unwrap();
    assert_eq!((picture.width, picture.height), (512, 512));
    // The box is drawn: at the face's edge the picture is not the photograph.
    let original = image::read_luma(photo("astronaut.jpg")).unwrap();
    let at =
        |picture: &LumaImage, x: u64, y: u64| i32::from(picture.pixels[(y * 512 + x) as usize]);
    let [x, y, width, height] =
        [0, 1, 2, 3].map(|index| state["faces"][0]["box"][index].as_u64().unwrap());
    let edge: i32 = (y + height / 3..y + 2 * height / 3)
        .map(|y| (at(&picture, x, y) - at(&original, x, y)).abs())
        .sum();
    let inside: i32 = (y + height / 3..y + 2 * height / 3)
        .map(|y| (at(&picture, x + width / 8, y) - at(&original, x + width / 8, y)).abs())
        .sum();
    assert!(edge > 4 * inside, "{edge} {inside}");

    let mut stream = BufReader::new(daemon.connect("/stream", ""));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
    }
    assert!(
        head.contains("multipart/x-mixed-replace; boundary=affectd-picture"),
        "{head}"
    );
    for _ in 0..3 {
        let mut part = String::new();
        while !part.ends_with("\r\n\r\n") || part.trim().is_empty() {
            assert!(stream.read_line(&mut part).unwrap() > 0, "{part}");
        }
        assert!(part.contains("--affectd-picture\r\n"), "{part}");
        let (_, length) = part.split_once("Content-Length: ").unwrap();
        let mut jpeg = vec![0; length.trim().parse().unwrap()];
        stream.read_exact(&mut jpeg).unwrap();
        image::luma(&jpeg, &mut picture).unwrap();
    }
    drop(stream);
    assert_eq!(daemon.expect("preview")["watched"], false);
    let log = fs::read_to_string(daemon.path("log")).unwrap();
    let me = format!("watched by process {}", std::process::id());
    assert!(log.contains(&me) && log.contains("nobody watches"), "{log}");
}

#[test]
fn who_asks_wrongly_sees_nothing() {
    let daemon = Daemon::start("hosts = ['robot.local']\nclients = 1");
    for (path, more, status) in [
        ("/", "Host: robot.local:8080\r\n", 200),
        ("/state", "Host: evil.example\r\n", 421),
        ("/", "Host: evil.example\r\n", 421),
        ("/snapshot", "Sec-Fetch-Site: cross-site\r\n", 403),
        ("/state", "Sec-Fetch-Site: same-site\r\n", 403),
        ("/", "Sec-Fetch-Site: cross-site\r\n", 200),
        ("/stream/", "", 404),
        ("/metrics", "", 404),
        ("/../etc/passwd", "", 404),
    ] {
        assert_eq!(daemon.ask(path, more).status, status, "{path} {more}");
    }
    // One client watches, a second one must not.
    let first = daemon.connect("/stream", "");
    let start = Instant::now();
    loop {
        let second = daemon.ask("/snapshot", "");
        if second.status == 503 {
            assert!(String::from_utf8_lossy(&second.body).contains("preview.clients"));
            break;
        }
        assert!(start.elapsed() < LONG);
    }
    drop(first);
}

#[test]
fn a_reload_opens_and_closes_the_preview() {
    let mut daemon = Daemon::start("");
    let signal = |daemon: &Daemon| {
        kill_process(Pid::from_child(&daemon.child), Signal::HUP).unwrap();
    };
    let _watching = daemon.connect("/stream", "");
    assert_eq!(daemon.expect("preview")["watched"], true);
    let without = text("").replace("[preview]\nsocket = 'http.sock'\n", "");
    fs::write(daemon.path("board.toml"), without).unwrap();
    signal(&daemon);
    assert_eq!(daemon.expect("preview")["watched"], false);
    assert_eq!(daemon.expect("reload")["ok"], true);
    assert!(!daemon.path("http.sock").exists());
    fs::write(daemon.path("board.toml"), text("fps = 2")).unwrap();
    signal(&daemon);
    assert_eq!(daemon.expect("reload")["ok"], true);
    assert_eq!(daemon.ask("/", "").status, 200);
    // A password that everybody can read is refused, and the old settings stay.
    fs::write(daemon.path("token"), "0123456789abcdef").unwrap();
    fs::set_permissions(daemon.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(daemon.path("board.toml"), text("token_file = 'token'")).unwrap();
    signal(&daemon);
    let refused = daemon.expect("reload");
    assert_eq!(refused["ok"], false);
    assert!(
        refused["error"].as_str().unwrap().contains("chmod"),
        "{refused}"
    );
    assert_eq!(daemon.ask("/", "").status, 200);
}

#[test]
fn problems_of_the_section_are_named() {
    let board = |more: &str| {
        let text = format!("[capture]\nsource = '/dev/video0'\n[preview]\n{more}\n");
        affectd::board::Board::parse(&text, Path::new("/etc/affectd"))
            .map(|board| board.preview.unwrap())
            .map_err(|problems| problems[0].to_string())
    };
    let good = board("socket = 'a/http.sock'\nclients = 2\nfps = 0.5").unwrap();
    assert_eq!(good.socket.unwrap(), Path::new("/etc/affectd/a/http.sock"));
    assert_eq!((good.clients, good.fps), (2, 0.5));
    assert_eq!(board("token_file = 't'").unwrap().socket, None);
    for (more, says) in [
        ("", "preview.socket"),
        ("socket = 'x'\nfps = 0", "from 0.5 to 30"),
        ("socket = 'x'\nclients = 0", "from 1 to 16"),
        ("socket = 'x'\nhosts = ['robot:8080']", "without a port"),
        ("socket = 'x'\nport = 8080", "unknown key"),
    ] {
        let problem = board(more).unwrap_err();
        assert!(problem.contains(says), "{problem}");
    }
}

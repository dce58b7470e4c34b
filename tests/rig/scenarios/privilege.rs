//! What affectd does without privileges, and what it never does.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;

use crate::daemon::Start;
use crate::displays::{Oled, Shown, framebuffer};
use crate::guest::{PATIENCE, SCREEN, cameras, chip, has_screen, lines, states_on, wait_until};
use crate::webcam::Webcam;

use super::{EACH_FRAME, HAPPY, QUICK, photo, robot};

/// An ordinary user, and the group that may use the devices.
pub const USER: u32 = 1000;
pub const GROUP: u32 = 44;

/// Makes the devices of robot.toml, the webcam among them, usable for the group.
pub fn give_devices_to_the_group() {
    wait_until("the node", || !cameras().is_empty());
    let mut devices = vec![chip()];
    devices.extend(cameras().iter().map(|name| format!("/dev/{name}")));
    devices.extend(["/dev/i2c-1", "/dev/spidev0.0"].map(String::from));
    devices.extend(has_screen().then(|| "/dev/fb0".to_owned()));
    for path in devices {
        chown(&path, Some(0), Some(GROUP)).expect(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).expect(&path);
    }
    // Files of earlier scenarios, which belong to root.
    for picture in ["oled", "tft", "screen"] {
        let _ = fs::remove_file(format!("/tmp/{picture}.png"));
    }
}

/// Everything works for a user who is in the devices' group and has no other
/// right.
pub fn no_root_needed() -> String {
    let _webcam = Webcam::plug(&photo(HAPPY));
    give_devices_to_the_group();
    let mut oled = Oled::new();
    let mut daemon = Start {
        user: Some((USER, GROUP)),
        ..Start::new("privilege-no-root")
    }
    .go();
    daemon.expect_face("happy");
    wait_until("the happy line alone", || states_on() == [lines::HAPPY]);
    Shown::wait_for_same("user-oled", "/tmp/oled.png", || oled.shown());
    if has_screen() {
        Shown::wait_for_same("user-framebuffer", "/tmp/screen.png", || {
            framebuffer(SCREEN.0, SCREEN.1)
        });
    }
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("its status");
    let has = |line: &str| {
        status
            .lines()
            .any(|l| l.split_whitespace().eq(line.split(' ')))
    };
    assert!(has("Uid: 1000 1000 1000 1000"), "{status}");
    assert!(has("CapEff: 0000000000000000"), "{status}");
    let socket = fs::metadata("/tmp/events.sock").expect("the socket");
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o777, 0o660);
    // No process on this machine has an Internet socket.
    for family in [
        "tcp", "tcp6", "udp", "udp6", "udplite", "raw", "raw6", "packet",
    ] {
        if let Ok(list) = fs::read_to_string(format!("/proc/net/{family}")) {
            assert_eq!(list.lines().count(), 1, "{family}: {list}");
        }
    }
    daemon.stop();
    String::new()
}

/// The calls by which bytes leave a process, files are opened and memory is
/// shared.
const CALLS: &str = "trace=open,openat,openat2,creat,\
    write,pwrite64,writev,pwritev,pwritev2,\
    sendto,sendmsg,sendmmsg,sendfile,splice,vmsplice,tee,copy_file_range,\
    socket,mmap,memfd_create,shmget,msgget,mq_open,io_uring_setup,process_vm_writev";

/// affectd writes no pixels, except to a picture that the board file asks for.
/// This checks all system calls that could write some.
pub fn no_pixels_written() -> String {
    const DISPLAY: &str = "[[display]]\nkind = \"png\"\npath = \"/tmp/asked-for.png\"\n\
        size = \"128x64\"\n\n[events]";
    const PREVIEW: &str = "[preview]\nsocket = \"/tmp/preview.sock\"\n\n";
    let _webcam = Webcam::plug(&photo(HAPPY));
    // Without displays: they show no pixel of the camera either, but would
    // write other pixels.
    let board = robot(&[QUICK, EACH_FRAME]);
    let text = fs::read_to_string(&board).expect(&board);
    let (head, rest) = text.split_once("[[display]]").expect("displays");
    let (_, tail) = rest.split_once("[events]").expect("events");
    // The preview is open, and its page is loaded, but nobody watches.
    let text = format!("{head}{PREVIEW}[events]{tail}");
    let traced = |log: &str, text: &str| {
        fs::write(&board, text).expect(&board);
        let list = format!("/out/{log}.strace");
        let mut daemon = Start {
            board: &board,
            under: &[
                "/bin/strace",
                "-f",
                "-y",
                "-s",
                "100000",
                "-e",
                CALLS,
                "-o",
                &list,
            ],
            ..Start::new(log)
        }
        .go();
        daemon.expect_type("face");
        // A reader of events, too.
        let reader = UnixStream::connect("/tmp/events.sock").expect("the socket of events");
        reader.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let told = BufReader::new(reader)
            .lines()
            .map_while(Result::ok)
            .take(10)
            .count();
        assert_eq!(told, 10, "lines from the socket");
        let mut page = String::new();
        let mut client = UnixStream::connect("/tmp/preview.sock").expect("the preview's socket");
        client
            .write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            .expect("a request");
        client.read_to_string(&mut page).expect("the page");
        assert!(page.contains("</html>"), "{page}");
        daemon.stop();
        let list = fs::read_to_string(&list).expect("strace's list");
        (list.lines().count(), suspects(&list))
    };
    let (calls, found) = traced("privilege-no-pixels", &text);
    assert!(calls > 100, "strace saw {calls} calls");
    assert!(found.is_empty(), "{}", found.join("\n"));

    // The same check finds a picture that was asked for.
    let (_, found) = traced("privilege-asked-for", &text.replace("[events]", DISPLAY));
    assert!(
        found.iter().any(|line| line.contains("asked-for")),
        "a picture's writing was not seen: {found:?}"
    );
    format!(": {calls} calls, none with pixels")
}

/// Lines of strace's list that may contain a picture. Text for standard output,
/// the log or the event socket is left out, and so are a few calls that are
/// known to contain no picture.
fn suspects(list: &str) -> Vec<String> {
    list.lines()
        .filter(|line| !is_harmless(line))
        .map(|line| line.chars().take(300).collect())
        .collect()
}

fn is_harmless(line: &str) -> bool {
    // "PID call(arguments) = result", or a remark of strace about processes.
    let Some((_, call)) = line.split_once(char::is_whitespace) else {
        return false;
    };
    let call = call.trim_start();
    if call.starts_with("+++") || call.starts_with("---") || call.starts_with("<...") {
        return true;
    }
    let Some((name, arguments)) = call.split_once('(') else {
        return false;
    };
    match name {
        "open" | "openat" => {
            let reads = arguments.contains("O_RDONLY") && !arguments.contains("O_CREAT");
            // The camera, and the check for a terminal.
            let known = ["\"/dev/video0\"", "\"/dev/tty\""];
            reads || known.iter().any(|device| arguments.contains(device))
        }
        "mmap" => {
            let shared = arguments.contains("MAP_SHARED") && arguments.contains("PROT_WRITE");
            !shared || arguments.contains("</dev/video0>")
        }
        "socket" => arguments.starts_with("AF_UNIX,"),
        "write" | "sendto" => {
            let Some((to, data)) = arguments.split_once(", ") else {
                return false;
            };
            // Wakes a thread, or checks whether a reader is there.
            let wakes = to.contains("<anon_inode:[eventfd]>") || data.starts_with("\"\", 0");
            // Standard output is the pipe.
            let own = ["<pipe:", "<socket:", ".log>", "events.sock", "preview.sock"];
            wakes || own.iter().any(|own| to.contains(own)) && is_text(data)
        }
        _ => false,
    }
}

/// Whether a call's data, as strace prints it, is complete and is text: strace
/// prints other bytes as a backslash with digits.
fn is_text(data: &str) -> bool {
    let Some(text) = data
        .strip_prefix('"')
        .and_then(|rest| rest.rfind('"').map(|end| &rest[..end]))
    else {
        return false;
    };
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\\' && !matches!(letters.next(), Some('n' | 'r' | '"' | '\\' | 't')) {
            return false;
        }
    }
    !data[text.len() + 2..].starts_with("...")
}

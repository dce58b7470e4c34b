//! What the command line answers to bad input.

use std::fs;
use std::process::{Command, Output};

fn affectd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_affectd"))
        .args(arguments)
        .output()
        .unwrap()
}

/// Runs it, checks the exit code, and returns standard error.
fn refused(arguments: &[&str], code: i32) -> String {
    let output = affectd(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

/// Writes a board file, and returns the error of `affectd run`.
fn run_board(text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("board.toml");
    fs::write(&path, text).unwrap();
    let mut command = Command::new("timeout");
    command.args(["60", env!("CARGO_BIN_EXE_affectd"), "run", "--board"]);
    let output = command.arg(&path).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

#[test]
fn wrong_usage_exits_with_2() {
    refused(&[], 2);
    refused(&["dance"], 2);
    refused(&["check", "--effective", "--hardware"], 2);
    refused(
        &["run", "--board", "x", "--source", "-", "--size", "0x9"],
        2,
    );
}

#[test]
fn help_shows_examples() {
    for command in [
        "run",
        "image",
        "detect",
        "eval",
        "check",
        "safe",
        "model",
        "status",
        "pause",
        "resume",
        "test-outputs",
    ] {
        let output = affectd(&[command, "--help"]);
        assert!(output.status.success());
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(
            help.contains("affectd ") && help.contains("Example"),
            "{help}"
        );
    }
}

#[test]
fn check_tells_all_problems() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("robot.toml");
    fs::write(&path, "[capture]\nsoruce = 'x'\n[decide]\nenter = 2\n").unwrap();
    let error = refused(&["check", path.to_str().unwrap()], 1);
    assert!(error.contains("robot.toml:2: capture.soruce: unknown key; did you mean 'source'?"));
    assert!(error.contains("robot.toml:4: decide.enter"), "{error}");
}

#[test]
fn check_says_that_a_good_board_is_good() {
    let board = concat!(env!("CARGO_MANIFEST_DIR"), "/boards/raspberry-pi-4.toml");
    let output = affectd(&["check", board]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("ok      model: ") && text.contains("ok      cascade: "));
}

/// The board files of 0.1.0, and the one of its package: an upgrade needs no edit.
#[test]
fn boards_of_0_1_0_are_accepted() {
    let boards = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/boards-0.1.0");
    let mut count = 0;
    for entry in fs::read_dir(boards).unwrap() {
        let board = entry.unwrap().path();
        let output = affectd(&["check", board.to_str().unwrap()]);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{}: {text}", board.display());
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn check_opens_the_hardware_only_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("robot.toml");
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/photos");
    fs::write(
        &path,
        format!(
            "[capture]\nsource = '{photos}'\n\
             [gpio]\nchip = 'pinctrl-nowhere'\n[gpio.lines]\nhappy = 4\n\
             [[display]]\nkind = 'ssd1306'\nbus = '/dev/i2c-nowhere'\n"
        ),
    )
    .unwrap();
    let path = path.to_str().unwrap();
    assert!(affectd(&["check", path]).status.success());

    let output = affectd(&["check", "--hardware", path]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("ok      camera: "), "{text}");
    assert!(text.contains("WRONG   gpio: ") && text.contains("'pinctrl-nowhere'"));
    assert!(text.contains("/dev/i2c-nowhere"), "{text}");
    assert_eq!(text.matches("WRONG").count(), 2, "{text}");
}

#[test]
fn check_tries_everything_that_run_opens() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/photos");
    let path = at("board.toml");
    let check = |sections: &str| {
        fs::write(&path, format!("[capture]\nsource = '{photos}'\n{sections}")).unwrap();
        let output = affectd(&["check", "--hardware", &path]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.success(), !text.contains("WRONG"), "{text}");
        text
    };
    let text = check(
        "[events]\nfile = '/proc/nowhere/events.jsonl'\nsocket = '/proc/nowhere/events.sock'\n\
         [[display]]\nkind = 'png'\npath = '/proc/nowhere/display.png'\n\
         [thermal]\nzone = '/proc/nowhere/zone'\n\
         [watchdog]\ndevice = '/proc/nowhere/watchdog'\n",
    );
    for wrong in [
        "event file /proc/nowhere/events.jsonl",
        "event socket /proc/nowhere/events.sock",
        "cannot write the picture /proc/nowhere",
        "thermal: /proc/nowhere/zone",
        "watchdog: /proc/nowhere/watchdog",
    ] {
        assert!(text.contains(wrong), "no {wrong} in: {text}");
    }
    assert_eq!(text.matches("WRONG").count(), 5, "{text}");

    // A folder in the place of a file, and a file in the place of a socket.
    fs::create_dir(at("folder")).unwrap();
    fs::write(at("file"), "").unwrap();
    let text = check(&format!(
        "[events]\nfile = '{}'\nsocket = '{}'\n[[display]]\nkind = 'png'\npath = '{}'\n\
         [watchdog]\ndevice = '{}'\n",
        at("folder"),
        at("file"),
        at("file/display.png"),
        at("board.toml"),
    ));
    assert_eq!(text.matches("WRONG").count(), 4, "{text}");

    // Two names of one file.
    std::os::unix::fs::symlink(at("folder"), at("link")).unwrap();
    let text = check(&format!(
        "[events]\nfile = '{}'\n[[display]]\nkind = 'png'\npath = '{}'\n",
        at("folder/x"),
        at("link/x"),
    ));
    assert_eq!(text.matches("WRONG").count(), 1, "{text}");
    assert!(
        text.contains("already used by events.file (line 4)"),
        "{text}"
    );

    let text = check(&format!(
        "[events]\nfile = '{}'\nsocket = '{}'\n[[display]]\nkind = 'png'\npath = '{}'\n",
        at("events.jsonl"),
        at("events.sock"),
        at("new/display.png"),
    ));
    assert!(!text.contains("WRONG"), "{text}");
    let mut left: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["board.toml", "file", "folder", "link"]);
}

#[test]
fn a_model_that_is_missing_is_told_with_the_places_searched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("board.toml");
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/photos");
    fs::write(&path, format!("[capture]\nsource = '{photos}'\n")).unwrap();
    // A copy of the program without models around it.
    let program = directory.path().join("affectd");
    fs::copy(env!("CARGO_BIN_EXE_affectd"), &program).unwrap();
    if std::path::Path::new("/usr/share/affectd/models").exists() {
        eprintln!("left out: the package is installed");
        return;
    }
    let said = |arguments: &[&str]| {
        let output = Command::new(&program)
            .args(arguments)
            .arg(&path)
            .current_dir(directory.path())
            .env("AFFECTD_MODELS", "/of/my/own")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    for said in [said(&["check"]), said(&["run", "--board"])] {
        let cascade = affectd::assets::DEFAULT_CASCADE;
        for part in [
            &*format!("'{cascade}' was not found in: /of/my/own, models, "),
            "/usr/share/affectd/models",
            "AFFECTD_MODELS",
        ] {
            assert!(said.contains(part), "no {part} in: {said}");
        }
    }
    let check = said(&["check"]);
    assert!(
        check.contains("WRONG   model: 'mobilenet_v2_112' was not found in"),
        "{check}"
    );
}

#[test]
fn a_missing_recording_is_named() {
    let error = run_board("[capture]\nsource = 'nowhere.y4m'\n");
    assert!(error.contains("nowhere.y4m"), "{error}");
}

#[test]
fn a_device_that_is_not_a_camera_is_refused() {
    let error = run_board("[capture]\nsource = '/dev/null'\n");
    assert!(error.contains("/dev/null: is not a camera"), "{error}");
}

#[test]
fn a_missing_gpio_chip_is_refused_with_a_list_of_the_chips() {
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/photos");
    let error = run_board(&format!(
        "[capture]\nsource = '{photos}'\n[gpio]\nchip = 'pinctrl-nowhere'\n[gpio.lines]\nhappy = 4\n"
    ));
    assert!(
        error.contains("'pinctrl-nowhere' does not exist"),
        "{error}"
    );
}

/// Only a network that is not quantized needs the arena, because tract runs it.
#[test]
fn an_arena_without_room_for_a_frame_says_how_large_it_must_be() {
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/classify/float.onnx"
    );
    let error = run_board(&format!(
        "[capture]\nsource = '/dev/video9'\nsize = '640x480'\n\
         [classify]\nmodel = '{model}'\n[process]\narena_kib = 4\n"
    ));
    assert!(
        error.contains("the frame arena of 4 KiB is too small for frames of 640x480"),
        "{error}"
    );
    assert!(error.contains("process.arena_kib = 1024"), "{error}");
}

#[test]
fn check_tries_the_privileges_of_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("board.toml");
    let check = |privileges: &str| {
        let text = format!("[capture]\nsource = '/dev/video0'\n[process]\n{privileges}\n");
        fs::write(&path, text).unwrap();
        let output = affectd(&["check", path.to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.contains("process")).unwrap();
        (output.status.success(), line.to_owned())
    };
    assert_eq!(
        check(""),
        (true, "ok      process: frame arena of 4096 KiB".to_owned())
    );
    // The user of the tests may or may not have these privileges.
    let (granted, line) = check("realtime_priority = 50");
    let expected = if granted {
        "SCHED_FIFO priority 50 is allowed"
    } else {
        "LimitRTPRIO=50"
    };
    assert!(line.contains(expected), "{line}");
    let (granted, line) = check("lock_memory = true");
    let expected = if granted {
        "memory can be locked"
    } else {
        "LimitMEMLOCK=infinity"
    };
    assert!(line.contains(expected), "{line}");
}

#[test]
fn a_truncated_raw_stream_ends_after_its_whole_frames() {
    use std::io::Write as _;
    use std::process::Stdio;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("board.toml");
    fs::write(
        &path,
        "[capture]\nsource = '-'\nformat = 'grey'\nsize = '64x48'\npace = 'fast'\n[events]\nstdout = true\n",
    )
    .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_affectd"))
        .args(["run", "--board"])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&vec![128; 64 * 48 * 2 + 100])
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let events = String::from_utf8(output.stdout).unwrap();
    let goodbye = events.lines().last().unwrap();
    assert!(goodbye.contains("\"frames\":2"), "{events}");
}

#[test]
fn a_closed_pipe_on_standard_output_is_not_an_error() {
    use std::process::Stdio;
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/photos");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("board.toml");
    fs::write(
        &path,
        format!(
            "[capture]\nsource = '{photos}'\npace = 'fast'\n[events]\nstdout = true\nfile = 'events.jsonl'\n"
        ),
    )
    .unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_affectd"))
        .args(["run", "--board"])
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    let events = fs::read_to_string(directory.path().join("events.jsonl")).unwrap();
    assert!(events.lines().last().unwrap().contains("goodbye"));
}

//! Reads the sections of a board file into the options of the stages: one
//! function per section, keys in the order of `boards/example.toml`.

use std::path::PathBuf;
use std::time::Duration;

use super::claims::Resource;
use super::displays::display_section;
use super::keys::{HOUR_MS, line_id, own_path, path, set, size};
use super::options::{Board, ClassifyOptions, DetectOptions, FaceOptions, FatigueOptions};
use super::reader::{Found, Section};
use crate::assets::{self, ModelChoice};
use crate::capture::convert::Layout;
use crate::capture::{self, Pace, PixelFormat, SourceSpec};
use crate::frame::MAX_SIDE;
use crate::host::{memory, realtime, state, thermal, watchdog};
use crate::image::turn::Rotation;
use crate::observe::FieldOfView;
use crate::output::{events, gpio, record};
use crate::{control, decide, detect, metrics, preview, track};

pub(super) fn board(mut root: Section<'_, '_>) -> Board {
    let id = root.string("id").and_then(|found| {
        let is_valid = check_id(found.value);
        if !is_valid {
            found.reject(
                "must be 1 to 64 letters, digits, '-' or '_', because it becomes a part of MQTT topics",
            );
        }
        is_valid.then(|| found.value.to_owned())
    });
    let name = root
        .string("name")
        .map_or_else(|| "affectd".to_owned(), |found| found.value.to_owned());
    let mut horizontal_fov = None;
    let capture = match root.section("capture") {
        Some(mut section) => {
            horizontal_fov = section.number("horizontal_fov", FieldOfView::RANGE);
            capture_section(section)
        }
        None if root.has("capture") => capture::Options::default(),
        None => {
            root.missing(
                "capture",
                "say where frames come from: [capture] source = \"/dev/video0\"",
            );
            capture::Options::default()
        }
    };
    let detect = detect_section(root.section("detect"));
    let mut track = root.section("track").map(track_section).unwrap_or_default();
    let face = root
        .section("face")
        .map(|section| face_section(section, &mut track))
        .unwrap_or_default();
    let classify = classify_section(root.section("classify"));
    let (decide, baseline) = root
        .section("decide")
        .map(|section| decide_section(section, &face))
        .unwrap_or_default();
    let facing = root
        .section("facing")
        .map(|section| facing_section(section, &face));
    let fatigue = root
        .section("fatigue")
        .map(|section| fatigue_section(section, &face));
    let watches_eyes = root.has("fatigue");
    let gpio = root
        .section("gpio")
        .and_then(|section| gpio_section(section, watches_eyes, &face));
    let displays = root
        .sections("display")
        .into_iter()
        .filter_map(display_section)
        .collect();
    let events = root.section("events").map(events_section);
    let thermal = root.section("thermal").map(thermal_section);
    let watchdog = root.section("watchdog").and_then(watchdog_section);
    let process = root
        .section("process")
        .map(process_section)
        .unwrap_or_default();
    let state = root.section("state").map(state_section).unwrap_or_default();
    let control = root.section("control").map(control_section);
    let metrics = root.section("metrics").map(metrics_section);
    let http = root.section("http").map(http_section);
    let preview = root.section("preview").map(preview_section);
    root.finish();
    Board {
        id,
        name,
        capture,
        detect,
        track,
        face,
        classify,
        decide,
        baseline,
        facing,
        horizontal_fov,
        fatigue,
        gpio,
        displays,
        events,
        thermal,
        watchdog,
        process,
        state,
        control,
        metrics,
        http,
        preview,
        claims: Vec::new(),
        warnings: Vec::new(),
    }
}

/// Whether this can be a part of an MQTT topic or of a ROS node's name.
fn check_id(id: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    (1..=64).contains(&id.len()) && id.bytes().all(is_allowed)
}

fn capture_section(mut section: Section<'_, '_>) -> capture::Options {
    let mut options = capture::Options::default();
    if let Some(found) = section.string("source") {
        match found.value.parse() {
            Ok(SourceSpec::Replay(path)) => {
                let path = found.folder().join(path);
                found.claim(Resource::File(path.clone()));
                options.source = SourceSpec::Replay(path);
            }
            Ok(source) => {
                if let SourceSpec::V4l2Path(device) = &source {
                    found.claim(Resource::File(device.clone()));
                }
                options.source = source;
            }
            Err(error) => found.reject(error),
        }
    }
    let has_source = section.has("source");
    if let Some(mut found) = section.strings("command") {
        if has_source {
            found.reject("source is also given: remove one of them");
        }
        let folder = found.folder();
        match found.value.first_mut() {
            None => found.reject("must name a program, but is an empty list"),
            Some(program) => {
                if program.contains('/') {
                    *program = folder.join(&*program).display().to_string();
                }
                options.source = SourceSpec::Command(found.value);
            }
        }
    } else if !has_source && !section.has("command") {
        section.missing(
            "source",
            "say where frames come from, such as \"/dev/video0\"",
        );
    }
    options.size = size(&mut section, "size");
    options.fps = section
        .number("fps", capture::Options::FPS)
        .map(|fps| fps as f32);
    options.format = section.parsed("format");
    if let Some(found) = section.string("pace") {
        match found.value {
            "recorded" => options.pace = Pace::Recorded,
            "fast" => options.pace = Pace::Fast,
            other => found.reject(format_args!(
                "must be \"recorded\" or \"fast\", is \"{other}\""
            )),
        }
    }
    set(&mut options.repeat, section.boolean("repeat"));
    set(
        &mut options.stall_timeout,
        section.millis("stall_timeout_ms", capture::Options::TIMEOUT_MS),
    );
    if let Some(degrees) = section.integer_of("rotation", &[0, 90, 180, 270]) {
        options.turn.rotation = Rotation::from_degrees(degrees).unwrap_or_default();
    }
    set(&mut options.turn.mirror, section.boolean("mirror"));
    set(
        &mut options.start_timeout,
        section.millis("start_timeout_ms", capture::Options::TIMEOUT_MS),
    );
    set(
        &mut options.skip_darker_than,
        section
            .number("skip_darker_than", capture::Options::LUMA)
            .map(|luma| luma as f32),
    );
    options.stride = section.integer("stride", 1..=4 * 4 * MAX_SIDE as usize);
    if let Some(mut controls) = section.section("controls") {
        for name in controls.keys() {
            if let Some(value) = controls.integer(&name, i64::MIN..=i64::MAX) {
                options.controls.push((name, value));
            }
        }
    }
    raw_frames(&section, &options);
    section.finish();
    options
}

/// Checks format and size, which raw frames do not contain.
fn raw_frames(section: &Section<'_, '_>, options: &capture::Options) {
    let is_stream = matches!(
        options.source,
        SourceSpec::Stdin | SourceSpec::Command(_) | SourceSpec::Replay(_)
    );
    if options.stride.is_some() && !is_stream {
        section.reject(
            "stride is only for raw frames from a pipe: a camera's driver gives it by itself",
        );
    }
    let Some(format) = options.format.filter(|&format| format != PixelFormat::Mjpg) else {
        return;
    };
    match options.size {
        Some((width, height)) => {
            if let Err(error) = Layout::padded(format, width, height, options.stride) {
                section.reject(error);
            }
        }
        // A recording, unlike a FIFO, contains its size.
        None if matches!(options.source, SourceSpec::Stdin | SourceSpec::Command(_))
            && !section.has("size") =>
        {
            section.missing("size", "raw frames do not contain their size");
        }
        None => {}
    }
}

fn detect_section(section: Option<Section<'_, '_>>) -> DetectOptions {
    let mut detector = detect::Options {
        min_size: (60, 60),
        ..detect::Options::default()
    };
    let mut search = detect::SearchOptions::default();
    let mut cascade = None;
    if let Some(mut section) = section {
        cascade = Some(model_file(&mut section, "cascade", assets::DEFAULT_CASCADE));
        set(
            &mut detector.scale_factor,
            section.number("scale_factor", detect::Options::SCALE_FACTOR),
        );
        set(
            &mut detector.min_neighbors,
            section.integer("min_neighbors", detect::Options::MIN_NEIGHBORS),
        );
        if let Some(side) = section.integer("min_size", 0..=MAX_SIDE) {
            detector.min_size = (side, side);
        }
        if let Some(side) = section.integer("max_size", 0..=MAX_SIDE) {
            detector.max_size = (side > 0).then_some((side, side));
        }
        set(&mut detector.enhance, section.parsed("enhance"));
        if let Some(section) = section.section("search") {
            search = search_section(section);
        }
        section.finish();
    }
    DetectOptions {
        cascade: cascade.unwrap_or_else(|| default_model_file(assets::DEFAULT_CASCADE)),
        detector,
        search,
    }
}

fn search_section(mut section: Section<'_, '_>) -> detect::SearchOptions {
    let mut options = detect::SearchOptions::default();
    let millis = 0..=HOUR_MS as u32;
    set(
        &mut options.full_search_ms,
        section.integer("full_search_ms", millis.clone()),
    );
    set(
        &mut options.idle_search_ms,
        section.integer("idle_search_ms", millis),
    );
    set(
        &mut options.margin,
        section.number("margin", detect::SearchOptions::MARGIN),
    );
    set(
        &mut options.size_range,
        section.number("size_range", detect::SearchOptions::SIZE_RANGE),
    );
    set(
        &mut options.budget_ms,
        section.number("budget_ms", detect::SearchOptions::BUDGET_MS),
    );
    set(
        &mut options.work_per_ms,
        section.number("work_per_ms", detect::SearchOptions::WORK_PER_MS),
    );
    section.finish();
    options
}

fn track_section(mut section: Section<'_, '_>) -> track::Options {
    let mut options = track::Options::default();
    set(&mut options.policy, section.parsed("policy"));
    set(
        &mut options.lost_after,
        section.millis("lost_after_ms", 0..=HOUR_MS),
    );
    set(
        &mut options.confirm,
        section.integer("confirm", track::Options::CONFIRM),
    );
    set(
        &mut options.confirm_within,
        section.millis("confirm_within_ms", 0..=HOUR_MS),
    );
    set(
        &mut options.min_overlap,
        section.number("min_overlap", track::Options::MIN_OVERLAP),
    );
    section.finish();
    options
}

/// Its thresholds become options of the tracker.
fn face_section(mut section: Section<'_, '_>, track: &mut track::Options) -> FaceOptions {
    let probability = |p: f64| p as f32;
    set(
        &mut track.presence,
        section.number("presence", 0.0..=1.0).map(probability),
    );
    set(
        &mut track.presence_keep,
        section.number("presence_keep", 0.0..=1.0).map(probability),
    );
    if let Err(error) = track.validate() {
        section.reject(error);
    }
    let options = FaceOptions {
        model: model_choice(&mut section, "model"),
        eyes: model_choice(&mut section, "eyes"),
    };
    if options.model == ModelChoice::None && matches!(options.eyes, ModelChoice::File(_)) {
        section.reject_key(
            "eyes",
            "needs a face net, but model is \"none\": name one, or remove this key",
        );
    }
    section.finish();
    options
}

/// A model that can be switched off with `"none"`.
fn model_choice(section: &mut Section<'_, '_>, key: &str) -> ModelChoice {
    match section.string(key) {
        None => ModelChoice::Shipped,
        Some(found) if found.value == "none" => ModelChoice::None,
        Some(found) => ModelChoice::File(named_model_file(&found)),
    }
}

fn classify_section(section: Option<Section<'_, '_>>) -> ClassifyOptions {
    let Some(mut section) = section else {
        return ClassifyOptions {
            model: default_model_file(assets::DEFAULT_MODEL),
            interval: Duration::ZERO,
        };
    };
    let options = ClassifyOptions {
        model: model_file(&mut section, "model", assets::DEFAULT_MODEL),
        interval: section
            .millis("interval_ms", 0..=HOUR_MS)
            .unwrap_or_default(),
    };
    section.finish();
    options
}

fn decide_section(
    mut section: Section<'_, '_>,
    face: &FaceOptions,
) -> (decide::Options, decide::BaselineOptions) {
    let mut options = decide::Options::default();
    set(
        &mut options.time_constant,
        section.millis("time_constant_ms", 0..=HOUR_MS),
    );
    set(
        &mut options.enter,
        section.number("enter", 0.0..=1.0).map(|p| p as f32),
    );
    set(
        &mut options.leave,
        section.number("leave", 0.0..=1.0).map(|p| p as f32),
    );
    set(&mut options.dwell, section.millis("dwell_ms", 0..=HOUR_MS));
    if let Err(error) = options.validate() {
        section.reject(error);
    }
    let baseline = section
        .section("baseline")
        .map(|section| baseline_section(section, face))
        .unwrap_or_default();
    section.finish();
    (options, baseline)
}

fn baseline_section(mut section: Section<'_, '_>, face: &FaceOptions) -> decide::BaselineOptions {
    let mut options = decide::BaselineOptions::default();
    set(&mut options.mode, section.parsed("mode"));
    set(
        &mut options.strength,
        section
            .number("strength", decide::BaselineOptions::STRENGTH_RANGE)
            .map(|strength| strength as f32),
    );
    if options.mode != decide::baseline::Mode::Off && face.model == ModelChoice::None {
        section.reject_key(
            "mode",
            "needs a face net to find quiet frames, but face.model is \"none\": remove that \
             key, or set mode = \"off\"",
        );
    }
    section.finish();
    options
}

fn facing_section(mut section: Section<'_, '_>, face: &FaceOptions) -> decide::FacingOptions {
    let mut options = decide::FacingOptions::default();
    set(
        &mut options.cone,
        section
            .number("cone_deg", decide::FacingOptions::CONE_RANGE)
            .map(|cone| cone as f32),
    );
    set(&mut options.dwell, section.millis("dwell_ms", 0..=HOUR_MS));
    if face.model == ModelChoice::None {
        section.reject(
            "needs the pose that a face net measures, but face.model is \"none\": remove that key \
             or this section",
        );
    }
    section.finish();
    options
}

fn fatigue_section(mut section: Section<'_, '_>, face: &FaceOptions) -> FatigueOptions {
    type Rules = decide::fatigue::Options;
    let mut rules = Rules::default();
    set(&mut rules.watch, section.parsed("watch"));
    rules.region = section
        .numbers("region")
        .map(|found| found.value.map(|number| number as f32));
    set(
        &mut rules.keep_calibration,
        section
            .number("keep_calibration_s", Rules::KEEP_CALIBRATION_S)
            .map(Duration::from_secs_f64),
    );
    // The number as written, without the digits that the conversion from f32
    // adds.
    let widened = |bound: f32| bound.to_string().parse().unwrap_or(f64::from(bound));
    let drowsy = widened(*Rules::DROWSY.start())..=widened(*Rules::DROWSY.end());
    set(
        &mut rules.drowsy,
        section.number("drowsy", drowsy).map(|share| share as f32),
    );
    set(
        &mut rules.microsleep,
        section.millis("microsleep_ms", Rules::CLOSURE_MS),
    );
    set(
        &mut rules.asleep,
        section.millis("asleep_ms", Rules::CLOSURE_MS),
    );
    set(
        &mut rules.unresponsive,
        section.millis("unresponsive_ms", Rules::CLOSURE_MS),
    );
    if face.model == ModelChoice::None || face.eyes == ModelChoice::None {
        section.reject(
            "needs the face net and the eye net, but face.model or face.eyes is \"none\": remove that \
             key or this section",
        );
    }
    if let Err(error) = rules.validate() {
        // If the order is wrong, perhaps only the shorter time is in the file.
        let key = [error.key(), "microsleep_ms", "asleep_ms", "watch"]
            .into_iter()
            .find(|key| section.has(key));
        match key {
            Some(key) => section.reject_key(key, error),
            None => section.reject(error),
        }
    }
    let file = own_path(&mut section, "record");
    let max_bytes = section.integer(
        "record_max_bytes",
        record::Options::MAX_BYTES_LEAST..=1 << 40,
    );
    let record = file.map(|file| record::Options {
        file,
        max_bytes: max_bytes.unwrap_or(record::Options::MAX_BYTES),
        fatigue: rules,
    });
    if let Some(record) = &record {
        section.claim("record", Resource::File(record.old_file()));
    }
    section.finish();
    FatigueOptions { rules, record }
}

fn gpio_section(
    mut section: Section<'_, '_>,
    watches_eyes: bool,
    face: &FaceOptions,
) -> Option<gpio::Options> {
    let mut options = gpio::Options::default();
    let chip = section.string("chip").map(|found| found.value.to_owned());
    let chip_name = chip.clone().unwrap_or_default();
    let active_low = section.boolean("active_low").unwrap_or(false);
    let safe = section.parsed("safe").unwrap_or_default();
    set(
        &mut options.min_pulse,
        section.millis("min_pulse_ms", 0..=HOUR_MS),
    );
    set(
        &mut options.safe_after,
        section.millis("safe_after_ms", 50..=HOUR_MS),
    );
    if let Some(mut lines) = section.section("lines") {
        for role in gpio::Role::all() {
            let key = role.name();
            let safe = role.own_safe_level().unwrap_or(safe);
            if matches!(role, gpio::Role::Fatigue(_)) && !watches_eyes && lines.has(key) {
                lines.reject_key(key, "needs the section [fatigue], which watches the eyes");
            }
            let (id, active_low, safe) = if lines.is_section(key) {
                let Some(mut line) = lines.section(key) else {
                    continue;
                };
                let id = line_id(&mut line, "line", &chip_name);
                if id.is_none() && !line.has("line") {
                    line.missing("line", "the line's offset or name");
                }
                let active_low = line.boolean("active_low").unwrap_or(active_low);
                let safe = line.parsed("safe").unwrap_or(safe);
                line.finish();
                (id, active_low, safe)
            } else {
                (line_id(&mut lines, key, &chip_name), active_low, safe)
            };
            let Some(id) = id else {
                continue;
            };
            options.lines.push(gpio::LineOptions {
                role,
                line: id,
                active_low,
                safe,
                pattern: None,
            });
        }
        lines.finish();
    }
    if let Some(mut inputs) = section.section("inputs") {
        options.acknowledge = input(&mut inputs, "acknowledge", &chip_name);
        options.pause = input(&mut inputs, "pause", &chip_name);
        options.baseline = input(&mut inputs, "baseline", &chip_name);
        if options.baseline.is_some() && face.model == ModelChoice::None {
            inputs.reject_key(
                "baseline",
                "needs a face net to find quiet frames, but face.model is \"none\": remove that key \
                 or this one",
            );
        }
        inputs.finish();
    }
    if let Some(patterns) = section.section("patterns") {
        patterns_section(patterns, &mut options.lines);
    }
    match chip {
        Some(chip) => options.chip = chip,
        None if section.has("chip") => {}
        None => section.missing(
            "chip",
            "the chip's label or path; `affectd devices` lists the chips",
        ),
    }
    section.finish();
    Some(options)
}

/// A button: a line's offset or name, or a section with more keys.
fn input(section: &mut Section<'_, '_>, key: &str, chip: &str) -> Option<gpio::InputOptions> {
    if !section.is_section(key) {
        let line = line_id(section, key, chip)?;
        return Some(gpio::InputOptions {
            line,
            active_low: false,
        });
    }
    let mut input = section.section(key)?;
    let line = line_id(&mut input, "line", chip);
    if line.is_none() && !input.has("line") {
        input.missing("line", "the line's offset or name");
    }
    let active_low = input.boolean("active_low").unwrap_or(false);
    input.finish();
    line.map(|line| gpio::InputOptions { line, active_low })
}

/// Patterns of lines for states of fatigue.
fn patterns_section(mut section: Section<'_, '_>, lines: &mut [gpio::LineOptions]) {
    let roles = gpio::FatigueRole::ALL.into_iter();
    for role in roles.filter(|role| *role != gpio::FatigueRole::Ok) {
        let Some(mut pattern) = section.section(role.name()) else {
            continue;
        };
        let rise_after = pattern
            .number("rise_after_s", 0.1..=3600.0)
            .map(Duration::from_secs_f64);
        let lists = pattern.lists("ms");
        if lists.is_none() && !pattern.has("ms") {
            pattern.missing("ms", "lists of on and off times, such as [[200, 800]]");
        }
        if let Some(found) = lists {
            let times = |list: &Vec<u64>| list.iter().copied().map(Duration::from_millis).collect();
            let lists: Vec<Vec<Duration>> = found.value.iter().map(times).collect();
            match gpio::Pattern::new(lists, rise_after) {
                Ok(made) => {
                    let role = gpio::Role::Fatigue(role);
                    match lines.iter_mut().find(|line| line.role == role) {
                        Some(line) => line.pattern = Some(made),
                        None => found.reject(format_args!(
                            "there is no line for '{role}': add it to [gpio.lines]"
                        )),
                    }
                }
                Err(error) => found.reject(error),
            }
        }
        pattern.finish();
    }
    section.finish();
}

fn events_section(mut section: Section<'_, '_>) -> events::Options {
    let options = events::Options {
        stdout: section.boolean("stdout").unwrap_or(false),
        file: own_path(&mut section, "file"),
        max_bytes: section
            .integer("max_bytes", 0..=i64::MAX)
            .map(i64::unsigned_abs)
            .filter(|bytes| *bytes > 0),
        socket: own_path(&mut section, "socket"),
        period: section
            .millis("period_ms", 0..=HOUR_MS)
            .filter(|period| !period.is_zero()),
        landmarks: section.boolean("landmarks").unwrap_or(false),
        affect: section.boolean("affect").unwrap_or(false),
    };
    if let Some(old) = options.old_file() {
        section.claim("file", Resource::File(old));
    }
    if let Err(error) = options.validate() {
        let key = match error {
            events::Error::MaxBytes { .. } => "max_bytes",
            _ => "socket",
        };
        section.reject_key(key, error);
    }
    section.finish();
    options
}

fn thermal_section(mut section: Section<'_, '_>) -> thermal::Options {
    let zone = path(&mut section, "zone");
    let throttled = path(&mut section, "throttled");
    let limit = section.number("limit", 0.0..=150.0);
    section.finish();
    thermal::Options {
        // With only the firmware's file, no zone is read.
        zone: zone.or_else(|| throttled.is_none().then(|| thermal::Options::ZONE.into())),
        throttled,
        limit: limit.map_or(thermal::Options::LIMIT, |limit| limit as f32),
    }
}

fn watchdog_section(mut section: Section<'_, '_>) -> Option<watchdog::Options> {
    let device = own_path(&mut section, "device");
    if device.is_none() && !section.has("device") {
        section.missing("device", "the watchdog's device, such as \"/dev/watchdog\"");
    }
    section.finish();
    device.map(|device| watchdog::Options { device })
}

fn process_section(mut section: Section<'_, '_>) -> realtime::Options {
    let mut options = realtime::Options::default();
    set(
        &mut options.arena,
        section
            .integer("arena_kib", 0..=(memory::MOST >> 10) as u64)
            .map(|kib| (kib as usize) << 10),
    );
    set(&mut options.lock_memory, section.boolean("lock_memory"));
    options.realtime_priority = section
        .integer("realtime_priority", 0..=99)
        .filter(|priority| *priority > 0);
    section.finish();
    options
}

fn state_section(mut section: Section<'_, '_>) -> state::Options {
    let options = state::Options {
        directory: own_path(&mut section, "directory"),
    };
    section.finish();
    options
}

fn control_section(mut section: Section<'_, '_>) -> control::Options {
    let mut options = control::Options::default();
    set(&mut options.socket, own_path(&mut section, "socket"));
    if let Err(error) = options.validate() {
        section.reject_key("socket", error);
    }
    if let Some(found) = section.strings("allow") {
        for name in &found.value {
            match name.parse() {
                Ok(command) if options.allow.contains(&command) => {
                    found.reject(format_args!("names '{command}' twice"));
                }
                Ok(command) => options.allow.push(command),
                Err(error) => found.reject(error),
            }
        }
    }
    section.finish();
    options
}

fn metrics_section(mut section: Section<'_, '_>) -> metrics::FileOptions {
    let mut options = metrics::FileOptions::default();
    set(&mut options.file, own_path(&mut section, "file"));
    section.finish();
    options
}

fn http_section(mut section: Section<'_, '_>) -> metrics::HttpOptions {
    let mut options = metrics::HttpOptions::default();
    set(&mut options.socket, own_path(&mut section, "socket"));
    if let Err(error) = options.validate() {
        section.reject_key("socket", error);
    }
    section.finish();
    options
}

fn preview_section(mut section: Section<'_, '_>) -> preview::Options {
    let mut options = preview::Options {
        socket: own_path(&mut section, "socket"),
        token_file: path(&mut section, "token_file"),
        ..preview::Options::default()
    };
    if let Err(error) = options.validate() {
        section.reject_key("socket", error);
    }
    if let Some(found) = section.strings("hosts") {
        for host in &found.value {
            if !preview::is_host(host) {
                found.reject(format_args!(
                    "'{host}' is not the name or the address of a machine; write it without \
                     http:// and without a port"
                ));
            }
        }
        options.hosts = found.value;
    }
    set(
        &mut options.clients,
        section.integer("clients", preview::Options::CLIENTS),
    );
    set(
        &mut options.fps,
        section
            .number("fps", preview::Options::FPS)
            .map(|fps| fps as f32),
    );
    if options.socket.is_none() && options.token_file.is_none() && !section.has("socket") {
        section.missing(
            "socket",
            "name one, such as \"/run/affectd-preview/http.sock\", or a token_file for a socket \
             that the service manager passes",
        );
    }
    section.finish();
    options
}

/// A file of a model or cascade. A path starts from the directory of the file that
/// names it, or from the working directory if that is where the file is.
fn model_file(section: &mut Section<'_, '_>, key: &str, default: &str) -> PathBuf {
    section.string(key).map_or_else(
        || default_model_file(default),
        |found| named_model_file(&found),
    )
}

fn named_model_file(found: &Found<'_, '_, &str>) -> PathBuf {
    match assets::find(found.value) {
        Ok(path) if found.value.contains('/') => {
            let beside_board = found.folder().join(&path);
            if beside_board.exists() {
                beside_board
            } else {
                path
            }
        }
        Ok(path) => path,
        Err(error) => {
            found.reject(&error);
            PathBuf::from(found.value)
        }
    }
}

/// A missing default is an error only when it is opened: the board file does not
/// name it, and `affectd safe` needs no model.
fn default_model_file(name: &str) -> PathBuf {
    assets::find(name).unwrap_or_else(|_| PathBuf::from(name))
}

//! Prometheus's text format, version 0.0.4.

use std::fmt::{Display, Write as _};
use std::time::{Duration, Instant, SystemTime};

use crate::pipeline::stats::{Buckets, Stage};
use crate::report::CameraState;
use crate::snapshot::Snapshot;

/// The media type of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What every process has, under the names that all programs share. Not for the
/// file: node_exporter has metrics of its own by these names.
#[must_use]
pub fn process_text(snapshot: &Snapshot) -> String {
    let mut text = Text::default();
    text.gauge(
        "process_resident_memory_bytes",
        "Resident memory of the process.",
        snapshot.health.resident,
    );
    text.0
}

/// All metrics of affectd, as they are at this moment.
#[must_use]
pub fn text(snapshot: &Snapshot) -> String {
    text_at(snapshot, Instant::now(), SystemTime::now())
}

fn text_at(snapshot: &Snapshot, now: Instant, wall: SystemTime) -> String {
    let Snapshot {
        hello,
        health,
        figures,
        ..
    } = snapshot;
    let mut text = Text::default();

    text.family(
        "affectd_build_info",
        "gauge",
        "Which program and which model run, under which name.",
    );
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("model", &hello.model),
        ("board", &hello.name),
    ];
    text.sample("affectd_build_info", &labels, 1);
    text.family(
        "affectd_config_info",
        "gauge",
        "The hash of the settings in force.",
    );
    text.sample("affectd_config_info", &[("sha256", &hello.config)], 1);
    text.gauge(
        "affectd_start_time_seconds",
        "When the process started, in seconds since 1970.",
        unix_seconds(figures.started),
    );

    text.gauge(
        "affectd_camera_up",
        "1 while frames come, 0 while the camera is lost, starting or closed for a pause.",
        u8::from(health.camera == CameraState::Streaming),
    );
    text.gauge(
        "affectd_paused",
        "1 while the camera is closed on purpose.",
        u8::from(health.paused_by.is_any()),
    );
    text.counter(
        "affectd_camera_lost_total",
        "How often the camera was lost.",
        figures.camera_losses,
    );
    text.counter(
        "affectd_frames_total",
        "Frames that went through all stages.",
        health.frames,
    );
    text.family(
        "affectd_frames_dropped_total",
        "counter",
        "Frames that did not go through the stages: a newer one came first (busy), \
         damaged (broken), skipped as too dark (dark), skipped because the machine is too hot (hot).",
    );
    for (reason, count) in health.dropped.by_reason() {
        text.sample("affectd_frames_dropped_total", &[("reason", reason)], count);
    }
    let last_frame = figures.last_frame.and_then(|at| {
        let age = now.saturating_duration_since(at);
        wall.checked_sub(age)
    });
    text.gauge(
        "affectd_last_frame_timestamp_seconds",
        "When the last frame arrived, in seconds since 1970; 0 before the first one.",
        last_frame.map_or_else(|| "0".to_owned(), unix_seconds),
    );
    text.stages(figures.stages.iter());
    text.gauge("affectd_faces", "Faces in the last frame.", figures.faces);
    if let Some(share) = figures.valid_eyes {
        text.gauge(
            "affectd_fatigue_valid_ratio",
            "The share of the last minute in which the watched eyes could be measured, 0 to 1.",
            share,
        );
    }

    if let Some(celsius) = health.temperature {
        text.gauge(
            "affectd_temperature_celsius",
            "The temperature of the machine.",
            celsius,
        );
    }
    text.gauge(
        "affectd_hot",
        "1 while the machine is too hot and about every other frame is skipped.",
        u8::from(health.is_hot),
    );
    text.counter(
        "affectd_arena_overflows_total",
        "Allocations that the frame arena had no room for.",
        health.arena_overflows,
    );
    text.gauge(
        "affectd_resident_memory_bytes",
        "Resident memory of the process.",
        health.resident,
    );
    text.gauge(
        "affectd_last_reload_successful",
        "0 if the last reload of the board file failed, so that older settings are in force.",
        u8::from(health.reloads.error.is_none()),
    );
    text.family(
        "affectd_reloads_total",
        "counter",
        "Reloads of the board file.",
    );
    for (result, count) in [
        ("done", health.reloads.done),
        ("failed", health.reloads.failed),
    ] {
        text.sample("affectd_reloads_total", &[("result", result)], count);
    }
    text.counter(
        "affectd_restarts_total",
        "Restarts after a crash, a watchdog or a power cut, kept over restarts if there is a state directory.",
        health.restarts,
    );
    text.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            for c in text.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.line(format_args!(" {value}\n"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    /// The histograms of the stages.
    fn stages<'a>(&mut self, buckets: impl Iterator<Item = &'a Buckets>) {
        self.family(
            "affectd_stage_duration_seconds",
            "histogram",
            "How long each stage took: capture with the wait for the camera, observe for each face \
             and network, edge from the arrival of a frame to a change of a GPIO line, frame from \
             its arrival to the end of all reports.",
        );
        for (stage, buckets) in Stage::ALL.into_iter().zip(buckets) {
            let stage = stage.label();
            let mut sum = 0;
            for (bound, count) in Buckets::BOUNDS.into_iter().zip(buckets.counts) {
                sum += count;
                let bound = (f64::from(bound) / 1e3).to_string();
                self.sample(
                    "affectd_stage_duration_seconds_bucket",
                    &[("stage", stage), ("le", &bound)],
                    sum,
                );
            }
            self.sample(
                "affectd_stage_duration_seconds_bucket",
                &[("stage", stage), ("le", "+Inf")],
                buckets.count,
            );
            let labels = [("stage", stage)];
            self.sample(
                "affectd_stage_duration_seconds_sum",
                &labels,
                buckets.sum.as_secs_f64(),
            );
            self.sample(
                "affectd_stage_duration_seconds_count",
                &labels,
                buckets.count,
            );
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.0.write_fmt(line);
    }
}

/// Seconds since 1970, with three decimals.
fn unix_seconds(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    format!("{:.3}", since.unwrap_or(Duration::ZERO).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::health::{Dropped, Health, Reloads};
    use crate::output::events::Hello;
    use crate::snapshot::Figures;

    fn snapshot() -> Snapshot {
        let now = Instant::now();
        let mut figures = Figures {
            started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_500_250),
            last_frame: Some(now - Duration::from_millis(500)),
            camera_losses: 2,
            faces: 1,
            valid_eyes: Some(0.75),
            ..Figures::default()
        };
        figures.stages[Stage::Track as usize] = Buckets {
            counts: [3, 2, 0, 0, 1, 0, 0, 0],
            count: 7,
            sum: Duration::from_millis(2500),
        };
        Snapshot {
            hello: Arc::new(Hello {
                name: "K\u{fc}che \"1\"\\\n".to_owned(),
                model: "mobilenet".to_owned(),
                config: "abc".to_owned(),
                ..Hello::default()
            }),
            health: Health {
                camera: CameraState::Streaming,
                frames: 1000,
                dropped: Dropped {
                    busy: 5,
                    ..Dropped::default()
                },
                temperature: Some(54.5),
                resident: 12_000_000,
                reloads: Reloads {
                    done: 1,
                    failed: 1,
                    error: Some("x".into()),
                },
                restarts: 4,
                ..Health::default()
            },
            lost_reason: "".into(),
            figures,
            at: now,
        }
    }

    #[test]
    fn samples_have_the_values_of_the_snapshot() {
        let snapshot = snapshot();
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(2000);
        let text = text_at(&snapshot, snapshot.at, wall);
        for line in [
            "affectd_build_info{version=\"VERSION\",model=\"mobilenet\",board=\"K\u{fc}che \\\"1\\\"\\\\\\n\"} 1",
            "affectd_config_info{sha256=\"abc\"} 1",
            "affectd_start_time_seconds 1500.250",
            "affectd_camera_up 1",
            "affectd_paused 0",
            "affectd_camera_lost_total 2",
            "affectd_frames_total 1000",
            "affectd_frames_dropped_total{reason=\"busy\"} 5",
            "affectd_frames_dropped_total{reason=\"hot\"} 0",
            "affectd_last_frame_timestamp_seconds 1999.500",
            "affectd_stage_duration_seconds_bucket{stage=\"track\",le=\"0.001\"} 3",
            "affectd_stage_duration_seconds_bucket{stage=\"track\",le=\"0.01\"} 5",
            "affectd_stage_duration_seconds_bucket{stage=\"track\",le=\"1\"} 6",
            "affectd_stage_duration_seconds_bucket{stage=\"track\",le=\"+Inf\"} 7",
            "affectd_stage_duration_seconds_sum{stage=\"track\"} 2.5",
            "affectd_stage_duration_seconds_count{stage=\"track\"} 7",
            "affectd_faces 1",
            "affectd_fatigue_valid_ratio 0.75",
            "affectd_temperature_celsius 54.5",
            "affectd_hot 0",
            "affectd_arena_overflows_total 0",
            "affectd_resident_memory_bytes 12000000",
            "affectd_last_reload_successful 0",
            "affectd_reloads_total{result=\"failed\"} 1",
            "affectd_restarts_total 4",
        ] {
            let line = line.replace("VERSION", env!("CARGO_PKG_VERSION"));
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in {text}"
            );
        }
    }

    /// Every sample belongs to the family before it, and no family comes twice.
    #[test]
    fn families_are_complete() {
        let snapshot = snapshot();
        let text = text(&snapshot);
        let mut families = BTreeSet::new();
        let (mut family, mut kind) = (String::new(), String::new());
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["#", "HELP", name, ..] => {
                    assert!(families.insert(name.to_owned()), "{name} comes twice");
                    family = name.to_owned();
                }
                ["#", "TYPE", name, is] => {
                    assert_eq!(name, family);
                    kind = is.to_owned();
                    assert_eq!(kind == "counter", name.ends_with("_total"));
                }
                _ => {
                    let name = line.split(['{', ' ']).next().unwrap();
                    let base = ["_bucket", "_sum", "_count"]
                        .iter()
                        .find_map(|end| name.strip_suffix(end))
                        .filter(|_| kind == "histogram")
                        .unwrap_or(name);
                    assert_eq!(base, family, "{line}");
                    words.last().unwrap().parse::<f64>().unwrap();
                }
            }
        }
        assert!(families.len() >= 19, "{families:?}");
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let mut snapshot = snapshot();
        snapshot.health.temperature = None;
        snapshot.figures.valid_eyes = None;
        snapshot.figures.last_frame = None;
        let text = text(&snapshot);
        assert!(
            !text.contains("celsius") && !text.contains("valid_ratio"),
            "{text}"
        );
        assert!(
            text.contains("\naffectd_last_frame_timestamp_seconds 0\n"),
            "{text}"
        );
    }
}

//! The state machine against a scripted camera with its own clock, so that
//! hours of faults take no time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::*;

const BUFFERS: usize = 4;

/// An event of the script.
#[derive(Clone, Debug)]
enum Event {
    /// A frame with these bytes.
    Frame(Vec<u8>),
    /// A frame whose fields the test sets itself.
    Raw {
        used: usize,
        damaged: bool,
        sequence: u32,
        timestamp: Option<Timestamp>,
    },
    Unplug,
    /// A camera appears with this node.
    Plug(&'static str),
    /// Dequeuing fails from now on, until reopened.
    Fail(i32),
    /// Polling reports an error, but dequeuing gives no details.
    PollError,
    Interrupt,
}

#[derive(Default)]
struct World {
    now: Duration,
    script: VecDeque<(Duration, Event)>,
    /// The node of the present camera, if there is one.
    node: Option<&'static str>,
    /// Makes the next openings fail.
    refusals: VecDeque<Refusal>,
    layout: Option<Layout>,
    opened: Vec<Duration>,
    /// How long the driver takes to close and open the camera.
    opening_takes: Duration,
    /// When the running open call ends.
    answer_at: Option<Duration>,
    open_streams: usize,
    gone: bool,
    fail: Option<i32>,
    poll_error: bool,
    interrupt: bool,
    requeue_fails: bool,
    ready: VecDeque<Filled>,
    contents: Vec<Vec<u8>>,
    /// Which buffers the driver owns, and which of those are still empty.
    with_driver: [bool; BUFFERS],
    empty: VecDeque<usize>,
    taken: u32,
}

impl World {
    /// Lets time pass; stops early at an event that would end a waiting poll.
    fn pass(&mut self, until: Duration, waiting: bool) {
        while let Some(&(at, _)) = self.script.front() {
            if at > until {
                break;
            }
            self.now = self.now.max(at);
            let (_, event) = self.script.pop_front().unwrap();
            self.happen(event);
            if waiting && self.is_awake() {
                return;
            }
        }
        self.now = self.now.max(until);
    }

    fn is_awake(&self) -> bool {
        !self.ready.is_empty()
            || self.gone
            || self.fail.is_some()
            || self.poll_error
            || self.interrupt
    }

    fn happen(&mut self, event: Event) {
        let (bytes, used, damaged, sequence, timestamp) = match event {
            Event::Unplug => {
                self.node = None;
                self.gone = true;
                return;
            }
            Event::Plug(node) => {
                self.node = Some(node);
                return;
            }
            Event::Fail(errno) => {
                self.fail = Some(errno);
                return;
            }
            Event::PollError => {
                self.poll_error = true;
                return;
            }
            Event::Interrupt => {
                self.interrupt = true;
                return;
            }
            Event::Frame(bytes) => {
                let used = bytes.len();
                (bytes, used, false, self.taken, Some(Timestamp(self.now)))
            }
            Event::Raw {
                used,
                damaged,
                sequence,
                timestamp,
            } => (vec![1; used], used, damaged, sequence, timestamp),
        };
        self.taken += 1;
        if self.open_streams == 0 {
            return;
        }
        // A driver without an empty buffer drops the frame.
        let Some(index) = self.empty.pop_front() else {
            return;
        };
        self.contents[index] = bytes;
        self.ready.push_back(Filled {
            index,
            used,
            damaged,
            sequence,
            timestamp,
        });
    }
}

type Shared = Rc<RefCell<World>>;

struct Fake(Shared);

struct FakeStream {
    world: Shared,
    /// The contents of dequeued buffers.
    taken: [Vec<u8>; BUFFERS],
}

impl Fake {
    fn open(&mut self) -> Result<(FakeStream, Granted), Refusal> {
        let mut world = self.0.borrow_mut();
        let now = world.now;
        world.opened.push(now);
        if let Some(refusal) = world.refusals.pop_front() {
            return Err(refusal);
        }
        let Some(node) = world.node else {
            return Err(Refusal::NotYet("there is no such device".to_owned()));
        };
        assert_eq!(
            world.open_streams, 0,
            "closed completely before it is reopened"
        );
        world.open_streams = 1;
        world.gone = false;
        world.fail = None;
        world.poll_error = false;
        world.taken = 0;
        world.ready.clear();
        world.contents = vec![Vec::new(); BUFFERS];
        world.with_driver = [true; BUFFERS];
        world.empty = (0..BUFFERS).collect();
        let granted = Granted {
            device: node.to_owned(),
            layout: world.layout.unwrap(),
            fps: Some(30.0),
        };
        let stream = FakeStream {
            world: Rc::clone(&self.0),
            taken: Default::default(),
        };
        Ok((stream, granted))
    }
}

impl V4l2Backend for Fake {
    type Stream = FakeStream;

    fn begin_open(&mut self, _: bool) {
        let mut world = self.0.borrow_mut();
        assert!(world.answer_at.is_none(), "begun twice");
        world.answer_at = Some(world.now + world.opening_takes);
    }

    fn opened(&mut self, timeout: Duration) -> Option<Result<(FakeStream, Granted), Refusal>> {
        let mut world = self.0.borrow_mut();
        let answer_at = world.answer_at.expect("an opening that was begun");
        let until = answer_at.min(world.now + timeout).max(world.now);
        world.pass(until, false);
        if world.now < answer_at {
            return None;
        }
        world.answer_at = None;
        drop(world);
        Some(self.open())
    }

    fn begin_close(&mut self, stream: FakeStream) {
        drop(stream);
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.0.borrow().now)
    }

    fn sleep(&mut self, time: Duration) {
        let mut world = self.0.borrow_mut();
        let until = world.now + time;
        world.pass(until, false);
    }
}

impl Stream for FakeStream {
    fn wait(&mut self, timeout: Duration) -> io::Result<Ready> {
        let mut world = self.world.borrow_mut();
        if !world.is_awake() {
            let until = world.now + timeout;
            world.pass(until, true);
        }
        if std::mem::take(&mut world.interrupt) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(if world.gone || world.fail.is_some() || world.poll_error {
            Ready::Error
        } else if world.ready.is_empty() {
            Ready::Nothing
        } else {
            Ready::Data
        })
    }

    fn dequeue(&mut self) -> io::Result<Option<Filled>> {
        let mut world = self.world.borrow_mut();
        if world.gone {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        if let Some(errno) = world.fail {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let filled = world.ready.pop_front();
        if let Some(filled) = filled {
            world.with_driver[filled.index] = false;
            self.taken[filled.index].clone_from(&world.contents[filled.index]);
        }
        Ok(filled)
    }

    fn bytes(&self, filled: &Filled) -> &[u8] {
        let owned = self.world.borrow().with_driver[filled.index];
        assert!(!owned, "read while the driver owns it");
        &self.taken[filled.index]
    }

    fn requeue(&mut self, filled: Filled) -> io::Result<()> {
        let mut world = self.world.borrow_mut();
        assert!(!world.with_driver[filled.index], "queued twice: EINVAL");
        if world.requeue_fails {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        world.with_driver[filled.index] = true;
        world.empty.push_back(filled.index);
        Ok(())
    }
}

impl Drop for FakeStream {
    fn drop(&mut self) {
        self.world.borrow_mut().open_streams -= 1;
    }
}

const STALL: Duration = Duration::from_millis(1000);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn world(format: PixelFormat, node: Option<&'static str>, script: Vec<(u64, Event)>) -> Shared {
    Rc::new(RefCell::new(World {
        // Some time after boot.
        now: ms(10_000),
        node,
        layout: Some(Layout::packed(format, 2, 2)),
        script: script
            .into_iter()
            .map(|(at, event)| (ms(10_000 + at), event))
            .collect(),
        ..World::default()
    }))
}

fn open(world: &Shared) -> Result<Camera<Fake>, CaptureError> {
    let options = Options {
        stall_timeout: STALL,
        ..Options::default()
    };
    Camera::open(
        Fake(Rc::clone(world)),
        Target::Path("/dev/cam".into()),
        &options,
    )
}

/// A whole frame of 2x2 in GREY.
fn grey(value: u8) -> Event {
    Event::Frame(vec![value; 4])
}

fn grey_world(script: Vec<(u64, Event)>) -> Shared {
    world(PixelFormat::Grey, Some("video0"), script)
}

#[derive(Debug, PartialEq)]
enum Found {
    /// First pixel, milliseconds since the script's start, sequence.
    Frame(u8, u64, u64),
    Waiting,
    Lost(String),
}

fn next(camera: &mut Camera<Fake>, timeout: u64) -> Found {
    match camera.next(ms(timeout)) {
        Captured::Frame(f) => Found::Frame(
            f.luma.row(0)[0],
            f.timestamp.0.as_millis() as u64 - 10_000,
            f.sequence,
        ),
        Captured::Waiting => Found::Waiting,
        Captured::Lost { reason } => Found::Lost(reason.to_owned()),
        Captured::Skipped | Captured::Ended => panic!("no camera does this"),
    }
}

fn since_start(world: &Shared) -> u64 {
    world.borrow().now.as_millis() as u64 - 10_000
}

/// Calls `next` until there is a frame; returns what was found before it.
fn until_frame(camera: &mut Camera<Fake>, limit: usize) -> (Vec<Found>, Found) {
    let mut before = Vec::new();
    for _ in 0..limit {
        match next(camera, 100) {
            frame @ Found::Frame(..) => return (before, frame),
            other => before.push(other),
        }
    }
    panic!("no frame after {before:?}");
}

#[test]
fn the_newest_ready_frame_wins_and_the_others_are_counted() {
    let world = grey_world(vec![
        (10, grey(1)),
        (20, grey(2)),
        (30, grey(3)),
        (60, grey(4)),
    ]);
    let mut camera = open(&world).unwrap();
    world.borrow_mut().pass(ms(10_045), false);
    assert_eq!(next(&mut camera, 100), Found::Frame(3, 30, 3));
    assert_eq!(world.borrow().with_driver, [true; BUFFERS]);
    assert_eq!(next(&mut camera, 100), Found::Frame(4, 60, 4));
}

#[test]
fn a_wait_ends_at_its_timeout_and_uses_no_processor_time() {
    let world = grey_world(vec![(170, grey(1)), (180, grey(2))]);
    let mut camera = open(&world).unwrap();
    for round in 1..=3 {
        assert_eq!(next(&mut camera, 50), Found::Waiting);
        assert_eq!(since_start(&world), round * 50);
    }
    assert_eq!(next(&mut camera, 50), Found::Frame(1, 170, 1));
    assert_eq!(next(&mut camera, 0), Found::Waiting);
    assert_eq!(next(&mut camera, 50), Found::Frame(2, 180, 2));
}

#[test]
fn an_unplugged_camera_is_lost_at_once_and_back_soon_under_another_number() {
    let mut script = vec![
        (10, grey(1)),
        (50, Event::Unplug),
        (3010, Event::Plug("video2")),
    ];
    script.extend((0..60).map(|i| (3000 + i * 33, grey(7))));
    let world = grey_world(script);
    let mut camera = open(&world).unwrap();
    assert_eq!(next(&mut camera, 100), Found::Frame(1, 10, 1));
    assert!(camera.description().contains("video0"));
    assert_eq!(
        next(&mut camera, 1000),
        Found::Lost("it has been unplugged".into())
    );
    assert_eq!(since_start(&world), 50, "not after the time-out");
    let (before, frame) = until_frame(&mut camera, 60);
    assert!(
        before.iter().all(|f| matches!(f, Found::Lost(_))),
        "{before:?}"
    );
    let Found::Frame(7, at, _) = frame else {
        panic!("{frame:?}")
    };
    assert!(at < 3010 + 700, "back at {at}");
    assert!(camera.description().contains("video2"));
    // Not too many attempts, and at most 500 ms between two of them.
    let world = world.borrow();
    assert!(world.opened.len() < 12, "{:?}", world.opened);
    assert!(world.opened[1..].windows(2).all(|w| w[1] - w[0] <= ms(500)));
}

#[test]
fn a_lost_camera_does_not_make_the_caller_spin() {
    let world = grey_world(vec![(5, Event::Unplug)]);
    let mut camera = open(&world).unwrap();
    assert!(matches!(next(&mut camera, 50), Found::Lost(_)));
    for round in 1..40 {
        assert!(matches!(next(&mut camera, 50), Found::Lost(_)));
        assert_eq!(since_start(&world), 5 + round * 50);
    }
}

#[test]
fn a_stalled_camera_is_closed_and_opened_again() {
    let mut script = vec![(10, grey(1)), (40, grey(2))];
    // Reopening wakes it up.
    script.extend([(1500, grey(9)), (1533, grey(9))]);
    let world = grey_world(script);
    let mut camera = open(&world).unwrap();
    let (_, frame) = until_frame(&mut camera, 3);
    assert_eq!(frame, Found::Frame(1, 10, 1));
    assert_eq!(until_frame(&mut camera, 3).1, Found::Frame(2, 40, 2));
    let mut found = Found::Waiting;
    while found == Found::Waiting {
        found = next(&mut camera, 30);
    }
    assert_eq!(found, Found::Lost("no whole frame for 1.0 s".into()));
    assert_eq!(since_start(&world), 1040);
    assert_eq!(world.borrow().open_streams, 0);
    let (before, frame) = until_frame(&mut camera, 10);
    assert!(
        before.iter().all(|f| matches!(f, Found::Lost(_))),
        "{before:?}"
    );
    assert_eq!(frame, Found::Frame(9, 1500, 3));
    assert_eq!(world.borrow().opened.len(), 2);
}

#[test]
fn the_first_frame_may_take_longer_than_a_stall() {
    let world = grey_world(vec![(3000, grey(1))]);
    let mut camera = open(&world).unwrap();
    let (before, frame) = until_frame(&mut camera, 40);
    assert!(before.iter().all(|f| *f == Found::Waiting), "{before:?}");
    assert_eq!(frame, Found::Frame(1, 3000, 1));
    // But there is a limit.
    let world = grey_world(vec![]);
    let mut camera = open(&world).unwrap();
    assert!(matches!(next(&mut camera, 60_000), Found::Lost(_)));
    assert_eq!(since_start(&world), 5000);
}

#[test]
fn half_frames_and_marked_ones_are_dropped_and_counted() {
    let half = Event::Raw {
        used: 2,
        damaged: false,
        sequence: 1,
        timestamp: None,
    };
    let marked = Event::Raw {
        used: 4,
        damaged: true,
        sequence: 2,
        timestamp: None,
    };
    let world = grey_world(vec![(10, grey(1)), (20, half), (30, marked), (40, grey(2))]);
    let mut camera = open(&world).unwrap();
    assert_eq!(next(&mut camera, 100), Found::Frame(1, 10, 1));
    assert_eq!(next(&mut camera, 100), Found::Frame(2, 40, 4));
    assert_eq!(camera.broken.total(), 2);
    // A good frame is used even if a newer one is broken.
    let half = Event::Raw {
        used: 3,
        damaged: false,
        sequence: 5,
        timestamp: None,
    };
    world
        .borrow_mut()
        .script
        .extend([(ms(10_050), grey(3)), (ms(10_060), half)]);
    world.borrow_mut().pass(ms(10_070), false);
    assert_eq!(next(&mut camera, 100), Found::Frame(3, 50, 6));
}

#[test]
fn corrupt_jpegs_are_dropped_and_nothing_else_is_a_loss() {
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 95)
        .encode(&[50; 4], 2, 2, jpeg_encoder::ColorType::Luma)
        .unwrap();
    // Without its last byte of picture data.
    let cut = Event::Frame(jpeg[..jpeg.len() - 3].to_vec());
    let mut other_size = Vec::new();
    jpeg_encoder::Encoder::new(&mut other_size, 95)
        .encode(&[50; 9], 3, 3, jpeg_encoder::ColorType::Luma)
        .unwrap();
    // Cameras pad their JPEGs.
    let padded = [&jpeg[..], &[0; 9]].concat();
    let mut script = vec![
        (10, cut.clone()),
        (20, Event::Frame(vec![0xff, 0xd8])),
        (30, Event::Frame(other_size)),
        (40, Event::Frame(padded)),
    ];
    script.extend((0..60).map(|i| (50 + i * 30, cut.clone())));
    let world = world(PixelFormat::Mjpg, Some("video0"), script);
    let mut camera = open(&world).unwrap();
    assert_eq!(next(&mut camera, 100), Found::Frame(50, 40, 4));
    assert_eq!(camera.broken.total(), 3);
    // If only broken frames come for the stall timeout, the camera is opened
    // again.
    let mut found = Found::Waiting;
    while found == Found::Waiting {
        found = next(&mut camera, 100);
    }
    let Found::Lost(reason) = found else { panic!() };
    let start = "no whole frame for 1.0 s; 34 broken ones came, the last: the JPEG ends";
    assert!(reason.starts_with(start), "{reason}");
    assert_eq!(since_start(&world), 1040);
}

#[test]
fn absent_at_the_start_is_no_error() {
    let script = vec![
        (900, Event::Plug("video1")),
        (1300, grey(5)),
        (1400, grey(6)),
    ];
    let world = world(PixelFormat::Grey, None, script);
    let mut camera = open(&world).unwrap();
    assert_eq!(camera.description(), "/dev/cam");
    assert_eq!(
        next(&mut camera, 50),
        Found::Lost("there is no such device".into())
    );
    let (before, frame) = until_frame(&mut camera, 30);
    assert!(
        before.iter().all(|f| matches!(f, Found::Lost(_))),
        "{before:?}"
    );
    assert!(matches!(frame, Found::Frame(5 | 6, ..)));
}

#[test]
fn busy_at_the_start_is_no_error_either() {
    let world = grey_world((0..30).map(|i| (i * 33, grey(1))).collect());
    world
        .borrow_mut()
        .refusals
        .push_back(Refusal::NotYet("it is in use by another program".into()));
    let mut camera = open(&world).unwrap();
    assert_eq!(
        next(&mut camera, 0),
        Found::Lost("it is in use by another program".into())
    );
    until_frame(&mut camera, 5);
}

#[test]
fn wrong_settings_are_an_error_at_the_start_and_a_reason_later() {
    let never = || {
        Refusal::Never(CaptureError::NotOffered {
            device: "video0".into(),
            asked: "grey".into(),
            offered: "mjpg".into(),
        })
    };
    let world = grey_world(vec![(10, Event::Unplug), (20, Event::Plug("video0"))]);
    world.borrow_mut().refusals.push_back(never());
    assert!(matches!(open(&world), Err(CaptureError::NotOffered { .. })));

    let mut camera = open(&world).unwrap();
    assert!(matches!(next(&mut camera, 50), Found::Lost(_)));
    world.borrow_mut().refusals.push_back(never());
    let Found::Lost(reason) = next(&mut camera, 150) else {
        panic!()
    };
    assert!(reason.contains("does not offer grey"), "{reason}");
    world
        .borrow_mut()
        .script
        .extend((0..30).map(|i| (ms(10_200 + i * 33), grey(1))));
    until_frame(&mut camera, 10);
}

#[test]
fn a_driver_that_takes_long_to_open_is_waited_for_in_short_steps() {
    let mut script = vec![
        (10, grey(1)),
        (50, Event::Unplug),
        (60, Event::Plug("video0")),
    ];
    script.extend((0..600).map(|i| (100 + i * 33, grey(2))));
    let world = grey_world(script);
    let mut camera = open(&world).unwrap();
    assert_eq!(next(&mut camera, 100), Found::Frame(1, 10, 1));
    world.borrow_mut().opening_takes = ms(8000);
    assert_eq!(
        next(&mut camera, 100),
        Found::Lost("it has been unplugged".into())
    );
    let mut reasons = Vec::new();
    let back = loop {
        let before = since_start(&world);
        match next(&mut camera, 50) {
            Found::Frame(2, at, _) => break at,
            Found::Lost(reason) if !reasons.contains(&reason) => reasons.push(reason),
            Found::Lost(_) => {}
            other => panic!("{other:?}"),
        }
        assert!(since_start(&world) - before <= 50, "it kept the loop");
    };
    assert!((8000..8300).contains(&back), "{back}");
    assert_eq!(
        reasons,
        [
            "it has been unplugged",
            "its driver has not closed and opened it within 5 s"
        ]
    );
}

#[test]
fn a_driver_that_hangs_at_the_start_is_not_an_error() {
    let world = grey_world((0..100).map(|i| (i * 33, grey(1))).collect());
    world.borrow_mut().opening_takes = ms(2500);
    let mut camera = open(&world).unwrap();
    assert_eq!(since_start(&world), 2000);
    assert_eq!(
        next(&mut camera, 50),
        Found::Lost("it is still being opened".into())
    );
    until_frame(&mut camera, 20);
}

#[test]
fn every_error_of_the_driver_ends_in_close_and_reopen() {
    for event in [
        Event::Fail(libc::EIO),
        Event::Fail(libc::EINVAL),
        Event::PollError,
    ] {
        let mut script = vec![(10, grey(1)), (20, event.clone())];
        script.extend((0..30).map(|i| (30 + i * 33, grey(2))));
        let world = grey_world(script);
        let mut camera = open(&world).unwrap();
        assert_eq!(next(&mut camera, 100), Found::Frame(1, 10, 1));
        assert!(
            matches!(next(&mut camera, 100), Found::Lost(_)),
            "{event:?}"
        );
        assert_eq!(since_start(&world), 20, "{event:?}");
        assert!(matches!(
            until_frame(&mut camera, 10).1,
            Found::Frame(2, ..)
        ));
        assert_eq!(world.borrow().opened.len(), 2);
    }
    // A driver that refuses a buffer.
    let world = grey_world((0..30).map(|i| (10 + i * 33, grey(2))).collect());
    let mut camera = open(&world).unwrap();
    world.borrow_mut().requeue_fails = true;
    assert!(matches!(next(&mut camera, 100), Found::Lost(_)));
    world.borrow_mut().requeue_fails = false;
    until_frame(&mut camera, 10);
}

#[test]
fn a_signal_ends_the_wait() {
    let world = grey_world(vec![(20, Event::Interrupt), (30, grey(1))]);
    let mut camera = open(&world).unwrap();
    assert_eq!(next(&mut camera, 100), Found::Waiting);
    assert_eq!(since_start(&world), 20);
    assert_eq!(next(&mut camera, 100), Found::Frame(1, 30, 1));
}

#[test]
fn the_drivers_count_includes_frames_that_it_dropped() {
    let raw = |sequence| Event::Raw {
        used: 4,
        damaged: false,
        sequence,
        timestamp: None,
    };
    let world = grey_world(vec![
        (10, raw(100)),
        (20, raw(101)),
        (30, raw(105)),
        // A count that starts again, and a driver that does not count.
        (40, raw(0)),
        (50, raw(0)),
    ]);
    let mut camera = open(&world).unwrap();
    let sequences: Vec<_> = (0..5)
        .map(|_| match next(&mut camera, 100) {
            Found::Frame(_, _, sequence) => sequence,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sequences, [1, 2, 6, 7, 8]);
    assert_eq!(advance(&mut Some(u32::MAX), 0), 1);
}

#[test]
fn timestamps_of_another_clock_are_replaced_and_time_never_goes_back() {
    let at = |millis: u64| Some(Timestamp(ms(millis)));
    let raw = |timestamp| Event::Raw {
        used: 4,
        damaged: false,
        sequence: 0,
        timestamp,
    };
    let world = grey_world(vec![
        (10, raw(at(10_008))),
        // Wall-clock time, and no time.
        (20, raw(at(1_700_000_000_000))),
        (30, raw(at(0))),
        (40, raw(None)),
        // Jitter.
        (50, raw(at(10_038))),
        (60, raw(at(10_058))),
    ]);
    let mut camera = open(&world).unwrap();
    let times: Vec<_> = (0..6)
        .map(|_| match next(&mut camera, 100) {
            Found::Frame(_, time, _) => time,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(times, [8, 20, 30, 40, 40, 58]);
}

#[test]
fn frames_from_before_a_long_absence_are_not_shown() {
    let world = grey_world((0..200).map(|i| (i * 33, grey((i % 250) as u8))).collect());
    let mut camera = open(&world).unwrap();
    next(&mut camera, 100);
    // The process is stopped for three seconds; the driver's buffers have only
    // old frames.
    world.borrow_mut().pass(ms(13_000), false);
    let Found::Frame(_, time, _) = next(&mut camera, 100) else {
        panic!()
    };
    assert!(time >= 3000, "{time}");
}

#[test]
fn a_thousand_cycles_leave_nothing_open() {
    let mut script = Vec::new();
    for cycle in 0..1000 {
        let start = cycle * 1000;
        script.push((start, Event::Plug("video0")));
        script.extend((0..12).map(|i| (start + 100 + i * 33, grey(1))));
        script.push((start + 700, Event::Unplug));
    }
    let world = world(PixelFormat::Grey, None, script);
    let mut camera = open(&world).unwrap();
    let (mut losses, mut frames, mut there) = (0, 0, false);
    while since_start(&world) < 1_000_000 {
        match next(&mut camera, 100) {
            Found::Frame(..) => {
                frames += 1;
                there = true;
            }
            Found::Lost(_) => {
                losses += u32::from(there);
                there = false;
                assert_eq!(
                    world.borrow().open_streams.min(1),
                    world.borrow().open_streams
                );
            }
            Found::Waiting => {}
        }
    }
    assert_eq!(losses, 1000);
    assert!(frames >= 1000);
    drop(camera);
    assert_eq!(world.borrow().open_streams, 0);
}

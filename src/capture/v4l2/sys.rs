//! The V4L2 requests, safe to call.
//!
//! All unsafe code for talking to a driver is in this file: ioctl on the
//! kernel's structures, mapping its buffers, and reading the unions in the
//! structures. Calls go through libc's `ioctl`, `mmap` and `close`, so that
//! `libcamerify` (libcamera's preloaded V4L2 layer) can replace a driver.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use v4l::v4l_sys::{
    v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE as VIDEO_CAPTURE, v4l2_buffer, v4l2_capability,
    v4l2_captureparm, v4l2_control, v4l2_fmtdesc, v4l2_format, v4l2_fract, v4l2_frmivalenum,
    v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_DISCRETE as INTERVAL_DISCRETE, v4l2_frmsizeenum,
    v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE as SIZE_DISCRETE,
    v4l2_memory_V4L2_MEMORY_MMAP as MEMORY_MMAP, v4l2_pix_format, v4l2_query_ext_ctrl,
    v4l2_querymenu, v4l2_requestbuffers, v4l2_streamparm,
};
use v4l::v4l2::vidioc;

/// A structure of the V4L2 interface.
///
/// # Safety
/// The type consists only of integers (and unions and raw pointers): all-zero
/// bytes and any bytes that a driver writes are valid values.
unsafe trait Plain: Copy {}

// SAFETY: each is a `repr(C)` structure that bindgen generated from
// videodev2.h. It consists of integers, arrays of them, and unions of these and
// raw pointers. The pointers are never followed here.
unsafe impl Plain for v4l2_capability {}
// SAFETY: as above.
unsafe impl Plain for v4l2_fmtdesc {}
// SAFETY: as above.
unsafe impl Plain for v4l2_frmsizeenum {}
// SAFETY: as above.
unsafe impl Plain for v4l2_frmivalenum {}
// SAFETY: as above.
unsafe impl Plain for v4l2_format {}
// SAFETY: as above.
unsafe impl Plain for v4l2_streamparm {}
// SAFETY: as above.
unsafe impl Plain for v4l2_query_ext_ctrl {}
// SAFETY: as above.
unsafe impl Plain for v4l2_querymenu {}
// SAFETY: as above.
unsafe impl Plain for v4l2_control {}
// SAFETY: as above.
unsafe impl Plain for v4l2_requestbuffers {}
// SAFETY: as above.
unsafe impl Plain for v4l2_buffer {}
// SAFETY: an integer.
unsafe impl Plain for libc::c_int {}

fn zeroed<T: Plain>() -> T {
    // SAFETY: `Plain` promises that zeros are a valid value.
    unsafe { std::mem::zeroed() }
}

/// The number of an ioctl, with the type of its structure.
struct Request<T> {
    number: vidioc::_IOC_TYPE,
    argument: PhantomData<T>,
}

impl<T> Request<T> {
    const fn new(number: vidioc::_IOC_TYPE) -> Self {
        // The number of a request contains the size of its structure.
        assert!((number >> 16) as usize & 0x3fff == size_of::<T>());
        Self {
            number,
            argument: PhantomData,
        }
    }
}

const QUERYCAP: Request<v4l2_capability> = Request::new(vidioc::VIDIOC_QUERYCAP);
const ENUM_FMT: Request<v4l2_fmtdesc> = Request::new(vidioc::VIDIOC_ENUM_FMT);
const ENUM_FRAMESIZES: Request<v4l2_frmsizeenum> = Request::new(vidioc::VIDIOC_ENUM_FRAMESIZES);
const ENUM_FRAMEINTERVALS: Request<v4l2_frmivalenum> =
    Request::new(vidioc::VIDIOC_ENUM_FRAMEINTERVALS);
const S_FMT: Request<v4l2_format> = Request::new(vidioc::VIDIOC_S_FMT);
const G_PARM: Request<v4l2_streamparm> = Request::new(vidioc::VIDIOC_G_PARM);
const S_PARM: Request<v4l2_streamparm> = Request::new(vidioc::VIDIOC_S_PARM);
const QUERY_EXT_CTRL: Request<v4l2_query_ext_ctrl> = Request::new(vidioc::VIDIOC_QUERY_EXT_CTRL);
const QUERYMENU: Request<v4l2_querymenu> = Request::new(vidioc::VIDIOC_QUERYMENU);
const G_CTRL: Request<v4l2_control> = Request::new(vidioc::VIDIOC_G_CTRL);
const S_CTRL: Request<v4l2_control> = Request::new(vidioc::VIDIOC_S_CTRL);
const REQBUFS: Request<v4l2_requestbuffers> = Request::new(vidioc::VIDIOC_REQBUFS);
const QUERYBUF: Request<v4l2_buffer> = Request::new(vidioc::VIDIOC_QUERYBUF);
const QBUF: Request<v4l2_buffer> = Request::new(vidioc::VIDIOC_QBUF);
const DQBUF: Request<v4l2_buffer> = Request::new(vidioc::VIDIOC_DQBUF);
const STREAMON: Request<libc::c_int> = Request::new(vidioc::VIDIOC_STREAMON);
const STREAMOFF: Request<libc::c_int> = Request::new(vidioc::VIDIOC_STREAMOFF);

fn call<T: Plain>(fd: BorrowedFd<'_>, request: &Request<T>, argument: &mut T) -> io::Result<()> {
    loop {
        // SAFETY: `argument` is a live structure of the size in the request's
        // number (checked in `Request::new`), and the kernel reads and writes
        // no more than that; it is `Plain`, so any bytes that the kernel writes
        // are valid. No request here makes the kernel follow a pointer in it:
        // buffers are memory-mapped, controls are integers.
        let result =
            unsafe { libc::ioctl(fd.as_raw_fd(), request.number, std::ptr::from_mut(argument)) };
        if result >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

pub fn capability(fd: BorrowedFd<'_>) -> io::Result<v4l2_capability> {
    let mut capability = zeroed();
    call(fd, &QUERYCAP, &mut capability)?;
    Ok(capability)
}

pub fn format_description(fd: BorrowedFd<'_>, index: u32) -> io::Result<v4l2_fmtdesc> {
    let mut description = v4l2_fmtdesc {
        index,
        type_: VIDEO_CAPTURE,
        ..zeroed()
    };
    call(fd, &ENUM_FMT, &mut description)?;
    Ok(description)
}

/// Smallest, largest and step, each as width and height; one size has no step.
pub struct SizeRange {
    pub min: (u32, u32),
    pub max: (u32, u32),
    pub step: (u32, u32),
}

pub fn frame_size(fd: BorrowedFd<'_>, fourcc: u32, index: u32) -> io::Result<SizeRange> {
    let mut size = v4l2_frmsizeenum {
        index,
        pixel_format: fourcc,
        ..zeroed()
    };
    call(fd, &ENUM_FRAMESIZES, &mut size)?;
    if size.type_ == SIZE_DISCRETE {
        // SAFETY: the type says that this is the field in use; both fields
        // consist of integers anyway.
        let one = unsafe { size.__bindgen_anon_1.discrete };
        let one = (one.width, one.height);
        return Ok(SizeRange {
            min: one,
            max: one,
            step: (0, 0),
        });
    }
    // SAFETY: as above.
    let range = unsafe { size.__bindgen_anon_1.stepwise };
    Ok(SizeRange {
        min: (range.min_width, range.min_height),
        max: (range.max_width, range.max_height),
        step: (range.step_width, range.step_height),
    })
}

/// The time between frames: one, or a range from the shortest to the longest.
pub enum Interval {
    One(v4l2_fract),
    Range(v4l2_fract, v4l2_fract),
}

pub fn frame_interval(
    fd: BorrowedFd<'_>,
    fourcc: u32,
    (width, height): (u32, u32),
    index: u32,
) -> io::Result<Interval> {
    let mut interval = v4l2_frmivalenum {
        index,
        pixel_format: fourcc,
        width,
        height,
        ..zeroed()
    };
    call(fd, &ENUM_FRAMEINTERVALS, &mut interval)?;
    if interval.type_ == INTERVAL_DISCRETE {
        // SAFETY: the type says that this is the field in use; both fields
        // consist of integers anyway.
        return Ok(Interval::One(unsafe { interval.__bindgen_anon_1.discrete }));
    }
    // SAFETY: as above.
    let range = unsafe { interval.__bindgen_anon_1.stepwise };
    Ok(Interval::Range(range.min, range.max))
}

/// A format whose fields are all 0, for tests.
#[cfg(test)]
pub fn no_format() -> v4l2_pix_format {
    let format: v4l2_format = zeroed();
    // SAFETY: all fields of the union are plain, and it is zeroed.
    unsafe { format.fmt.pix }
}

/// Requests a format and returns the one that the driver set.
pub fn set_format(
    fd: BorrowedFd<'_>,
    fourcc: u32,
    (width, height): (u32, u32),
) -> io::Result<v4l2_pix_format> {
    let mut format: v4l2_format = zeroed();
    format.type_ = VIDEO_CAPTURE;
    // SAFETY: all fields of the union are plain, and it is zeroed.
    let mut pix = unsafe { format.fmt.pix };
    pix.width = width;
    pix.height = height;
    pix.pixelformat = fourcc;
    format.fmt.pix = pix;
    call(fd, &S_FMT, &mut format)?;
    // SAFETY: for this buffer type the driver fills in `pix`.
    Ok(unsafe { format.fmt.pix })
}

pub fn frame_rate(fd: BorrowedFd<'_>) -> io::Result<v4l2_captureparm> {
    let mut parameters: v4l2_streamparm = zeroed();
    parameters.type_ = VIDEO_CAPTURE;
    call(fd, &G_PARM, &mut parameters)?;
    // SAFETY: for this buffer type the driver fills in `capture`.
    Ok(unsafe { parameters.parm.capture })
}

pub fn set_frame_rate(fd: BorrowedFd<'_>, interval: v4l2_fract) -> io::Result<v4l2_captureparm> {
    let mut parameters: v4l2_streamparm = zeroed();
    parameters.type_ = VIDEO_CAPTURE;
    parameters.parm.capture.timeperframe = interval;
    call(fd, &S_PARM, &mut parameters)?;
    // SAFETY: for this buffer type the driver fills in `capture`.
    Ok(unsafe { parameters.parm.capture })
}

/// The next control after this id, without compound controls.
pub fn control_after(fd: BorrowedFd<'_>, id: u32) -> io::Result<v4l2_query_ext_ctrl> {
    let mut control = v4l2_query_ext_ctrl {
        id: id | v4l::v4l_sys::V4L2_CTRL_FLAG_NEXT_CTRL,
        ..zeroed()
    };
    call(fd, &QUERY_EXT_CTRL, &mut control)?;
    Ok(control)
}

/// One entry of a menu: its name, or its number for menus of numbers.
pub fn menu_entry(fd: BorrowedFd<'_>, id: u32, index: u32) -> io::Result<v4l2_querymenu> {
    let mut entry = v4l2_querymenu {
        id,
        index,
        ..zeroed()
    };
    call(fd, &QUERYMENU, &mut entry)?;
    Ok(entry)
}

/// The bytes of a menu entry's name.
pub fn menu_name(entry: &v4l2_querymenu) -> [u8; 32] {
    // SAFETY: both fields of the union are integers; for a number, `zeroed` set
    // the other bytes.
    unsafe { entry.__bindgen_anon_1.name }
}

pub fn control(fd: BorrowedFd<'_>, id: u32) -> io::Result<i32> {
    let mut control = v4l2_control { id, value: 0 };
    call(fd, &G_CTRL, &mut control)?;
    Ok(control.value)
}

pub fn set_control(fd: BorrowedFd<'_>, id: u32, value: i32) -> io::Result<()> {
    let mut control = v4l2_control { id, value };
    call(fd, &S_CTRL, &mut control)
}

/// A device's mapped buffers. At any time each belongs to this process or to
/// the driver.
///
/// The driver writes into its buffers, so the bytes of a buffer can be read
/// only after it was dequeued. Fields are dropped in this order: the buffers
/// are unmapped before the device is closed, which frees them.
pub struct Buffers {
    slots: Vec<Slot>,
    device: File,
}

struct Slot {
    mapping: Mapping,
    /// True if the driver does not have the buffer.
    ours: bool,
}

impl Buffers {
    /// Requests `count` buffers and maps as many as the driver gives.
    pub fn map(device: File, count: u32) -> io::Result<Self> {
        let mut request = v4l2_requestbuffers {
            count,
            type_: VIDEO_CAPTURE,
            memory: MEMORY_MMAP,
            ..zeroed()
        };
        call(device.as_fd(), &REQBUFS, &mut request)?;
        let mut slots = Vec::with_capacity(request.count as usize);
        for index in 0..request.count {
            slots.push(Slot {
                mapping: Mapping::new(device.as_fd(), index)?,
                ours: true,
            });
        }
        Ok(Self { slots, device })
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn device(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    /// Gives a buffer to the driver.
    pub fn queue(&mut self, index: usize) -> io::Result<()> {
        let slot = self
            .slots
            .get_mut(index)
            .ok_or(io::ErrorKind::InvalidInput)?;
        // Set before the call: if the call fails, the buffer can no longer be
        // read, which is safe.
        slot.ours = false;
        call(self.device.as_fd(), &QBUF, &mut described(index as u32))
    }

    /// The oldest filled buffer; `WouldBlock` if there is none.
    pub fn dequeue(&mut self) -> io::Result<v4l2_buffer> {
        let mut filled = described(0);
        call(self.device.as_fd(), &DQBUF, &mut filled)?;
        let slot = self.slots.get_mut(filled.index as usize).ok_or_else(|| {
            io::Error::other(format!(
                "the driver returned buffer {}, which does not exist",
                filled.index
            ))
        })?;
        slot.ours = true;
        Ok(filled)
    }

    /// The bytes of a dequeued buffer; empty for a buffer that the driver has.
    pub fn bytes(&self, index: usize) -> &[u8] {
        match self.slots.get(index) {
            Some(Slot {
                mapping,
                ours: true,
            }) => {
                // SAFETY: the mapping lasts as long as `self`. The driver gave
                // the buffer back, and takes it again only in `queue`, which
                // needs `self` unborrowed.
                unsafe { std::slice::from_raw_parts(mapping.start.as_ptr(), mapping.len) }
            }
            _ => &[],
        }
    }

    pub fn start(&self) -> io::Result<()> {
        let mut kind = VIDEO_CAPTURE as libc::c_int;
        call(self.device.as_fd(), &STREAMON, &mut kind)
    }

    pub fn stop(&self) -> io::Result<()> {
        let mut kind = VIDEO_CAPTURE as libc::c_int;
        call(self.device.as_fd(), &STREAMOFF, &mut kind)
    }
}

fn described(index: u32) -> v4l2_buffer {
    v4l2_buffer {
        index,
        type_: VIDEO_CAPTURE,
        memory: MEMORY_MMAP,
        ..zeroed()
    }
}

/// One of the driver's buffers, mapped until it is dropped.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the pointer is to memory of this process, which every thread may read
// and unmap; a mapping has one owner.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, index: u32) -> io::Result<Self> {
        let mut buffer = described(index);
        call(fd, &QUERYBUF, &mut buffer)?;
        let len = buffer.length as usize;
        // SAFETY: for memory-mapped buffers the driver fills in `offset`; all
        // fields of the union are plain.
        let offset = unsafe { buffer.m.offset };
        // SAFETY: a new mapping, placed by the kernel, cannot overlap memory
        // that is in use.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                // An opaque value of the driver, which fits into `off_t`.
                offset as libc::off_t,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(start.cast())
            .map(|start| Self { start, len })
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new` with this length, and nothing
        // borrows from it any more.
        let result = unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
        if result != 0 {
            log::debug!("munmap: {}", io::Error::last_os_error());
        }
    }
}

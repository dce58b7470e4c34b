//! USB/IP, the protocol between the kernel's virtual host controller (vhci-hcd)
//! and the device: Documentation/usb/usbip_protocol. All numbers are
//! big-endian, each message begins with 48 bytes.

use std::io::{self, Read, Write};

const SUBMIT: u32 = 1;
const UNLINK: u32 = 2;
const RETURN_SUBMIT: u32 = 3;
const RETURN_UNLINK: u32 = 4;
const HEAD: usize = 48;

/// A request of the host to the device.
pub enum Request {
    /// Of endpoint 0.
    Control(Transfer, Setup, Vec<u8>),
    /// Of another endpoint, towards the host.
    Bulk(Transfer),
    /// The host cancels an earlier transfer.
    Unlink { seq: u32, wanted: u32 },
}

/// A transfer that waits for its answer.
#[derive(Clone, Copy)]
pub struct Transfer {
    pub seq: u32,
    pub length: usize,
    pub to_host: bool,
}

/// The eight bytes that begin a control transfer. Little-endian, as on the wire.
#[derive(Clone, Copy)]
pub struct Setup {
    pub kind: u8,
    pub request: u8,
    pub value: u16,
    pub index: u16,
    pub length: u16,
}

/// Reads the next request; an error when the host is gone.
pub fn receive(mut from: impl Read) -> io::Result<Request> {
    let mut head = [0; HEAD];
    from.read_exact(&mut head)?;
    let word = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let seq = word(4);
    match word(0) {
        SUBMIT => {}
        UNLINK => {
            return Ok(Request::Unlink {
                seq,
                wanted: word(20),
            });
        }
        other => return Err(io::Error::other(format!("USB/IP command {other}"))),
    }
    let transfer = Transfer {
        seq,
        length: word(24) as usize,
        to_host: word(12) == 1,
    };
    if word(16) != 0 {
        return Ok(Request::Bulk(transfer));
    }
    let short = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let setup = Setup {
        kind: head[40],
        request: head[41],
        value: short(42),
        index: short(44),
        length: short(46),
    };
    let mut data = Vec::new();
    if !transfer.to_host {
        data.resize(transfer.length, 0);
        from.read_exact(&mut data)?;
    }
    Ok(Request::Control(transfer, setup, data))
}

/// Answers a transfer with data, or with an error number of the kernel.
pub fn answer(to: impl Write, transfer: Transfer, result: Result<&[u8], i32>) -> io::Result<()> {
    let (status, data) = match result {
        Ok(data) => (0, &data[..data.len().min(transfer.length)]),
        Err(errno) => (-errno, &[][..]),
    };
    // To the device, all bytes are taken.
    let actual = match (transfer.to_host, status) {
        (true, _) => data.len(),
        (false, 0) => transfer.length,
        (false, _) => 0,
    };
    let sent = if transfer.to_host { data } else { &[] };
    send(to, RETURN_SUBMIT, transfer.seq, status, actual, sent)
}

/// Answers an unlink: whether the transfer was still waiting.
pub fn answer_unlink(to: impl Write, seq: u32, was_waiting: bool) -> io::Result<()> {
    let status = if was_waiting { -libc::ECONNRESET } else { 0 };
    send(to, RETURN_UNLINK, seq, status, 0, &[])
}

fn send(
    mut to: impl Write,
    command: u32,
    seq: u32,
    status: i32,
    actual: usize,
    data: &[u8],
) -> io::Result<()> {
    let mut message = Vec::with_capacity(HEAD + data.len());
    message.resize(HEAD, 0);
    let mut put = |at: usize, word: u32| message[at..at + 4].copy_from_slice(&word.to_be_bytes());
    put(0, command);
    put(4, seq);
    put(20, status as u32);
    put(24, actual as u32);
    if command == RETURN_SUBMIT {
        // Number of packets: not isochronous.
        put(32, u32::MAX);
    }
    message.extend_from_slice(data);
    to.write_all(&message)
}

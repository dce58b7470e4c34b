//! Decodes scans to planes of samples: sequential and progressive JPEG with
//! Huffman codes and 8 bits per sample (ITU T.81, annexes F and G).
//!
//! It decodes any valid order of scans and any sampling factors. The result is
//! the complete picture or an error: every scan must contain exactly its
//! blocks, every restart marker must be the expected one, and a progressive
//! picture must be complete to its last bit. Only a few bytes after the last
//! block are skipped, because some cameras leave them there.

use std::ops::RangeInclusive;

use super::bits::{Bits, Table};
use super::idct::{self, ZIGZAG};
use super::standard;
use super::syntax::{KIND, whole_number};
use crate::image::Fault;

/// How many bytes may be between the last block and the end marker. Cameras pad
/// to a multiple of a few bytes.
const PADDING: usize = 16;

/// No encoder writes larger coefficients: 8-bit samples give up to 1,024, and
/// rounding to a coarse step at most doubles this.
const LARGEST: i32 = 2048;

/// The largest number of blocks in a unit of an interleaved scan (T.81, B.2.3).
const UNIT_BLOCKS: usize = 10;

pub(super) const MAX_COMPONENTS: usize = 4;

/// How components become colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    Gray,
    YCbCr,
    Rgb,
    /// Stored inverted, as Adobe's programs do.
    Cmyk,
    /// YCbCr of inverted CMY, and black.
    Ycck,
}

/// A component of the picture.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Component {
    id: u8,
    /// Sampling factors.
    pub across: usize,
    pub down: usize,
    /// Size in samples.
    pub width: usize,
    pub height: usize,
    /// Number of its quantization table.
    quantizer: u8,
    /// In a sequential picture: its scan was decoded.
    sent: bool,
}

impl Component {
    /// The sample that belongs to a pixel.
    pub(super) const fn sample_at(&self, frame: &Frame, x: usize, y: usize) -> (usize, usize) {
        (x * self.across / frame.across, y * self.down / frame.down)
    }

    /// Blocks across and down in a scan of its own.
    const fn blocks(&self) -> (usize, usize) {
        (self.width.div_ceil(8), self.height.div_ceil(8))
    }
}

/// The contents of the frame header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub width: usize,
    pub height: usize,
    progressive: bool,
    components: [Component; MAX_COMPONENTS],
    count: usize,
    /// The largest sampling factors.
    across: usize,
    down: usize,
}

impl Frame {
    pub(super) fn components(&self) -> &[Component] {
        &self.components[..self.count]
    }

    /// Units of an interleaved scan, across and down.
    const fn units(&self) -> (usize, usize) {
        (
            self.width.div_ceil(8 * self.across),
            self.height.div_ceil(8 * self.down),
        )
    }

    fn parse(marker: u8, segment: &[u8]) -> Result<Self, Fault> {
        let reason = match marker {
            0xc0..=0xc2 => None,
            0xc3 => Some("lossless coding"),
            0xc9..=0xcb => Some("arithmetic coding instead of Huffman codes"),
            _ => Some("hierarchical coding"),
        };
        if let Some(reason) = reason {
            return Err(unsupported(reason));
        }
        let [precision, _, _, _, _, count, parts @ ..] = segment else {
            return Err(damaged("its frame header is too short"));
        };
        if *precision != 8 {
            return Err(unsupported(format!("samples of {precision} bits")));
        }
        let (parts, rest) = parts.as_chunks::<3>();
        if parts.len() != usize::from(*count) || !rest.is_empty() {
            return Err(damaged("its frame header has a wrong length"));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(unsupported(format!("{count} colour components")));
        }
        let mut frame = Self {
            height: usize::from(whole_number(&segment[1..])),
            width: usize::from(whole_number(&segment[3..])),
            progressive: marker == 0xc2,
            components: [Component::default(); MAX_COMPONENTS],
            count: parts.len(),
            across: 1,
            down: 1,
        };
        for (place, &[id, sampling, quantizer]) in parts.iter().enumerate() {
            let (across, down) = (usize::from(sampling >> 4), usize::from(sampling & 15));
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
                return Err(damaged("a sampling factor is not 1 to 4"));
            }
            if quantizer > 3 {
                return Err(damaged("the number of a quantization table is not 0 to 3"));
            }
            if frame.components().iter().take(place).any(|c| c.id == id) {
                return Err(damaged("two of its components have the same number"));
            }
            // The factors of a single component have no meaning.
            let (across, down) = if *count == 1 { (1, 1) } else { (across, down) };
            frame.across = frame.across.max(across);
            frame.down = frame.down.max(down);
            frame.components[place] = Component {
                id,
                across,
                down,
                quantizer,
                ..Component::default()
            };
        }
        for component in &mut frame.components[..parts.len()] {
            component.width = (frame.width * component.across).div_ceil(frame.across);
            component.height = (frame.height * component.down).div_ceil(frame.down);
        }
        Ok(frame)
    }
}

/// The destination of a component's samples.
pub(super) struct Plane<'a> {
    /// Width times height of the component.
    pub samples: &'a mut [u8],
    width: usize,
    /// The coefficients so far of each block of a progressive picture.
    coefficients: Vec<[i16; 64]>,
    /// Blocks from one row of `coefficients` to the next.
    stride: usize,
    quantizer: [u16; 64],
    /// By coefficient: the lowest bit that was sent, or -1.
    sent: [i8; 64],
}

impl<'a> Plane<'a> {
    /// # Panics
    /// If `samples` does not have the component's width times height.
    pub(super) fn new(frame: &Frame, component: &Component, samples: &'a mut [u8]) -> Self {
        assert_eq!(samples.len(), component.width * component.height);
        let (units_across, units_down) = frame.units();
        let stride = units_across * component.across;
        let blocks = if frame.progressive {
            stride * units_down * component.down
        } else {
            0
        };
        Self {
            samples,
            width: component.width,
            coefficients: vec![[0; 64]; blocks],
            stride,
            quantizer: [0; 64],
            sent: [-1; 64],
        }
    }

    /// Writes the part of a block that lies within the picture.
    #[inline]
    fn put(&mut self, across: usize, down: usize, block: &[u8; 64]) {
        let x = across * 8;
        let Some(width) = self.width.checked_sub(x).filter(|&w| w > 0) else {
            return;
        };
        let start = (down * 8 * self.width).min(self.samples.len());
        let rows = self.samples[start..].chunks_exact_mut(self.width);
        for (row, values) in rows.zip(block.as_chunks::<8>().0) {
            if width >= 8 {
                row[x..x + 8].copy_from_slice(values);
            } else {
                row[x..].copy_from_slice(&values[..width]);
            }
        }
    }
}

/// A component's part in a scan.
#[derive(Clone, Copy, Default)]
struct Part {
    component: usize,
    dc: usize,
    ac: usize,
    /// The last block's first coefficient.
    last: i32,
}

/// A scan header.
struct Scan {
    parts: [Part; MAX_COMPONENTS],
    count: usize,
    /// Coefficients from and to, in zigzag order.
    from: usize,
    to: usize,
    /// The lowest bit that was sent before, 0 for none, and the one sent now.
    high: u32,
    low: u32,
}

impl Scan {
    fn parse(frame: &Frame, segment: &[u8]) -> Result<Self, Fault> {
        let wrong_length = || damaged("a scan header has a wrong length");
        let (&count, rest) = segment.split_first().ok_or_else(wrong_length)?;
        let count = usize::from(count);
        if !(1..=MAX_COMPONENTS).contains(&count) || rest.len() != 2 * count + 3 {
            return Err(wrong_length());
        }
        let (names, rest) = rest.split_at(2 * count);
        let mut scan = Self {
            parts: [Part::default(); MAX_COMPONENTS],
            count,
            from: usize::from(rest[0]),
            to: usize::from(rest[1]),
            high: u32::from(rest[2] >> 4),
            low: u32::from(rest[2] & 15),
        };
        let mut blocks = 0;
        for (place, &[id, tables]) in names.as_chunks::<2>().0.iter().enumerate() {
            let component = frame
                .components()
                .iter()
                .position(|c| c.id == id)
                .ok_or_else(|| damaged("a scan names a component that the picture lacks"))?;
            if scan.parts[..place].iter().any(|p| p.component >= component) {
                return Err(damaged("a scan names its components twice or out of order"));
            }
            let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            if dc > 3 || ac > 3 {
                return Err(damaged("the number of a Huffman table is not 0 to 3"));
            }
            let found = &frame.components()[component];
            blocks += found.across * found.down;
            scan.parts[place] = Part {
                component,
                dc,
                ac,
                last: 0,
            };
        }
        if count > 1 && blocks > UNIT_BLOCKS {
            return Err(damaged("a scan has more than 10 blocks in a unit"));
        }
        if frame.progressive {
            let first = scan.from == 0;
            let range = if first {
                scan.to == 0
            } else {
                scan.from <= scan.to && scan.to <= 63 && count == 1
            };
            let bits = scan.low <= 13 && (scan.high == 0 || scan.high == scan.low + 1);
            if !range || !bits {
                return Err(damaged("a scan header makes no sense"));
            }
        }
        Ok(scan)
    }

    fn parts(&self) -> &[Part] {
        &self.parts[..self.count]
    }
}

/// The tables for a block of a scan.
struct Block<'a> {
    dc: &'a Table,
    ac: &'a Table,
}

pub(super) struct Decoder<'a> {
    data: &'a [u8],
    /// The first byte of the next segment's marker.
    at: usize,
    frame: Option<Frame>,
    /// In zigzag order.
    quantizers: [Option<[u16; 64]>; 4],
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    restart_interval: usize,
    jfif: bool,
    adobe: Option<u8>,
}

impl<'a> Decoder<'a> {
    /// Reads the segments up to the first scan of the JPEG that starts at the
    /// first byte.
    pub(super) fn new(data: &'a [u8]) -> Result<(Self, Frame), Fault> {
        let mut decoder = Self {
            data,
            at: 2,
            frame: None,
            quantizers: [None; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            restart_interval: 0,
            jfif: false,
            adobe: None,
        };
        loop {
            let before = decoder.at;
            match decoder.segment()? {
                Some((0xda, _)) => {
                    decoder.at = before;
                    let frame = decoder
                        .frame
                        .ok_or_else(|| damaged("a scan comes before the frame header"))?;
                    return Ok((decoder, frame));
                }
                Some((marker, segment)) => decoder.tables(marker, segment)?,
                None => return Err(Fault::Truncated(KIND)),
            }
        }
    }

    /// How the picture's components become colours, by libjpeg's rules.
    pub(super) fn colours(&self, frame: &Frame) -> Colours {
        match (frame.count, self.adobe) {
            (1, _) => Colours::Gray,
            (4, Some(2)) => Colours::Ycck,
            (4, _) => Colours::Cmyk,
            _ if self.jfif => Colours::YCbCr,
            (_, Some(0)) => Colours::Rgb,
            (_, Some(_)) => Colours::YCbCr,
            _ if frame.components().iter().map(|c| c.id).eq(*b"RGB") => Colours::Rgb,
            _ => Colours::YCbCr,
        }
    }

    /// Decodes the first components: those that have a plane.
    pub(super) fn decode(mut self, frame: &Frame, planes: &mut [Plane<'_>]) -> Result<(), Fault> {
        let mut frame = *frame;
        // Whether the last decoded data reaches the end of the file.
        let mut whole = false;
        loop {
            match self.segment()? {
                Some((0xda, segment)) => {
                    let scan = Scan::parse(&frame, segment)?;
                    whole = scan.parts().iter().any(|p| p.component < planes.len());
                    if whole {
                        self.scan(&mut frame, scan, planes)?;
                    } else {
                        self.skip_to_marker();
                    }
                }
                Some((0xd9, _)) => break,
                Some((marker, segment)) => {
                    whole = false;
                    self.tables(marker, segment)?;
                }
                // Without an end marker a picture is good if it is complete.
                None if whole => break,
                None => return Err(Fault::Truncated(KIND)),
            }
        }
        for (plane, component) in planes.iter_mut().zip(frame.components()) {
            if frame.progressive {
                if plane.sent != [0; 64] {
                    return Err(damaged("a part of its progressive scans is missing"));
                }
                transform_all(plane, component)
                    .ok_or_else(|| damaged("its picture data makes no sense"))?;
            } else if !component.sent {
                return Err(damaged("the scan of a component is missing"));
            }
        }
        Ok(())
    }

    /// The next marker and its segment, without the length. It is empty for the
    /// end marker; `None` at the end of the data.
    fn segment(&mut self) -> Result<Option<(u8, &'a [u8])>, Fault> {
        let data = self.data;
        loop {
            match data[self.at..] {
                [0xff, 0xff, ..] => self.at += 1,
                // Some encoders write a restart marker after the last unit,
                // too.
                [0xff, 0x01 | 0xd0..=0xd7, ..] => self.at += 2,
                [0xff, 0xd9, ..] => return Ok(Some((0xd9, &[]))),
                [0xff, marker, high, low, ..] => {
                    let length = usize::from(whole_number(&[high, low]));
                    let Some(segment) = data.get(self.at + 4..self.at + 2 + length) else {
                        return Err(Fault::Truncated(KIND));
                    };
                    self.at += 2 + length;
                    return Ok(Some((marker, segment)));
                }
                [] | [0xff] | [0xff, _] | [0xff, _, _] => return Ok(None),
                _ => return Err(damaged("bytes lie between its segments")),
            }
        }
    }

    fn tables(&mut self, marker: u8, segment: &[u8]) -> Result<(), Fault> {
        match marker {
            0xc4 => self.huffman_tables(segment, true),
            0xdb => self.quantization_tables(segment),
            0xdd => {
                if segment.len() != 2 {
                    return Err(damaged("a restart interval of a wrong length"));
                }
                self.restart_interval = usize::from(whole_number(segment));
                Ok(())
            }
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                if self.frame.is_some() {
                    return Err(damaged("it has two frame headers"));
                }
                self.frame = Some(Frame::parse(marker, segment)?);
                Ok(())
            }
            0xdc => Err(unsupported("a height that follows the first scan")),
            0xde | 0xdf => Err(unsupported("hierarchical coding")),
            0xe0 => {
                self.jfif |= segment.starts_with(b"JFIF\0");
                Ok(())
            }
            0xee => {
                if segment.starts_with(b"Adobe") && segment.len() >= 12 {
                    self.adobe = Some(segment[11]);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Reads Huffman tables; without `replace` only those that are missing.
    fn huffman_tables(&mut self, mut segment: &[u8], replace: bool) -> Result<(), Fault> {
        let wrong = || damaged("a Huffman table makes no sense");
        while let Some((&head, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(wrong)?;
            let count = counts.iter().map(|&c| usize::from(c)).sum();
            let (symbols, rest) = rest.split_at_checked(count).ok_or_else(wrong)?;
            segment = rest;
            let tables = match head >> 4 {
                // The sizes of differences.
                0 if symbols.iter().all(|&size| size <= 15) => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err(wrong()),
            };
            let place = tables.get_mut(usize::from(head & 15)).ok_or_else(wrong)?;
            if replace || place.is_none() {
                *place = Some(Table::new(counts, symbols).ok_or_else(wrong)?);
            }
        }
        Ok(())
    }

    fn quantization_tables(&mut self, mut segment: &[u8]) -> Result<(), Fault> {
        let wrong = || damaged("a quantization table makes no sense");
        while let Some((&head, rest)) = segment.split_first() {
            let bytes = match head >> 4 {
                0 => 1,
                1 => 2,
                _ => return Err(wrong()),
            };
            let (values, rest) = rest.split_at_checked(64 * bytes).ok_or_else(wrong)?;
            segment = rest;
            let place = self.quantizers.get_mut(usize::from(head & 15));
            let table = place.ok_or_else(wrong)?.insert([0; 64]);
            for (to, value) in table.iter_mut().zip(values.chunks_exact(bytes)) {
                *to = value
                    .iter()
                    .fold(0, |sum, &byte| sum << 8 | u16::from(byte));
            }
        }
        Ok(())
    }

    /// Skips to the next marker after a scan.
    fn skip_to_marker(&mut self) {
        let end = self.data[self.at..].windows(2).position(|pair| {
            pair[0] == 0xff && !matches!(pair[1], 0x00 | 0x01 | 0xd0..=0xd7 | 0xff)
        });
        self.at = end.map_or(self.data.len(), |end| self.at + end);
    }

    fn scan(
        &mut self,
        frame: &mut Frame,
        mut scan: Scan,
        planes: &mut [Plane<'_>],
    ) -> Result<(), Fault> {
        let parts = scan.parts();
        let needs_dc = !frame.progressive || (scan.from == 0 && scan.high == 0);
        let needs_ac = !frame.progressive || scan.from > 0;
        let lacking = |this: &Self| {
            parts.iter().any(|part| {
                needs_dc && this.dc[part.dc].is_none() || needs_ac && this.ac[part.ac].is_none()
            })
        };
        if lacking(self) {
            self.huffman_tables(&standard::TABLES[4..], false)?;
            if lacking(self) {
                return Err(damaged("a Huffman table is missing"));
            }
        }
        for part in parts {
            let component = &mut frame.components[part.component];
            let Some(plane) = planes.get_mut(part.component) else {
                continue;
            };
            let first = if frame.progressive {
                note_progress(plane, &scan)?
            } else {
                if component.sent {
                    return Err(damaged("it sends a component twice"));
                }
                component.sent = true;
                true
            };
            if first {
                plane.quantizer = self.quantizers[usize::from(component.quantizer)]
                    .ok_or_else(|| damaged("a quantization table is missing"))?;
            }
        }
        let frame = &*frame;
        let bits = Bits::new(self.data, self.at);
        let at = if frame.progressive {
            let ac = scan.from > 0;
            match (ac, scan.high > 0) {
                (false, false) => self.units(frame, &mut scan, bits, planes, FirstDc)?,
                (false, true) => self.units(frame, &mut scan, bits, planes, RefineDc)?,
                (true, refine) => {
                    self.units(frame, &mut scan, bits, planes, Ac { refine, run: 0 })?
                }
            }
        } else {
            self.units(frame, &mut scan, bits, planes, Sequential)?
        };
        self.at = at;
        Ok(())
    }

    /// Reads all units of a scan and returns where its data ends.
    fn units<C: Coding>(
        &self,
        frame: &Frame,
        scan: &mut Scan,
        mut bits: Bits<'a>,
        planes: &mut [Plane<'_>],
        mut coding: C,
    ) -> Result<usize, Fault> {
        let (units_across, units_down) = if let [only] = scan.parts() {
            frame.components()[only.component].blocks()
        } else {
            frame.units()
        };
        let interleaved = scan.count > 1;
        let mut until_restart = self.restart_interval;
        let mut restarts = 0_u8;
        for unit_down in 0..units_down {
            for unit_across in 0..units_across {
                if self.restart_interval > 0 {
                    if until_restart == 0 {
                        bits = self.restart(&bits, restarts)?;
                        restarts = (restarts + 1) % 8;
                        until_restart = self.restart_interval;
                        scan.parts.iter_mut().for_each(|part| part.last = 0);
                        coding.restart();
                    }
                    until_restart -= 1;
                }
                for place in 0..scan.count {
                    let part = scan.parts[place];
                    let component = &frame.components()[part.component];
                    let (across, down) = if interleaved {
                        (component.across, component.down)
                    } else {
                        (1, 1)
                    };
                    let tables = Block {
                        dc: self.dc[part.dc].as_ref().unwrap_or(&Table::EMPTY),
                        ac: self.ac[part.ac].as_ref().unwrap_or(&Table::EMPTY),
                    };
                    let mut plane = planes.get_mut(part.component);
                    for y in 0..down {
                        for x in 0..across {
                            let block = (unit_across * across + x, unit_down * down + y);
                            coding
                                .block(&mut bits, &tables, scan, place, plane.as_deref_mut(), block)
                                .ok_or_else(|| damaged("its picture data makes no sense"))?;
                        }
                    }
                }
            }
            if bits.overdrawn() {
                break;
            }
        }
        let (end, left) = self.end(&bits)?;
        let last = matches!(self.data[end..], [] | [0xff] | [0xff, 0xd9, ..]);
        if left > if last { PADDING } else { 0 } {
            return Err(damaged("picture data is left over behind its last block"));
        }
        Ok(end)
    }

    /// The position of the marker that ends the data of a scan or of a part of
    /// it, and how many bytes before it were not used.
    fn end(&self, bits: &Bits<'_>) -> Result<(usize, usize), Fault> {
        let mut at = bits.position();
        let mut left = bits.unread();
        loop {
            match self.data[at..] {
                [] | [0xff] => break,
                [0xff, 0x00, ..] => {
                    left += 1;
                    at += 2;
                }
                [0xff, 0xff, ..] => at += 1,
                [0xff, ..] => break,
                _ => {
                    left += 1;
                    at += 1;
                }
            }
        }
        if bits.overdrawn() {
            return Err(match self.data[at..] {
                [] | [0xff] | [0xff, 0xd9, ..] => Fault::Truncated(KIND),
                _ => damaged("picture data is missing before a marker"),
            });
        }
        Ok((at, left))
    }

    fn restart(&self, bits: &Bits<'a>, number: u8) -> Result<Bits<'a>, Fault> {
        let (at, left) = self.end(bits)?;
        match self.data[at..] {
            [0xff, marker, ..] if marker == 0xd0 + number && left == 0 => {
                Ok(Bits::new(self.data, at + 2))
            }
            [] | [0xff] | [0xff, 0xd9, ..] => Err(Fault::Truncated(KIND)),
            _ => Err(damaged("a restart marker is not where it should be")),
        }
    }
}

/// Checks that a progressive scan continues the earlier ones. Returns whether
/// it is the component's first one.
fn note_progress(plane: &mut Plane<'_>, scan: &Scan) -> Result<bool, Fault> {
    let first = plane.sent[0] < 0;
    if scan.from > 0 && first {
        return Err(damaged("its progressive scans are out of order"));
    }
    for sent in &mut plane.sent[scan.from..=scan.to] {
        let fits = if scan.high == 0 {
            *sent < 0
        } else {
            i32::from(*sent) == scan.high as i32
        };
        if !fits {
            return Err(damaged("its progressive scans are out of order"));
        }
        *sent = scan.low as i8;
    }
    Ok(first)
}

/// How the blocks of a scan are coded.
trait Coding {
    /// Reads one block, the one at `(across, down)` of the plane. Without a
    /// plane it is read and dropped. `None` if it is invalid.
    fn block(
        &mut self,
        bits: &mut Bits<'_>,
        tables: &Block<'_>,
        scan: &mut Scan,
        part: usize,
        plane: Option<&mut Plane<'_>>,
        at: (usize, usize),
    ) -> Option<()>;

    fn restart(&mut self) {}
}

/// The difference to the last block's first coefficient.
#[inline(always)]
fn difference(bits: &mut Bits<'_>, table: &Table) -> Option<i32> {
    bits.fill();
    let size = u32::from(bits.symbol(table)?);
    Some(if size == 0 { 0 } else { bits.signed(size) })
}

struct Sequential;

impl Coding for Sequential {
    #[inline(always)]
    fn block(
        &mut self,
        bits: &mut Bits<'_>,
        tables: &Block<'_>,
        scan: &mut Scan,
        part: usize,
        plane: Option<&mut Plane<'_>>,
        (across, down): (usize, usize),
    ) -> Option<()> {
        let difference = difference(bits, tables.dc)?;
        let Some(plane) = plane else {
            return read_ac(bits, tables.ac, |_, _| Some(()));
        };
        let last = &mut scan.parts[part].last;
        *last += difference;
        let quantizer = &plane.quantizer;
        let mut block = [0_i16; 64];
        let dc = checked(i32::from(i16::try_from(*last).ok()?), quantizer[0])?;
        block[0] = dc;
        let mut flat = true;
        read_ac(bits, tables.ac, |k, value| {
            let (&place, &step) = (ZIGZAG.get(k)?, quantizer.get(k)?);
            block[usize::from(place)] = checked(value, step)?;
            flat = false;
            Some(())
        })?;
        let samples = if flat {
            [idct::flat(dc); 64]
        } else {
            idct::inverse(&block)
        };
        plane.put(across, down, &samples);
        Some(())
    }
}

#[inline(always)]
fn checked(value: i32, step: u16) -> Option<i16> {
    let value = value * i32::from(step);
    (-LARGEST..=LARGEST)
        .contains(&value)
        .then_some(value as i16)
}

/// Reads a block's coefficients except the first one. `put` gets each one's
/// place, in zigzag order and perhaps after the end of the block, with its
/// value.
#[inline(always)]
fn read_ac(
    bits: &mut Bits<'_>,
    ac: &Table,
    mut put: impl FnMut(usize, i32) -> Option<()>,
) -> Option<()> {
    let mut k = 1;
    while k < 64 {
        bits.fill();
        let symbol = bits.symbol(ac)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        k += run;
        if size > 0 {
            put(k, bits.signed(size))?;
        } else if run < 15 {
            return Some(());
        }
        k += 1;
    }
    (k == 64).then_some(())
}

struct FirstDc;

impl Coding for FirstDc {
    fn block(
        &mut self,
        bits: &mut Bits<'_>,
        tables: &Block<'_>,
        scan: &mut Scan,
        part: usize,
        plane: Option<&mut Plane<'_>>,
        (across, down): (usize, usize),
    ) -> Option<()> {
        let difference = difference(bits, tables.dc)?;
        if let Some(plane) = plane {
            let last = &mut scan.parts[part].last;
            *last += difference;
            let value = i16::try_from(i64::from(*last) << scan.low).ok()?;
            plane.coefficients[down * plane.stride + across][0] = value;
        }
        Some(())
    }
}

struct RefineDc;

impl Coding for RefineDc {
    fn block(
        &mut self,
        bits: &mut Bits<'_>,
        _tables: &Block<'_>,
        scan: &mut Scan,
        _part: usize,
        plane: Option<&mut Plane<'_>>,
        (across, down): (usize, usize),
    ) -> Option<()> {
        bits.fill();
        let bit = bits.take(1) as i16;
        if let Some(plane) = plane {
            plane.coefficients[down * plane.stride + across][0] |= bit << scan.low;
        }
        Some(())
    }
}

/// All but the first coefficients, of one component.
struct Ac {
    refine: bool,
    /// How many of the next blocks have nothing new.
    run: u32,
}

impl Coding for Ac {
    fn block(
        &mut self,
        bits: &mut Bits<'_>,
        tables: &Block<'_>,
        scan: &mut Scan,
        _part: usize,
        plane: Option<&mut Plane<'_>>,
        (across, down): (usize, usize),
    ) -> Option<()> {
        // A scan of one component that has no plane is not decoded at all.
        let plane = plane?;
        let block = &mut plane.coefficients[down * plane.stride + across];
        if self.refine {
            self.refine_block(bits, tables.ac, scan, block)
        } else {
            self.first_block(bits, tables.ac, scan, block)
        }
    }

    fn restart(&mut self) {
        self.run = 0;
    }
}

impl Ac {
    fn first_block(
        &mut self,
        bits: &mut Bits<'_>,
        ac: &Table,
        scan: &Scan,
        block: &mut [i16; 64],
    ) -> Option<()> {
        if self.run > 0 {
            self.run -= 1;
            return Some(());
        }
        let mut k = scan.from;
        while k <= scan.to {
            bits.fill();
            let symbol = bits.symbol(ac)?;
            let (run, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
            if size == 0 && run < 15 {
                self.run = end_of_band(bits, run) - 1;
                return Some(());
            }
            k += run as usize;
            if size > 0 {
                if k > scan.to {
                    return None;
                }
                let value = i16::try_from(bits.signed(size) << scan.low).ok()?;
                block[usize::from(ZIGZAG[k])] = value;
            }
            k += 1;
        }
        (k == scan.to + 1).then_some(())
    }

    /// T.81, G.1.2.3: a bit more of each coefficient that is not zero, and new
    /// ones among the zeros.
    fn refine_block(
        &mut self,
        bits: &mut Bits<'_>,
        ac: &Table,
        scan: &Scan,
        block: &mut [i16; 64],
    ) -> Option<()> {
        let bit = 1_i16 << scan.low;
        let mut k = scan.from;
        if self.run == 0 {
            while k <= scan.to {
                bits.fill();
                let symbol = bits.symbol(ac)?;
                let (zeros, size) = (u32::from(symbol >> 4), u32::from(symbol & 15));
                let new = match size {
                    0 if zeros < 15 => {
                        self.run = end_of_band(bits, zeros);
                        break;
                    }
                    0 => None,
                    1 => Some(if bits.take(1) == 1 { bit } else { -bit }),
                    _ => return None,
                };
                k = refine_up_to(zeros, bits, k..=scan.to, block, bit);
                if let Some(new) = new {
                    if k > scan.to {
                        return None;
                    }
                    block[usize::from(ZIGZAG[k])] = new;
                }
                k += 1;
            }
        }
        if self.run > 0 {
            refine_up_to(u32::MAX, bits, k..=scan.to, block, bit);
            self.run -= 1;
        }
        Some(())
    }
}

/// How many blocks, this one included, have nothing more in this scan.
fn end_of_band(bits: &mut Bits<'_>, size: u32) -> u32 {
    if size == 0 {
        1
    } else {
        bits.fill();
        (1 << size) + bits.take(size)
    }
}

/// Refines the coefficients of a band up to the zero after `zeros` other zeros,
/// and returns its place, or the end of the band.
fn refine_up_to(
    mut zeros: u32,
    bits: &mut Bits<'_>,
    band: RangeInclusive<usize>,
    block: &mut [i16; 64],
    bit: i16,
) -> usize {
    let behind = band.end() + 1;
    for k in band {
        let value = &mut block[usize::from(ZIGZAG[k])];
        if *value != 0 {
            refine(bits, value, bit);
        } else if zeros == 0 {
            return k;
        } else {
            zeros -= 1;
        }
    }
    behind
}

fn refine(bits: &mut Bits<'_>, value: &mut i16, bit: i16) {
    bits.fill();
    if bits.take(1) == 1 && *value & bit == 0 {
        *value = value.saturating_add(if *value > 0 { bit } else { -bit });
    }
}

/// Turns the coefficients of a progressive picture into samples. `None` if a
/// coefficient is invalid.
fn transform_all(plane: &mut Plane<'_>, component: &Component) -> Option<()> {
    let coefficients = std::mem::take(&mut plane.coefficients);
    let mut steps = [0; 64];
    for (&place, &step) in ZIGZAG.iter().zip(&plane.quantizer) {
        steps[usize::from(place)] = step;
    }
    let (blocks_across, blocks_down) = component.blocks();
    for down in 0..blocks_down {
        for across in 0..blocks_across {
            let mut block = [0; 64];
            let values = &coefficients[down * plane.stride + across];
            for ((to, &value), &step) in block.iter_mut().zip(values).zip(&steps) {
                *to = checked(i32::from(value), step)?;
            }
            plane.put(across, down, &idct::inverse(&block));
        }
    }
    Some(())
}

fn damaged(reason: impl Into<String>) -> Fault {
    Fault::Damaged {
        kind: KIND,
        reason: crate::host::memory::outlasting(|| reason.into()),
    }
}

fn unsupported(reason: impl Into<String>) -> Fault {
    Fault::Unsupported {
        kind: KIND,
        reason: crate::host::memory::outlasting(|| reason.into()),
    }
}

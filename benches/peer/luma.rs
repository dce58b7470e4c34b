//! Decodes pictures for `scripts/compare-libjpeg`: Standard input has pictures,
//! each with its length in front (four bytes, little endian). For each,
//! standard output gets `1`, width, height (four bytes each) and the luma, or
//! `0`, the error's length (four bytes) and its text.

use std::io::{self, Read, Write};

use affectd::image::jpeg;

fn main() -> io::Result<()> {
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let (mut data, mut pixels) = (Vec::new(), Vec::new());
    let mut length = [0; 4];
    while input.read_exact(&mut length).is_ok() {
        data.resize(u32::from_le_bytes(length) as usize, 0);
        input.read_exact(&mut data)?;
        match jpeg::luma(&data, &mut pixels) {
            Ok((width, height)) => {
                output.write_all(&[1])?;
                output.write_all(&width.to_le_bytes())?;
                output.write_all(&height.to_le_bytes())?;
                output.write_all(&pixels[..width as usize * height as usize])?;
            }
            Err(fault) => {
                let text = fault.to_string();
                output.write_all(&[0])?;
                output.write_all(&(text.len() as u32).to_le_bytes())?;
                output.write_all(text.as_bytes())?;
            }
        }
        output.flush()?;
    }
    Ok(())
}

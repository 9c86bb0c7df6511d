//! Compression and decompression of what is written, rather than read.
//!
//! For whoever gets bytes handed in: layers on their way out of a store.

use std::fmt;
use std::io::{self, Write};

use super::WINDOW_LOG_MAX;

/// The level of layers and archives in zstd. Its window is 2 MiB, which every
/// reader takes.
const LEVEL: i32 = 3;

/// Compresses into one zstd frame.
pub struct ZstdWriter<W: Write>(zstd::stream::write::Encoder<'static, W>);

impl<W: Write> ZstdWriter<W> {
    /// Writes the frame to `out`.
    pub fn new(out: W) -> io::Result<Self> {
        let mut encoder = zstd::stream::write::Encoder::new(out, LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Self(encoder))
    }

    /// Ends the frame.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for ZstdWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> fmt::Debug for ZstdWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ZstdWriter")
    }
}

/// Decompresses what is written to it, of one or several members or frames.
pub struct Expander<W: Write>(Kind<W>);

enum Kind<W: Write> {
    Gzip(Box<flate2::write::MultiGzDecoder<W>>),
    Zstd(zstd::stream::write::Decoder<'static, W>),
}

impl<W: Write> Expander<W> {
    /// Of gzip.
    pub fn gzip(out: W) -> Self {
        Self(Kind::Gzip(Box::new(flate2::write::MultiGzDecoder::new(out))))
    }

    /// Of zstd.
    pub fn zstd(out: W) -> io::Result<Self> {
        let mut decoder = zstd::stream::write::Decoder::new(out)?;
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        Ok(Self(Kind::Zstd(decoder)))
    }

    /// Writes what is left.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Kind::Gzip(decoder) => decoder.finish(),
            Kind::Zstd(mut decoder) => {
                decoder.flush()?;
                Ok(decoder.into_inner())
            }
        }
    }
}

impl<W: Write> Write for Expander<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Gzip(decoder) => decoder.write(bytes),
            Kind::Zstd(decoder) => decoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Gzip(decoder) => decoder.flush(),
            Kind::Zstd(decoder) => decoder.flush(),
        }
    }
}

impl<W: Write> fmt::Debug for Expander<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Expander")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Vec<u8> {
        (0_u32..60_000).flat_map(|number| (number * number).to_string().into_bytes()).collect()
    }

    fn zstd(text: &[u8], piece: usize) -> Vec<u8> {
        let mut writer = ZstdWriter::new(Vec::new()).unwrap();
        text.chunks(piece).for_each(|piece| writer.write_all(piece).unwrap());
        writer.finish().unwrap()
    }

    #[test]
    fn how_bytes_are_cut_does_not_matter() {
        let text = text();
        let whole = zstd(&text, text.len());
        assert!(whole == zstd(&text, 1000), "pieces give another frame");
        assert!(whole.len() < text.len());
        assert_eq!(whole[..4], [0x28, 0xb5, 0x2f, 0xfd]);
    }

    #[test]
    fn expands_several_members_and_frames() {
        let text = text();
        let (one, two) = text.split_at(1234);
        let gzip = |text: &[u8]| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(text).unwrap();
            out.finish().unwrap()
        };
        let streams = [
            (Expander::gzip(Vec::new()), [gzip(one), gzip(two)].concat()),
            (Expander::zstd(Vec::new()).unwrap(), [zstd(one, 99), zstd(two, 99)].concat()),
        ];
        for (mut expander, stream) in streams {
            stream.chunks(7).for_each(|piece| expander.write_all(piece).unwrap());
            assert!(expander.finish().unwrap() == text);
        }
    }
}

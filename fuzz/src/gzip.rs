//! gzip streams: a decoder for `prove`, and headers and trailers around bodies.

use flate2::{Decompress, FlushDecompress, Status};
use orlop::gzip::{BadStream, Inflate, Inflated};

/// The decoder of flate2.
#[derive(Debug)]
pub struct Flate2(Decompress);

impl Default for Flate2 {
    fn default() -> Self {
        Self(Decompress::new(false))
    }
}

impl Inflate for Flate2 {
    fn reset(&mut self) {
        self.0.reset(false);
    }

    fn inflate(&mut self, input: &[u8], output: &mut [u8]) -> Result<Inflated, BadStream> {
        let (taken, put) = (self.0.total_in(), self.0.total_out());
        let status = self.0.decompress(input, output, FlushDecompress::None);
        let ended = status.map_err(|_| BadStream)? == Status::StreamEnd;
        let count = |now: u64, before: u64| usize::try_from(now - before).map_err(|_| BadStream);
        Ok(Inflated {
            consumed: count(self.0.total_in(), taken)?,
            produced: count(self.0.total_out(), put)?,
            ended,
        })
    }
}

/// What a body of raw DEFLATE decodes to, and how much of `body` it takes up.
/// `None` where it is damaged, cut short, or longer than `most`.
pub fn inflate(body: &[u8], most: usize) -> Option<(Vec<u8>, usize)> {
    let mut decoder = Flate2::default();
    let (mut out, mut at, mut buffer) = (Vec::new(), 0, vec![0; 1 << 16]);
    loop {
        let step = decoder.inflate(&body[at..], &mut buffer).ok()?;
        at += step.consumed;
        out.extend_from_slice(&buffer[..step.produced]);
        if step.ended {
            return Some((out, at));
        }
        if out.len() > most || (step.consumed == 0 && step.produced == 0) {
            return None;
        }
    }
}

/// The trailer of a member.
pub fn trailer(content: &[u8]) -> [u8; 8] {
    let mut sum = flate2::Crc::new();
    sum.update(content);
    let mut trailer = [0; 8];
    trailer[..4].copy_from_slice(&sum.sum().to_le_bytes());
    trailer[4..].copy_from_slice(&sum.amount().to_le_bytes());
    trailer
}

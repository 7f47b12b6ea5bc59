//! The buffers of one connection: small while a watch is idle, large while bytes flow.

use super::chunks::Chunks;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use ureq::unversioned::transport::Buffers;

/// An input buffer that grows with what arrives, and an output buffer that lives only while a request is written.
#[derive(Debug)]
pub(super) struct LinkBuffers {
    input: Vec<u8>,
    /// `input[start..end]` is not consumed yet.
    start: usize,
    end: usize,
    /// The last read filled the buffer, so a larger one saves reads.
    was_filled: bool,
    progress: bool,
    output: Vec<u8>,
    output_bytes: Arc<AtomicUsize>,
}

impl LinkBuffers {
    pub(super) fn new(output_bytes: Arc<AtomicUsize>) -> Self {
        Self { input: Vec::new(), start: 0, end: 0, was_filled: false, progress: false, output: Vec::new(), output_bytes }
    }

    /// Takes the first `amount` bytes of the output, and with them the buffer.
    pub(super) fn take_output(&mut self, amount: usize) -> Vec<u8> {
        let mut output = std::mem::take(&mut self.output);
        output.truncate(amount);
        if self.start == self.end {
            self.input = Vec::new();
            (self.start, self.end, self.was_filled) = (0, 0, false);
        }
        output
    }

    /// Takes in the `amount` bytes that were just read into [`input_append_buf`](Buffers::input_append_buf), but for what `chunks`
    /// takes out of them. Gives how many are left.
    pub(super) fn append(&mut self, amount: usize, chunks: &mut Chunks) -> io::Result<usize> {
        let (before, was_filled) = (self.end - self.start, self.end + amount == self.input.len());
        let kept = chunks.follow(&mut self.input[self.start..self.end + amount], before)? - before;
        self.input_appended(kept);
        self.was_filled = was_filled;
        Ok(kept)
    }

    fn make_room(&mut self) {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 && self.end > self.input.len() / 2 {
            // What is left over is a part of a chunk's head, so that moving it costs less than reading into a small rest.
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let full = self.end == self.input.len();
        let wanted = if full { INPUT_BYTES_MAX } else { INPUT_BYTES_USUAL };
        if (full || self.was_filled) && self.input.len() < wanted {
            self.input.resize((self.input.len() * 2).clamp(INPUT_BYTES_MIN, wanted), 0);
            self.was_filled = false;
        }
    }
}

impl Buffers for LinkBuffers {
    fn output(&mut self) -> &mut [u8] {
        let wanted = self.output_bytes.load(Ordering::Relaxed).max(1);
        if self.output.len() < wanted {
            self.output.resize(wanted, 0);
        }
        &mut self.output
    }

    fn input(&self) -> &[u8] {
        &self.input[self.start..self.end]
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.make_room();
        &mut self.input[self.end..]
    }

    fn input_appended(&mut self, amount: usize) {
        self.end += amount;
        self.was_filled = self.end == self.input.len();
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.start += amount;
        debug_assert!(self.start <= self.end, "consumed more than there was");
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.make_room();
        self.output();
        (&mut self.input[self.end..], &mut self.output)
    }

    fn can_use_input(&self) -> bool {
        self.start < self.end && self.progress
    }
}

/// The input buffer of an idle watch.
const INPUT_BYTES_MIN: usize = 4 * 1024;
/// The input buffer while bytes flow; throughput does not grow beyond it.
const INPUT_BYTES_USUAL: usize = 16 * 1024;
/// The input buffer while a head does not fit; more than the longest accepted head, so that ureq sees it is too long.
const INPUT_BYTES_MAX: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_keeps_its_bytes_however_it_grows() {
        let mut buffers = LinkBuffers::new(Arc::default());
        let (mut written, mut seen) = (0_u32, 0_u32);
        while seen < 100_000 {
            let room = buffers.input_append_buf();
            assert!(!room.is_empty() && room.len() <= INPUT_BYTES_MAX);
            let amount = room.len().min(1 + written as usize % 5000);
            for byte in &mut room[..amount] {
                *byte = written as u8;
                written += 1;
            }
            buffers.input_appended(amount);
            let used = buffers.input().len().min(1 + seen as usize % 7000);
            for byte in &buffers.input()[..used] {
                assert_eq!(*byte, seen as u8);
                seen += 1;
            }
            buffers.input_consume(used);
        }
    }

    #[test]
    fn an_idle_connection_holds_a_small_buffer_only() {
        let mut buffers = LinkBuffers::new(Arc::new(AtomicUsize::new(20_000)));
        assert_eq!(buffers.output().len(), 20_000);
        assert_eq!(buffers.take_output(10).len(), 10);
        assert_eq!((buffers.input.capacity(), buffers.output.capacity()), (0, 0));
        assert_eq!(buffers.input_append_buf().len(), INPUT_BYTES_MIN);
    }
}

//! However the bytes of a watch are cut into reads, the same events come out of lines that are one each; of any other bytes none is
//! passed over in silence.

#![no_main]

use faro::client::{Line, Lines};
use libfuzzer_sys::fuzz_target;
use std::io::{self, Read};

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (bytes, cuts) = input;
    let mut lines = Lines::new(Cut { bytes: &bytes, cuts: cuts.iter().cycle(), reads_left: cuts.len() });
    let (mut found, mut broken): (Vec<Vec<u8>>, u64) = (Vec::new(), 0);
    let ended_well = loop {
        match lines.next_line() {
            Ok(Line::Whole(line)) => found.push(line.to_vec()),
            Ok(Line::Broken(bytes)) => broken += bytes,
            Ok(Line::Quiet | Line::Partial) => {}
            Ok(Line::TooLong(_)) => panic!("no input is that long"),
            Ok(Line::End) => break true,
            Err(_) => break false,
        }
    };
    let is_object = |line: &&[u8]| serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line).is_ok();
    // White space as JSON has it: a form feed is none.
    let is_blank = |line: &&[u8]| line.iter().all(|byte| b" \t\r".contains(byte));
    let expected: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').filter(|line| !is_blank(line)).collect();
    if expected.iter().all(is_object) {
        assert_eq!((found, broken, ended_well), (expected.iter().map(|line| line.to_vec()).collect(), 0, true));
    } else if ended_well {
        let seen = found.iter().map(Vec::len).sum::<usize>() as u64 + broken;
        let there = bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).count() as u64;
        assert!(seen >= there, "{there} bytes came, and {seen} were given");
    }
});

/// Gives as many bytes a read as the next cut says; a cut of nothing is a timeout.
struct Cut<'a, C> {
    bytes: &'a [u8],
    cuts: C,
    reads_left: usize,
}

impl<'a, C: Iterator<Item = &'a u8>> Read for Cut<'a, C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = if self.reads_left == 0 { buffer.len() } else { usize::from(*self.cuts.next().unwrap_or(&1)) };
        self.reads_left = self.reads_left.saturating_sub(1);
        if wanted == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let wanted = wanted.min(buffer.len());
        self.bytes.read(&mut buffer[..wanted])
    }
}

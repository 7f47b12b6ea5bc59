//! Whether bytes are JSON to their last one: cheap, as most are, and strict, as another looks at what is not.

use super::Scanner;

/// Deeper values are left to another: a bit each says what they stand in.
const DEPTH_MAX: u32 = u128::BITS;

/// What a value stands in, innermost last: a bit each, set for objects.
#[derive(Clone, Copy, Debug, Default)]
struct Around {
    kinds: u128,
    depth: u32,
}

impl Around {
    fn enter(&mut self, is_object: bool) -> Option<()> {
        self.depth = Some(self.depth + 1).filter(|depth| *depth <= DEPTH_MAX)?;
        self.kinds = self.kinds << 1 | u128::from(is_object);
        Some(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
        self.kinds >>= 1;
    }

    fn is_object(self) -> bool {
        self.kinds & 1 == 1
    }
}

impl Scanner<'_> {
    /// Whether what comes is one JSON object and white space. All that it says yes to is; of what is nested deep, and of strings
    /// with half a surrogate pair, it says no.
    pub(crate) fn is_one_object(&mut self) -> bool {
        self.peek() == Some(b'{') && self.pass_value().is_some() && self.peek().is_none()
    }

    fn pass_value(&mut self) -> Option<()> {
        let mut around = Around::default();
        loop {
            let opened = self.peek()?;
            match opened {
                b'{' | b'[' => {
                    self.at += 1;
                    around.enter(opened == b'{')?;
                    let end = if opened == b'{' { b'}' } else { b']' };
                    if self.peek()? != end {
                        if opened == b'{' {
                            self.pass_key()?;
                        }
                        continue;
                    }
                    self.at += 1;
                    around.leave();
                }
                b'"' => _ = self.text().ok()?,
                b't' => self.pass_word(b"true")?,
                b'f' => self.pass_word(b"false")?,
                b'n' => self.pass_word(b"null")?,
                _ => self.pass_number()?,
            }
            while around.depth > 0 {
                let next = self.peek()?;
                self.at += 1;
                match next {
                    b',' => break,
                    b'}' if around.is_object() => around.leave(),
                    b']' if !around.is_object() => around.leave(),
                    _ => return None,
                }
            }
            if around.depth == 0 {
                return Some(());
            }
            if around.is_object() {
                self.pass_key()?;
            }
        }
    }

    fn pass_key(&mut self) -> Option<()> {
        self.text().ok()?;
        self.take(b':', "expected `:`").ok()
    }

    fn pass_word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn pass_number(&mut self) -> Option<()> {
        self.pass_any(b"-");
        if !self.pass_any(b"0") {
            self.pass_digits()?;
        }
        if self.pass_any(b".") {
            self.pass_digits()?;
        }
        if self.pass_any(b"eE") {
            self.pass_any(b"+-");
            self.pass_digits()?;
        }
        Some(())
    }

    fn pass_digits(&mut self) -> Option<()> {
        let digits = self.bytes[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += digits;
        (digits > 0).then_some(())
    }

    fn pass_any(&mut self, wanted: &[u8]) -> bool {
        let is_there = self.bytes.get(self.at).is_some_and(|byte| wanted.contains(byte));
        self.at += usize::from(is_there);
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IgnoredAny;

    const EVERY: &str =
        r#" {"a" : [ 0,-1.50, 2e+9,10E-2,{}, [ ] ,[[]],true,false,null],"b\n\u00e4":{"c":"d\\\"}{","ü":"\ud83d\ude00"} } "#;

    fn is_one(bytes: &[u8]) -> bool {
        Scanner::new(bytes).is_one_object()
    }

    #[test]
    fn all_that_it_takes_for_json_is_json_whatever_byte_is_changed_or_left_out() {
        assert!(is_one(EVERY.as_bytes()));
        let mut refused = 0;
        let mut check = |bytes: &[u8]| {
            let is_json = serde_json::from_slice::<IgnoredAny>(bytes).is_ok() && std::str::from_utf8(bytes).is_ok();
            let is_object = bytes.trim_ascii_start().starts_with(b"{");
            assert!(!is_one(bytes) || (is_json && is_object), "{:?}", String::from_utf8_lossy(bytes));
            refused += usize::from(is_json && is_object && !is_one(bytes));
        };
        for at in 0..EVERY.len() {
            for byte in 0..=u8::MAX {
                let mut bytes = EVERY.as_bytes().to_vec();
                bytes[at] = byte;
                check(&bytes);
            }
            check(&[&EVERY.as_bytes()[..at], &EVERY.as_bytes()[at + 1..]].concat());
            check(&EVERY.as_bytes()[..at]);
        }
        // Halves of surrogate pairs.
        assert!(refused < 300, "{refused} texts are JSON and were refused");
    }

    #[test]
    fn what_is_nested_deep_is_left_to_another() {
        let nested = |depth: usize| r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth);
        assert!(is_one(nested(128).as_bytes()) && !is_one(nested(129).as_bytes()));
        for wrong in [
            "",
            "1",
            "[]",
            "{} {}",
            "{}x",
            "{]",
            r#"{"a":[}"#,
            r#"{"a":01}"#,
            r#"{"a":1.}"#,
            r#"{"a":-}"#,
            r#"{"a":1,}"#,
            r#"{,}"#,
        ] {
            assert!(!is_one(wrong.as_bytes()), "{wrong}");
        }
    }
}

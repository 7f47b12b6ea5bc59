//! PEM as Go's `encoding/pem` reads it: whatever is no block is passed over, and so is a block that is damaged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One `-----BEGIN LABEL-----` and what is in it.
pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    /// `None` where it is damaged.
    pub(super) der: Option<Vec<u8>>,
}

/// Every block of `text`, in its order.
pub(super) fn blocks(text: &[u8]) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    // What is not UTF-8 is no block.
    for part in text.utf8_chunks() {
        let mut rest = part.valid();
        while let Some((_, after)) = rest.split_once(BEGIN) {
            let Some((label, body)) = after.split_once(DASHES) else { break };
            let end = format!("-----END {label}{DASHES}");
            let (body, next) = body.split_once(&end).map_or((None, body), |(body, next)| (Some(body), next));
            // A block whose end is another's is damaged, and the other one still counts.
            let body = body.filter(|body| !body.contains(BEGIN));
            rest = if body.is_some() { next } else { after };
            let packed = body.map(|body| body.split_ascii_whitespace().collect::<String>());
            let der = packed.and_then(|packed| STANDARD.decode(packed).ok()).filter(|der| !der.is_empty());
            if !label.contains('\n') {
                blocks.push(Block { label, der });
            }
        }
    }
    blocks
}

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &[u8], expected: &str) {
        let shown: Vec<_> = blocks(text)
            .into_iter()
            .map(|block| format!("{}:{}", block.label, block.der.map_or("-".to_owned(), |der| String::from_utf8(der).unwrap())))
            .collect();
        assert_eq!(shown.join(" "), expected, "{}", text.escape_ascii());
    }

    #[test]
    fn blocks_are_read_and_the_rest_is_passed_over() {
        check(b"", "");
        check(
            b"hello\n-----BEGIN A-----\nYWJj\n-----END A-----\nsubject=x\n-----BEGIN B-----\r\nYW\r\nJk\r\n-----END B-----",
            "A:abc B:abd",
        );
        check(b"-----BEGIN A-----\n%%%\n-----END A-----\n-----BEGIN A-----\nYWJj\n-----END A-----", "A:- A:abc");
        check(b"-----BEGIN A-----\nYWJj\n-----BEGIN A-----\nYWJj\n-----END A-----", "A:- A:abc");
        check(b"-----BEGIN A-----\nYWJj\n-----END B-----", "A:-");
        check(b"-----BEGIN CERTIFICATE", "");
        check(b"\xff\n-----BEGIN A-----\nYWJj\n-----END A-----\xff", "A:abc");
    }
}

//! What Faro logs in with, taken out of any text from outside before it is used.
//!
//! Takes each login as it is made; gives texts in which nothing of one stands: neither as it is nor in base64, percent- or
//! JSON-escaped, nor a part of it, as where somebody has cut the text. Servers, gateways and proxies quote requests in their answers.

use super::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Knows the credentials of one client, the last few ones too. Clones share what they know.
#[derive(Clone, Default)]
pub struct Blotter(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// The newest last.
    words: Vec<Secret>,
    parts: Arc<Parts>,
}

/// What is looked for.
#[derive(Default)]
struct Parts {
    /// Each credential in each form.
    words: Vec<Vec<u8>>,
    /// A bit for the hash of every [`PART_BYTES`] that follow each other in one: nearly all bytes of a text are passed over by this.
    filter: Vec<u64>,
}

/// So many bytes of a credential in a row are not there by chance.
const PART_BYTES: usize = size_of::<u64>();

/// The filter has so many bits: ten for each part of a usual token.
const FILTER_BITS: u32 = 17;

/// Shorter ones are in every text.
const WORD_BYTES_MIN: usize = 4;

/// What stands in the place of a credential.
const BLOT: &str = "(..)";

/// How many credentials are known: what a server quotes late was sent a while ago.
const WORDS_MAX: usize = 12;

/// How often escapes are taken off: of a percent-escaped text in a JSON string in another one.
const ESCAPES_DEPTH: usize = 3;

impl Blotter {
    /// Takes what stands in the header `Authorization`.
    pub(crate) fn learn_header(&self, authorization: &Secret) {
        if let Some((_, credential)) = authorization.reveal().split_once(' ') {
            self.learn(credential);
        }
    }

    /// Takes a user's password, of the server or of a proxy.
    pub(crate) fn learn_password(&self, user: &str, password: &str) {
        self.learn(password);
        self.learn(&[user, password].join(":"));
    }

    #[inline(never)]
    fn learn(&self, word: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.words.iter().any(|known| known.reveal() == word) {
            return;
        }
        if known.words.len() == WORDS_MAX {
            known.words.remove(0);
        }
        known.words.push(Secret::new(word));
        known.parts = Arc::new(Parts::of(&known.words));
    }

    /// The text without credentials; `None` where there are none in it.
    pub fn blot(&self, text: &str) -> Option<String> {
        self.blot_bytes(text.as_bytes()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The same of a text that is no longer needed.
    pub fn blotted(&self, text: String) -> String {
        self.blot(&text).unwrap_or(text)
    }

    /// The same of bytes.
    pub(crate) fn blot_bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let parts = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner).parts);
        let marked = parts.marked_in(bytes)?;
        let mut blotted = Vec::with_capacity(bytes.len());
        for (at, byte) in bytes.iter().enumerate() {
            if !marked[at] {
                blotted.push(*byte);
            } else if at == 0 || !marked[at - 1] {
                blotted.extend_from_slice(BLOT.as_bytes());
            }
        }
        Some(blotted)
    }
}

impl Parts {
    fn of(words: &[Secret]) -> Self {
        let mut all = Self::default();
        for word in words.iter().map(|word| word.reveal().as_bytes()).filter(|word| word.len() >= WORD_BYTES_MIN) {
            all.add(word);
            all.add(STANDARD.encode(word).as_bytes());
            // Wherever it stands in what is encoded: a base64 digit has six bits, so that three places differ.
            for before in 0..3 {
                let padded = [&[0; 3][..before], word].concat();
                let whole = (before * 8).div_ceil(6)..padded.len() * 8 / 6;
                let encoded = &STANDARD.encode(&padded).into_bytes()[whole];
                all.add(encoded);
                all.add(&encoded.iter().map(|digit| url_safe(*digit)).collect::<Vec<_>>());
            }
        }
        all
    }

    fn add(&mut self, word: &[u8]) {
        if self.filter.is_empty() {
            self.filter = vec![0; 1 << (FILTER_BITS - u64::BITS.ilog2())];
        }
        for window in word.windows(PART_BYTES) {
            let (index, bit) = bit_of(part_of(window));
            self.filter[index] |= bit;
        }
        self.words.push(word.to_vec());
    }

    /// For each byte whether it is a part of a credential; `None` where none is.
    fn marked_in(&self, bytes: &[u8]) -> Option<Vec<bool>> {
        if self.words.is_empty() {
            return None;
        }
        let (mut marked, mut view) = (vec![false; bytes.len()], View::of(bytes));
        let mut is_any = self.mark(&view, &mut marked);
        for _ in 0..ESCAPES_DEPTH {
            let Some(plain) = view.unescaped() else { break };
            is_any |= self.mark(&plain, &mut marked);
            view = plain;
        }
        is_any.then_some(marked)
    }

    /// Marks what is found in a view. Returns whether anything was.
    fn mark(&self, view: &View, marked: &mut [bool]) -> bool {
        let mut is_any = false;
        let mut mark = |place: Range<usize>| {
            marked[view.place_of(place)].fill(true);
            is_any = true;
        };
        for (at, window) in view.bytes.windows(PART_BYTES).enumerate() {
            let (index, bit) = bit_of(part_of(window));
            if self.filter[index] & bit != 0 && self.words.iter().any(|word| holds(word, window)) {
                mark(at..at + PART_BYTES);
            }
        }
        for word in self.words.iter().filter(|word| word.len() < PART_BYTES) {
            for (at, _) in view.bytes.windows(word.len()).enumerate().filter(|(_, window)| *window == word.as_slice()) {
                mark(at..at + word.len());
            }
        }
        is_any
    }
}

/// The digit of base64 in URLs (RFC 4648, section 5).
fn url_safe(digit: u8) -> u8 {
    match digit {
        b'+' => b'-',
        b'/' => b'_',
        other => other,
    }
}

fn holds(word: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(word, part).is_some()
}

fn part_of(window: &[u8]) -> u64 {
    u64::from_le_bytes(window.try_into().expect("a window is as long as a part"))
}

/// The word of the filter that is for a part, and the bit in it.
fn bit_of(part: u64) -> (usize, u64) {
    // Fibonacci hashing: the upper bits depend on all of the part.
    let hash = part.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - FILTER_BITS);
    let word = usize::try_from(hash / u64::from(u64::BITS)).expect("the filter is in memory");
    (word, 1 << (hash % u64::from(u64::BITS)))
}

/// A text without its escapes, and where each of its bytes stood.
struct View {
    bytes: Vec<u8>,
    /// One for each byte, and one for the end.
    places: Vec<usize>,
}

impl View {
    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), places: (0..=bytes.len()).collect() }
    }

    fn place_of(&self, place: Range<usize>) -> Range<usize> {
        self.places[place.start]..self.places[place.end]
    }

    /// The same with percent and backslash escapes taken off; `None` where there are none.
    fn unescaped(&self) -> Option<Self> {
        memchr::memchr2(b'%', b'\\', &self.bytes)?;
        let (mut bytes, mut places) = (Vec::with_capacity(self.bytes.len()), Vec::new());
        let mut at = 0;
        while at < self.bytes.len() {
            let (meaning, length) = escape_at(&self.bytes[at..]).unwrap_or((self.bytes[at], 1));
            bytes.push(meaning);
            places.push(self.places[at]);
            at += length;
        }
        places.push(self.places[self.bytes.len()]);
        Some(Self { bytes, places })
    }
}

/// What the escape at the front means, and its length. What a header may carry is one byte a character.
fn escape_at(bytes: &[u8]) -> Option<(u8, usize)> {
    let hex = |digits: &[u8]| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok();
    match *bytes {
        [b'%', high, low, ..] => hex(&[high, low]).map(|byte| (byte, 3)),
        [b'\\', b'u', b'0', b'0', high, low, ..] => hex(&[high, low]).map(|byte| (byte, 6)),
        [b'\\', b'x', high, low, ..] if hex(&[high, low]).is_some() => hex(&[high, low]).map(|byte| (byte, 4)),
        [b'\\', escaped, ..] => Some((escaped, 2)),
        _ => None,
    }
}

impl fmt::Debug for Blotter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Blotter(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::URL_SAFE;

    const TOKEN: &str = "eyJhbGciOi.JSUzI1+NiIsIm/tpZCI6=\"x";

    fn of_token(token: &str) -> Blotter {
        let blotter = Blotter::default();
        blotter.learn_header(&Secret::new(format!("Bearer {token}")));
        blotter
    }

    #[track_caller]
    fn check(blotter: &Blotter, text: &str, expected: &str) {
        assert_eq!(blotter.blotted(text.to_owned()), expected, "{text}");
    }

    #[test]
    fn a_token_is_blotted_however_it_is_escaped_and_encoded() {
        let blotter = of_token(TOKEN);
        check(&blotter, &format!("Bearer {TOKEN}, and more"), "Bearer (..), and more");
        let percent: String = TOKEN.bytes().map(|byte| format!("%{byte:02x}")).collect();
        check(&blotter, &format!("a={percent}&b=%41"), "a=(..)&b=%41");
        check(
            &blotter,
            &format!("a={}&b", TOKEN.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D").replace('"', "%22")),
            "a=(..)&b",
        );
        let units: String = TOKEN.bytes().map(|byte| format!("\\u{byte:04X}")).collect();
        check(&blotter, &format!("{{\"t\":\"{units}\"}}"), "{\"t\":\"(..)\"}");
        let json = serde_json::to_string(TOKEN).unwrap().replace('/', "\\/");
        check(&blotter, &format!("{{\"t\":{json}}}"), "{\"t\":\"(..)\"}");
        let twice = serde_json::to_string(&json).unwrap();
        assert!(!blotter.blotted(twice.clone()).contains("NiIsIm"), "{twice}");
        for text in [TOKEN.to_owned(), format!("Bearer {TOKEN}"), format!("a{TOKEN}bc")] {
            let blotted = blotter.blotted(STANDARD.encode(&text));
            assert!(blotted.contains(BLOT) && blotted.len() <= 4 * 7 + BLOT.len(), "{text}: {blotted}");
            let blotted = blotter.blotted(URL_SAFE.encode(&text));
            assert!(blotted.contains(BLOT) && blotted.len() <= 4 * 7 + BLOT.len(), "{text}: {blotted}");
        }
    }

    #[test]
    fn a_part_of_one_is_blotted_wherever_it_was_cut() {
        let blotter = of_token(TOKEN);
        for start in 0..TOKEN.len() - PART_BYTES {
            for end in start + PART_BYTES..=TOKEN.len() {
                check(&blotter, &format!("<{}>", &TOKEN[start..end]), "<(..)>");
            }
        }
        check(&blotter, &format!("<{}>", &TOKEN[..PART_BYTES - 1]), "<eyJhbGc>");
        check(&blotter, &format!("{TOKEN} {TOKEN}"), "(..) (..)");
    }

    #[test]
    fn of_basic_auth_and_of_a_proxy_pair_and_password_are_blotted_in_both_forms() {
        let blotter = Blotter::default();
        let header = Secret::new(format!("Basic {}", STANDARD.encode("joe:hunter2:and3")));
        blotter.learn_header(&header);
        blotter.learn_password("joe", "hunter2:and3");
        blotter.learn_password("ann", "s%3cret");
        check(&blotter, header.reveal(), "Basic (..)");
        check(&blotter, "joe:hunter2:and3", "(..)");
        check(&blotter, "the password hunter2:and3 is wrong", "the password (..) is wrong");
        check(&blotter, &STANDARD.encode("ann:s%3cret"), "(..)");
        check(&blotter, "s%3cret and s%253cret", "(..) and (..)");
        check(&blotter, "joe and ann", "joe and ann");
    }

    #[test]
    fn the_last_few_logins_are_known_and_nothing_where_there_is_none() {
        let blotter = Blotter::default();
        check(&blotter, TOKEN, TOKEN);
        for number in 0..=WORDS_MAX {
            blotter.clone().learn_header(&Secret::new(format!("Bearer {number:02}{number:02}token-{number:02}-of-a-day")));
        }
        check(&blotter, "1212token-12-of-a-day 0101token-01-of-a-day", "(..) (..)");
        check(&blotter, "short: 0000to", "short: 0000to");
        let short = of_token("abcd");
        check(&short, "xabcdx %61bcd abc", "x(..)x (..) abc");
        assert_eq!(format!("{short:?}"), "Blotter(..)");
    }

    #[test]
    fn what_is_no_utf8_and_what_only_looks_like_an_escape_stays() {
        let blotter = of_token(TOKEN);
        assert_eq!(blotter.blot_bytes(b"\xff%\\"), None);
        check(&blotter, "100% of \\ and %zz \\u00", "100% of \\ and %zz \\u00");
        let mixed = [b"\xff", TOKEN.as_bytes(), b"\xfe"].concat();
        assert_eq!(blotter.blot_bytes(&mixed).unwrap(), b"\xff(..)\xfe");
    }
}

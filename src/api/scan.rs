//! Finds metadata in an object's bytes: one pass, no further than needed, nothing allocated.
//!
//! Takes the bytes of a JSON object, gives the places of `kind` and of what Faro wants from `metadata`. What is found is
//! fully checked (UTF-8, escapes, no control characters); what is skipped is only followed to its end. Each value is the first
//! one present under its key. Reading ends with `metadata`, or at `managedFields` where the rest is known to be behind:
//! built-in types send it last, custom resources send keys in alphabetical order, with `name` and `uid` after it.

use super::DecodeError;
use super::json_text::{check_text, unescape};
use memchr::memchr2;
use std::borrow::Cow;
use std::ops::Range;

/// A half-open byte range; an empty one means absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

/// Where an object's identity stands in its bytes: texts without their quotes, maps with their braces.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spans {
    pub(super) kind: Span,
    pub(super) namespace: Span,
    pub(super) name: Span,
    pub(super) uid: Span,
    pub(super) version: Span,
    pub(super) labels: Span,
    pub(super) annotations: Span,
    /// The value of `metadata` from its brace on: to its end, or as far as it was read.
    pub(super) metadata: Span,
    /// What was seen in passing of the annotations.
    pub(super) marks: Marks,
}

/// What a map's entries are looked at for while they are checked, so that hardly any map is read twice.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    /// A key ends with one of [`COPY_ENDS`], or has an escape and may mean one that does.
    pub(super) may_hold_copy: bool,
    /// How many bytes the longest value has, its escapes counted as they stand.
    pub(super) longest: u32,
}

/// How the names of annotations end that hold copies of objects; which do is for [`change`](crate::change) to say.
pub(crate) const COPY_ENDS: [&[u8; 8]; 7] =
    [b"-applied", b"/applied", b"d-config", b"guration", b"iff-full", b"nal-diff", b"original"];

/// A place in JSON text, and the steps from it.
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Where a key and its value stand in a map of strings, without their quotes.
pub(super) type Entry = (Range<usize>, Range<usize>);

/// The same, and between them whether the key was seen to be plain.
type SeenEntry = (Range<usize>, bool, Range<usize>);

/// What is said of JSON that is only the beginning of some.
pub(super) const ENDS_EARLY: &str = "the JSON ends too early";
pub(super) const NO_STRING_END: &str = "the string has no end";

/// Deepest nesting that is followed. The API server's own decoder, Go's `encoding/json`, refuses more.
const NESTING_MAX: usize = 10_000;

/// How far a string's end is looked for a word at a time: most keys and values end before a vectorised search has begun.
const NEAR_BYTES: usize = 4 * WORD_BYTES;
const WORD_BYTES: usize = size_of::<u64>();

/// Finds the metadata of the object that `bytes` hold; absent fields are empty.
pub(super) fn find_metadata(bytes: &[u8]) -> Result<Spans, DecodeError> {
    if u32::try_from(bytes.len()).is_err() {
        return Err(DecodeError::new("the object is longer than 4 GiB", 0));
    }
    let mut scanner = Scanner::new(bytes);
    let mut spans = Spans::default();
    scanner.open_object()?;
    let mut first = true;
    while let Some(key) = scanner.next_key(&mut first)? {
        match &*key {
            b"kind" => scanner.text_into(&mut spans.kind)?,
            b"metadata" => {
                if scanner.metadata_into(&mut spans)? {
                    return Ok(spans);
                }
            }
            _ => scanner.skip_value()?,
        }
    }
    Ok(spans)
}

impl Marks {
    /// `is_plain`: the key was seen to hold no escape.
    fn note(&mut self, key: &[u8], is_plain: bool, value_bytes: usize) {
        self.longest = self.longest.max(u32::try_from(value_bytes).unwrap_or(u32::MAX));
        let ends_so = key.last_chunk().is_some_and(|end| COPY_ENDS.contains(&end));
        self.may_hold_copy |= ends_so || (!is_plain && key.contains(&b'\\'));
    }
}

impl Span {
    pub(super) fn new(range: Range<usize>) -> Self {
        let narrow = |at| u32::try_from(at).expect("objects are shorter than 4 GiB");
        Self { start: narrow(range.start), end: narrow(range.end) }
    }

    pub(super) fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub(super) fn end(self) -> usize {
        self.end as usize
    }

    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte that is no white space, not taken.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !is_space(byte) {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Where the next [`peek`](Self::peek) begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn fail(&self, what: &'static str) -> DecodeError {
        DecodeError::new(if self.at >= self.bytes.len() { ENDS_EARLY } else { what }, self.at)
    }

    pub(crate) fn open_object(&mut self) -> Result<(), DecodeError> {
        self.take(b'{', "expected an object")
    }

    /// The next key of the object that was opened, and past its colon; `None` past the closing brace.
    pub(crate) fn next_key(&mut self, first: &mut bool) -> Result<Option<Cow<'a, [u8]>>, DecodeError> {
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(None);
        }
        if !std::mem::take(first) {
            self.take(b',', "expected `,` or `}`")?;
        }
        let (key, is_plain) = self.string()?;
        let raw = &self.bytes[key];
        self.take(b':', "expected `:`")?;
        if is_plain || !raw.contains(&b'\\') {
            return Ok(Some(Cow::Borrowed(raw)));
        }
        check_text(raw).map_err(|what| self.fail(what))?;
        Ok(Some(Cow::Owned(unescape(&String::from_utf8_lossy(raw)).into_owned().into_bytes())))
    }

    /// A string, checked; its place without the quotes.
    pub(crate) fn text(&mut self) -> Result<Range<usize>, DecodeError> {
        self.seen_text().map(|(range, _)| range)
    }

    /// The same, and whether it was seen to be plain.
    fn seen_text(&mut self) -> Result<(Range<usize>, bool), DecodeError> {
        let (range, is_plain) = self.string()?;
        if !is_plain {
            check_text(&self.bytes[range.clone()]).map_err(|what| DecodeError::new(what, range.start))?;
        }
        Ok((range, is_plain))
    }

    /// Past the value that comes next.
    pub(crate) fn skip_value(&mut self) -> Result<(), DecodeError> {
        match self.peek() {
            Some(b'"') => self.skip_string().map(|_| ()),
            Some(b'{' | b'[') => self.skip_nested(),
            _ => self.skip_scalar(),
        }
    }

    /// Past the value that comes next; its place.
    pub(crate) fn value(&mut self) -> Result<Range<usize>, DecodeError> {
        self.peek();
        let start = self.at;
        self.skip_value()?;
        Ok(start..self.at)
    }

    /// Whether a `null` stands at this place, as [`value`](Self::value) gave it.
    pub(super) fn is_null(&self, place: &Range<usize>) -> bool {
        &self.bytes[place.clone()] == b"null"
    }

    /// The places of an array's elements; `null` has none.
    pub(crate) fn elements_or_null(&mut self) -> Result<Vec<Range<usize>>, DecodeError> {
        let mut elements = Vec::new();
        if self.take_null() {
            return Ok(elements);
        }
        self.open_array()?;
        while self.next_element(elements.is_empty())? {
            elements.push(self.value()?);
        }
        Ok(elements)
    }

    pub(crate) fn open_array(&mut self) -> Result<(), DecodeError> {
        self.take(b'[', "expected an array")
    }

    /// To the next element of the array that was opened; `false` past the closing bracket.
    pub(crate) fn next_element(&mut self, first: bool) -> Result<bool, DecodeError> {
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(false);
        }
        if !first {
            self.take(b',', "expected `,` or `]`")?;
        }
        Ok(true)
    }

    /// Reads `metadata` and tells whether it was an object, after which nothing more is wanted.
    fn metadata_into(&mut self, spans: &mut Spans) -> Result<bool, DecodeError> {
        if self.take_null() {
            return Ok(false);
        }
        self.open_object()?;
        let start = self.at - 1;
        let mut first = true;
        while let Some(key) = self.next_key(&mut first)? {
            match &*key {
                b"name" => self.text_into(&mut spans.name)?,
                b"namespace" => self.text_into(&mut spans.namespace)?,
                b"uid" => self.text_into(&mut spans.uid)?,
                b"resourceVersion" => self.text_into(&mut spans.version)?,
                b"labels" => self.map_into(&mut spans.labels, None)?,
                b"annotations" => self.map_into(&mut spans.annotations, Some(&mut spans.marks))?,
                b"managedFields" if !spans.name.is_empty() && !spans.version.is_empty() => {
                    spans.metadata = Span::new(start..self.at);
                    return Ok(true);
                }
                _ => self.skip_value()?,
            }
        }
        spans.metadata = Span::new(start..self.at);
        match self.peek() {
            Some(b',' | b'}') => Ok(true),
            _ => Err(self.fail("expected `,` or `}`")),
        }
    }

    fn text_into(&mut self, span: &mut Span) -> Result<(), DecodeError> {
        if self.take_null() {
            return Ok(());
        }
        let range = self.text()?;
        if span.is_empty() {
            *span = Span::new(range);
        }
        Ok(())
    }

    fn map_into(&mut self, span: &mut Span, mut marks: Option<&mut Marks>) -> Result<(), DecodeError> {
        if self.take_null() {
            return Ok(());
        }
        self.open_object()?;
        let start = self.at - 1;
        let mut count = 0;
        while let Some((key, is_plain, value)) = self.next_seen_entry(count == 0)? {
            if let Some(marks) = &mut marks {
                marks.note(&self.bytes[key], is_plain, value.len());
            }
            count += 1;
        }
        let range = start..self.at;
        if memchr2(b'\n', b'\r', &self.bytes[range.clone()]).is_some() {
            return Err(DecodeError::new("labels or annotations are spread over lines", start));
        }
        if count > 0 && span.is_empty() {
            *span = Span::new(range);
        }
        Ok(())
    }

    /// The next key and value of an opened map of strings, both checked, without their quotes; `None` past the closing brace.
    pub(super) fn next_map_entry(&mut self, first: bool) -> Result<Option<Entry>, DecodeError> {
        Ok(self.next_seen_entry(first)?.map(|(key, _, value)| (key, value)))
    }

    /// The same, and whether the key was seen to be plain.
    fn next_seen_entry(&mut self, first: bool) -> Result<Option<SeenEntry>, DecodeError> {
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(None);
        }
        if !first {
            self.take(b',', "expected `,` or `}`")?;
        }
        let (key, is_plain) = self.seen_text()?;
        self.take(b':', "expected `:`")?;
        Ok(Some((key, is_plain, self.text()?)))
    }

    fn take(&mut self, wanted: u8, what: &'static str) -> Result<(), DecodeError> {
        if self.peek() != Some(wanted) {
            return Err(self.fail(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Past a `null`, when one comes next.
    pub(crate) fn take_null(&mut self) -> bool {
        let is_null = self.peek() == Some(b'n') && self.bytes[self.at..].starts_with(b"null");
        if is_null {
            self.at += 4;
        }
        is_null
    }

    fn skip_string(&mut self) -> Result<Range<usize>, DecodeError> {
        self.string().map(|(range, _)| range)
    }

    /// The place of a string without its quotes, and whether it is plain, as [`string_end`](Self::string_end) says it.
    fn string(&mut self) -> Result<(Range<usize>, bool), DecodeError> {
        self.take(b'"', "expected a string")?;
        let start = self.at;
        let (end, is_plain) = self.string_end(start)?;
        self.at = end + 1;
        Ok((start..end, is_plain))
    }

    /// Where the closing quote of the string is whose first byte is at `start`, and whether the string was seen to be plain:
    /// printable ASCII without escapes, so that there is nothing to check.
    fn string_end(&self, start: usize) -> Result<(usize, bool), DecodeError> {
        let mut at = start;
        let mut odd = 0;
        while at < start + NEAR_BYTES
            && let Some(word) = self.bytes.get(at..).and_then(<[u8]>::first_chunk)
        {
            let word = u64::from_le_bytes(*word);
            let ends = equal(word, b'"') | equal(word, b'\\');
            // Of the word's bytes those before the first end.
            let before = (ends & ends.wrapping_neg()).wrapping_sub(1);
            odd |= (word | below(word, b' ')) & HIGH_BITS & before;
            if ends != 0 {
                at += ends.trailing_zeros() as usize / 8;
                if self.bytes[at] == b'"' {
                    return Ok((at, odd == 0));
                }
                // An escape; what it means is for a check to say.
                odd = HIGH_BITS;
                at += 2;
            } else {
                at += WORD_BYTES;
            }
        }
        self.far_string_end(start, at).map(|end| (end, false))
    }

    /// The same for a string that has no quote before `at`.
    fn far_string_end(&self, start: usize, mut at: usize) -> Result<usize, DecodeError> {
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let found = memchr2(b'"', b'\\', rest).ok_or_else(|| DecodeError::new(NO_STRING_END, start))?;
            at += found;
            if rest[found] == b'"' {
                return Ok(at);
            }
            at += 2;
        }
    }

    fn skip_nested(&mut self) -> Result<(), DecodeError> {
        let mut depth = 0;
        // In a variable of its own: every byte comes by here.
        let mut at = self.at;
        while let Some(&byte) = self.bytes.get(at) {
            at += 1;
            match byte {
                b'"' => at = self.string_end(at)?.0 + 1,
                b'{' | b'[' if depth == NESTING_MAX => {
                    self.at = at - 1;
                    return Err(self.fail("the JSON is nested too deep"));
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        self.at = at;
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
        self.at = at;
        Err(self.fail(""))
    }

    fn skip_scalar(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        let is_scalar = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        while self.bytes.get(self.at).is_some_and(is_scalar) {
            self.at += 1;
        }
        if self.at == start { Err(self.fail("expected a value")) } else { Ok(()) }
    }
}

const LOW_BITS: u64 = u64::from_le_bytes([0x01; WORD_BYTES]);
const HIGH_BITS: u64 = u64::from_le_bytes([0x80; WORD_BYTES]);

/// The high bit of each byte of `word` that is `byte`; above the first such byte others may be set, too.
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (LOW_BITS * u64::from(byte)), 1)
}

/// The high bit of each byte of `word` that is less than `limit`, at most 0x80; above the first such byte others may be set, too.
fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(LOW_BITS * u64::from(limit)) & !word & HIGH_BITS
}

/// White space as RFC 8259 defines it.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// The same JSON without white space between its tokens.
pub(crate) fn compact(json: &[u8]) -> Vec<u8> {
    let mut compacted = Vec::with_capacity(json.len());
    let mut scanner = Scanner::new(json);
    while let Some(byte) = scanner.peek() {
        let start = scanner.at;
        if byte != b'"' || scanner.skip_string().is_err() {
            scanner.at = start + 1;
        }
        compacted.extend_from_slice(&json[start..scanner.at]);
    }
    compacted
}

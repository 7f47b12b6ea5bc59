//! Reads a page of a list as it arrives, object by object.
//!
//! Takes the bytes of an answer, already unpacked; gives each object as soon as it is whole, then the end. Promises that no more of
//! it is held than a window of [`WINDOW_BYTES`], or up to [`OBJECT_BYTES_MAX`] for one object after [`widen`](PageReader::widen);
//! that a larger object is passed over without being kept, and said; and that a page is read for no longer and is no longer than
//! its limits.

use super::framing::Follower;
use super::http::{BodyLimit, read_error};
use super::{Error, LINE_BYTES_MAX};
use crate::api::{DecodeError, ListMetadata, ObjectRef, ResourceVersion, Scanner, compact, mended, read_part};
use std::fmt;
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::time::{Duration, Instant};

/// How much of a page is held at once. Of usual objects it is all of them.
pub const WINDOW_BYTES: usize = 1024 * 1024;

/// Largest object of a page that is read; of a watch it is the same.
pub const OBJECT_BYTES_MAX: usize = LINE_BYTES_MAX;

/// Longest page, unpacked. 500 objects of the 1.5 MiB that etcd accepts would be more; smaller pages fit. 500 usual objects come
/// within a minute at 50 KB/s, 20 of them at 1 KB/s; what does not is asked for in smaller pages.
const PAGE_LIMIT: BodyLimit = BodyLimit { bytes: 256 * 1024 * 1024, time: Duration::from_secs(60) };

/// Where the window begins: a page may be a few bytes long.
const WINDOW_BYTES_MIN: usize = 16 * 1024;

/// A page of a list, read as it comes.
pub struct PageReader<'a> {
    request: String,
    server: String,
    response: Box<dyn Read + 'a>,
    limit: BodyLimit,
    /// How long it was read so far: time in which nobody reads does not count.
    reading: Duration,
    /// When the last read ended.
    last_read: Instant,
    received: u64,
    ended: bool,
    /// Always written to its end; only `at..filled` means something.
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    /// How much may be held.
    window: usize,
    /// How many bytes came before the buffer's first.
    passed: usize,
    place: Place,
    kind: Option<String>,
    metadata: Option<(Option<ResourceVersion>, Option<String>)>,
    objects: u64,
    has_items: bool,
    /// An object that was spread over lines, on one.
    one_line: Vec<u8>,
    /// An object as Go reads it.
    mended: Vec<u8>,
}

/// What comes next in a page.
#[derive(Debug)]
pub enum PageItem<'a> {
    /// The objects begin: what the list says of itself before them has come.
    Front,
    /// An object, or why it cannot be read. Read as Go reads them are `null` labels and annotations, and lone surrogates.
    Object(Result<ObjectRef<'a>, DecodeError>),
    /// An object that is larger than the window: it comes once that [is wider](PageReader::widen).
    Wide,
    /// The page has come whole.
    End,
}

/// Where in the list the next byte is.
#[derive(Debug)]
enum Place {
    Start,
    Members {
        first: bool,
    },
    Items,
    /// Within an object that is too large.
    Passing {
        follower: Follower,
        error: DecodeError,
    },
    /// Behind its closing brace.
    Behind,
}

enum Step {
    Front,
    /// It goes on in what has yet to come.
    More,
    /// To something that nobody asks for.
    Onward,
    Object(Range<usize>),
    Passed(DecodeError),
    End,
}

impl<'a> PageReader<'a> {
    /// Reads nothing yet. `request` and `server` are for errors.
    pub fn new(request: impl Into<String>, server: impl Into<String>, response: Box<dyn Read + 'a>) -> Self {
        Self {
            request: request.into(),
            server: server.into(),
            response,
            limit: PAGE_LIMIT,
            reading: Duration::ZERO,
            last_read: Instant::now(),
            received: 0,
            ended: false,
            buffer: Vec::new(),
            at: 0,
            filled: 0,
            window: WINDOW_BYTES,
            passed: 0,
            place: Place::Start,
            kind: None,
            metadata: None,
            objects: 0,
            has_items: false,
            one_line: Vec::new(),
            mended: Vec::new(),
        }
    }

    /// A page that is here already.
    pub fn of(body: Vec<u8>) -> Self {
        Self::new("list", "", Box::new(Cursor::new(body)))
    }

    /// The same, of which `front` was read before.
    pub(super) fn after(self, front: Vec<u8>) -> Self {
        let filled = front.len();
        Self { buffer: front, filled, received: filled as u64, ..self }
    }

    /// The next object, or the end.
    ///
    /// # Errors
    ///
    /// As the connection fails; [`Error::TooSlow`] and [`Error::TooLong`] beyond the limits of a page; [`Error::Undecodable`] where
    /// it is no list. After an error nothing of the page counts.
    ///
    /// # Blocking
    ///
    /// Until the window is full or the page has come whole, when no whole object is held.
    pub fn next_item(&mut self) -> Result<PageItem<'_>, Error> {
        loop {
            match self.step().map_err(|error| self.no_list(&error))? {
                Step::Front => return Ok(PageItem::Front),
                Step::Object(range) => return Ok(PageItem::Object(self.object(range))),
                Step::Passed(error) => return Ok(PageItem::Object(Err(error))),
                Step::End => return Ok(PageItem::End),
                Step::Onward => {}
                Step::More if self.ended => return Err(self.no_list(&DecodeError::new("the list has no end", self.passed))),
                Step::More if self.filled - self.at < self.window => self.fill()?,
                Step::More => match self.place {
                    Place::Items if self.window < OBJECT_BYTES_MAX => return Ok(PageItem::Wide),
                    Place::Items => self.pass_object().map_err(|error| self.no_list(&error))?,
                    Place::Start | Place::Members { .. } | Place::Passing { .. } | Place::Behind => {
                        let reason = format!("what stands around the objects is longer than {WINDOW_BYTES} bytes");
                        return Err(Error::Undecodable { request: self.request.clone(), reason });
                    }
                },
            }
        }
    }

    /// Lets more be held, for the object that comes next. Step by step, so that little of what follows it is held besides.
    pub fn widen(&mut self) {
        self.window = (self.window + WINDOW_BYTES).min(OBJECT_BYTES_MAX);
    }

    /// Gives the memory of a large object back.
    pub fn narrow(&mut self) {
        self.window = WINDOW_BYTES;
        (self.one_line, self.mended) = (Vec::new(), Vec::new());
        let mut small = self.buffer[self.at..self.filled].to_vec();
        self.passed += self.at;
        (self.at, self.filled) = (0, small.len());
        small.shrink_to_fit();
        self.buffer = small;
    }

    /// `kind` of the list, as in `PodList` or `PartialObjectMetadataList`; `None` where it has not come.
    pub fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// The version of the list; `None` where it has not come. It has at the end.
    pub fn version(&self) -> Option<&ResourceVersion> {
        self.metadata.as_ref().and_then(|(version, _)| version.as_ref())
    }

    /// The token that asks for the next page; `None` on the last, and where it has not come.
    pub fn next_page(&self) -> Option<&str> {
        self.metadata.as_ref().and_then(|(_, next)| next.as_deref())
    }

    /// How many objects were given out.
    pub fn objects(&self) -> u64 {
        self.objects
    }

    /// How many bytes have come, unpacked.
    pub fn bytes_received(&self) -> u64 {
        self.received
    }

    /// How long it took to read what has come.
    pub fn time_reading(&self) -> Duration {
        self.reading
    }

    /// For how long the server waits to be read; `None` when everything has come.
    pub fn unread_for(&self) -> Option<Duration> {
        (!self.ended).then(|| self.last_read.elapsed())
    }

    /// All of the bytes: for whoever looks at a page without its objects.
    ///
    /// # Errors
    ///
    /// As for [`next_item`](Self::next_item).
    ///
    /// # Blocking
    ///
    /// Until it has come whole.
    pub fn into_body(mut self) -> Result<Vec<u8>, Error> {
        self.window = usize::MAX;
        self.fill()?;
        self.buffer.truncate(self.filled);
        Ok(self.buffer)
    }

    /// Finds what stands at the front of what is held.
    fn step(&mut self) -> Result<Step, DecodeError> {
        if let Place::Passing { follower, .. } = &mut self.place {
            // It follows each part from its beginning.
            follower.at = 0;
            let end = follower.follow(&self.buffer[self.at..self.filled]);
            return Ok(self.passed_to(end));
        }
        let bytes = &self.buffer[self.at..self.filled];
        let mut scanner = Scanner::new(bytes);
        let found = match self.place {
            Place::Start => scanner.open_object().map(|()| Found::Opened),
            Place::Members { first } => member(&mut scanner, bytes, first, self.ended),
            Place::Items => element(&mut scanner, bytes, self.objects == 0, self.ended),
            Place::Passing { .. } => unreachable!("it was looked at"),
            Place::Behind => match scanner.peek() {
                Some(_) => Err(scanner.fail("the list has ended, but not its bytes")),
                None => Ok(Found::Nothing),
            },
        };
        let (begin, end) = (self.at, self.at + scanner.at());
        let found = match found {
            Err(error) if !self.ended && error.is_incomplete() => return Ok(Step::More),
            Ok(Found::Nothing) if !self.ended => {
                self.at = end;
                return Ok(Step::More);
            }
            found => found.map_err(|error| error.moved(self.passed + begin))?,
        };
        self.at = end;
        self.take(found, begin)
    }

    /// Goes on behind what was found; `begin`: where what was held began.
    fn take(&mut self, found: Found, begin: usize) -> Result<Step, DecodeError> {
        let fail = |what| DecodeError::new(what, self.passed + begin);
        match found {
            Found::Element(element) => {
                self.objects += 1;
                return Ok(Step::Object(begin + element.start..begin + element.end));
            }
            Found::Items | Found::NoItems if self.has_items => return Err(fail("the list has items twice")),
            Found::Items | Found::NoItems => {
                self.place = if matches!(found, Found::Items) { Place::Items } else { Place::Members { first: false } };
                self.has_items = true;
                return Ok(Step::Front);
            }
            Found::Opened => self.place = Place::Members { first: true },
            Found::Closed => self.place = Place::Behind,
            Found::Kind(kind) => (self.place, self.kind) = (Place::Members { first: false }, Some(kind.unwrap_or_default())),
            Found::Metadata(metadata) => {
                (self.place, self.metadata) = (Place::Members { first: false }, Some(metadata.into_parts()));
            }
            Found::Other => self.place = Place::Members { first: false },
            Found::Nothing if !self.has_items => return Err(fail("the list has no items")),
            Found::Nothing if self.version().is_none() => return Err(fail("the list has no metadata.resourceVersion")),
            Found::Nothing => return Ok(Step::End),
        }
        Ok(Step::Onward)
    }

    /// Begins to pass over the object that comes next.
    fn pass_object(&mut self) -> Result<(), DecodeError> {
        let mut scanner = Scanner::new(&self.buffer[self.at..self.filled]);
        scanner.next_element(self.objects == 0)?;
        let is_object = scanner.peek() == Some(b'{');
        self.at += scanner.at();
        if !is_object {
            return Err(DecodeError::new("something that is no object is longer than any", self.passed + self.at));
        }
        let what = format!("the object is longer than {OBJECT_BYTES_MAX} bytes, the most that is read of one: make it smaller");
        let error = DecodeError::new(what, self.passed + self.at).about_beginning(&self.buffer[self.at..self.filled]);
        self.objects += 1;
        self.place = Place::Passing { follower: Follower::default(), error };
        Ok(())
    }

    /// The object that is passed over ends so many bytes further, or goes on.
    fn passed_to(&mut self, end: Option<usize>) -> Step {
        let Some(end) = end else {
            self.at = self.filled;
            return Step::More;
        };
        self.at += end;
        match std::mem::replace(&mut self.place, Place::Items) {
            Place::Passing { error, .. } => Step::Passed(error),
            Place::Start | Place::Members { .. } | Place::Items | Place::Behind => Step::Onward,
        }
    }

    fn object(&mut self, place: Range<usize>) -> Result<ObjectRef<'_>, DecodeError> {
        let mut bytes = &self.buffer[place];
        if memchr::memchr2(b'\n', b'\r', bytes).is_some() {
            self.one_line = compact(bytes);
            bytes = &self.one_line;
        }
        match ObjectRef::scan(bytes) {
            Ok(object) => Ok(object),
            Err(error) => match mended(bytes) {
                Some(copy) => {
                    self.mended = copy;
                    ObjectRef::scan(&self.mended)
                }
                None => Err(error),
            },
        }
    }

    /// Reads until the window is full or the answer has ended.
    fn fill(&mut self) -> Result<(), Error> {
        self.buffer.copy_within(self.at..self.filled, 0);
        self.passed += self.at;
        (self.at, self.filled) = (0, self.filled - self.at);
        while self.filled < self.window && !self.ended {
            if self.filled == self.buffer.len() {
                let larger = (self.buffer.len() * 2).clamp(WINDOW_BYTES_MIN, self.window);
                self.buffer.resize(larger, 0);
            }
            if self.reading >= self.limit.time {
                return Err(Error::TooSlow { request: self.request.clone() });
            }
            let begin = Instant::now();
            let read = self.response.read(&mut self.buffer[self.filled..]);
            self.last_read = Instant::now();
            self.reading += self.last_read - begin;
            match read {
                Ok(read) => {
                    self.ended = read == 0;
                    self.filled += read;
                    self.received += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(slow_or_broken(read_error(&self.request, &self.server, error))),
            }
            if self.received > self.limit.bytes as u64 {
                return Err(Error::TooLong { request: self.request.clone(), limit_bytes: self.limit.bytes });
            }
        }
        Ok(())
    }

    fn no_list(&self, error: &DecodeError) -> Error {
        Error::Undecodable { request: self.request.clone(), reason: error.to_string() }
    }
}

/// A page whose bytes did not come in time is too slow; any other that breaks off is a broken connection.
pub(super) fn slow_or_broken(error: Error) -> Error {
    if let Error::Connection { request, source, .. } = &error
        && let Some(source) = source.downcast_ref::<io::Error>()
        // The kernel's own word is that of a peer that is gone.
        && source.kind() == io::ErrorKind::TimedOut && source.raw_os_error().is_none()
    {
        return Error::TooSlow { request: request.clone() };
    }
    error
}

/// What was found at the front of what is held.
enum Found {
    Opened,
    Kind(Option<String>),
    Metadata(ListMetadata),
    Items,
    NoItems,
    Other,
    Closed,
    Element(Range<usize>),
    Nothing,
}

fn member(scanner: &mut Scanner<'_>, bytes: &[u8], mut first: bool, ended: bool) -> Result<Found, DecodeError> {
    let Some(key) = scanner.next_key(&mut first)? else { return Ok(Found::Closed) };
    if &*key == b"items" && scanner.peek() == Some(b'[') {
        scanner.open_array()?;
        return Ok(Found::Items);
    }
    let value = whole_value(scanner, bytes, ended)?;
    match &*key {
        b"kind" => Ok(Found::Kind(read_part(bytes, value)?)),
        b"metadata" => Ok(Found::Metadata(read_part(bytes, value)?)),
        b"items" if &bytes[value.clone()] == b"null" => Ok(Found::NoItems),
        b"items" => Err(DecodeError::new("the items are no array", value.start)),
        _ => Ok(Found::Other),
    }
}

fn element(scanner: &mut Scanner<'_>, bytes: &[u8], first: bool, ended: bool) -> Result<Found, DecodeError> {
    Ok(if scanner.next_element(first)? { Found::Element(whole_value(scanner, bytes, ended)?) } else { Found::Other })
}

/// The value that comes next. What ends with the bytes goes on unless they have `ended`, but for what has an end of its own.
fn whole_value(scanner: &mut Scanner<'_>, bytes: &[u8], ended: bool) -> Result<Range<usize>, DecodeError> {
    let value = scanner.value()?;
    let has_end = ended || value.end < bytes.len() || matches!(bytes[value.end - 1], b'}' | b']' | b'"');
    if has_end { Ok(value) } else { Err(scanner.fail("a value goes on")) }
}

impl fmt::Debug for PageReader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageReader").field("request", &self.request).field("received", &self.received).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "page_reader_tests.rs"]
mod tests;

//! What an informer asks of a server: list, watch, the past, and whether a kind is served at all.

use super::{Blotter, Error, Interrupt, PageReader, ServerVersion};
use crate::api::ResourceVersion;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// One target on one server. Every call blocks its thread; [`Interrupt`] ends it from another.
pub trait ListWatch: Send {
    /// Asks for one page of a list; returns when the head of the answer is there. Consistent: asks for no version.
    ///
    /// # Errors
    ///
    /// As the server or the connection fails. For a target of which only metadata is asked, an answer of another kind is an error.
    fn list(&mut self, page: &PageRequest<'_>) -> Result<PageReader<'_>, Error>;

    /// Opens a watch; returns when the head of the answer is there.
    ///
    /// # Errors
    ///
    /// As the server or the connection fails.
    fn watch(&mut self, start: &WatchStart, timeout: Duration) -> Result<Box<dyn WatchLines + '_>, Error>;

    /// Asks fresh discovery whether the kind is served, and learns its scope from it. `proof` is what must speak for it
    /// before the kind is said to be absent.
    ///
    /// # Errors
    ///
    /// As the server or the connection fails.
    fn lookup(&mut self, proof: Proof) -> Result<Served, Error>;

    /// Asks for the server's version; `None` where it may not be read or is not one.
    ///
    /// # Errors
    ///
    /// As the server or the connection fails.
    fn version(&mut self) -> Result<Option<ServerVersion>, Error>;

    /// Whether it asks for the objects of all namespaces although some are configured: as it must of a kind that has none, whose
    /// definition may come back with another scope. Defaults to no.
    fn asks_everywhere(&self) -> bool {
        false
    }

    /// Counts the bytes of lists as they come, while a call blocks too, and one for each head. Defaults to a counter that stands
    /// still, for sources that carry no bytes.
    fn received(&self) -> Arc<AtomicU64> {
        Arc::default()
    }

    /// A handle that can end a call from another thread. Defaults to none, for sources that never block.
    fn interrupter(&self) -> Option<Interrupt> {
        None
    }

    /// Takes what requests carry out of texts. Defaults to one that knows nothing, for sources that carry nothing.
    fn blotter(&self) -> Blotter {
        Blotter::default()
    }

    /// Makes the next request go over a new connection, which may lead to another server behind the same address. Does nothing by
    /// default, for sources without connections.
    fn renew(&mut self) {}
}

/// How much of each object is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Its metadata only, which costs the server and the wire least.
    Metadata,
    /// The whole object.
    Object,
}

/// Which page of a list.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<'a> {
    /// At most so many objects.
    pub limit: u32,
    /// The token of the page before; `None` for the first.
    pub token: Option<&'a str>,
}

/// Which page of a list of the past.
#[derive(Clone, Copy, Debug)]
pub struct PastPage<'a> {
    /// At which version. A server that does not know how answers with another one.
    pub version: &'a ResourceVersion,
    /// At most so many objects.
    pub limit: u32,
    /// The token of the page before; `None` for the first.
    pub token: Option<&'a str>,
}

/// Where a watch begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchStart {
    /// With every object there is, then a bookmark: a streaming list.
    InitialEvents,
    /// After this version.
    After(ResourceVersion),
}

/// The lines of an open watch.
pub trait WatchLines {
    /// The next line, without its newline.
    ///
    /// # Errors
    ///
    /// When the connection breaks before the answer has ended.
    ///
    /// # Blocking
    ///
    /// Until a line is there, the answer ends, or [`READ_TICK`] passes without a byte.
    fn next(&mut self) -> Result<Line<'_>, Error>;

    /// Asks for a page of what was there at a version in the past: metadata only, by the selectors of this watch, which stays open
    /// meanwhile and is not read.
    ///
    /// # Errors
    ///
    /// [`Fault::Expired`](crate::api::Fault::Expired) when the server no longer has that version,
    /// [`Fault::UnknownVersion`](crate::api::Fault::UnknownVersion) when it never had; others as for [`ListWatch::list`].
    ///
    /// # Blocking
    ///
    /// As [`ListWatch::list`]. Defaults to an error, for sources that know nothing of the past.
    fn past(&mut self, page: &PastPage<'_>) -> Result<PageReader<'_>, Error> {
        let request = format!("list what was there at version {}", page.version);
        Err(Error::Undecodable { request, reason: "the source knows nothing of the past".to_owned() })
    }

    /// Whether the next line is there already, so that [`next`](Self::next) does not block. Defaults to no, which is always
    /// safe to say.
    fn is_ready(&mut self) -> bool {
        false
    }

    /// How many bytes have come so far, whole lines or not. Defaults to 0, for sources that carry no bytes.
    fn bytes_received(&self) -> u64 {
        0
    }
}

/// What the next read of a watch gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A whole line.
    Whole(&'a [u8]),
    /// A line over the limit was passed over; so many bytes of it.
    TooLong(u64),
    /// So many bytes were passed over that are no event.
    Broken(u64),
    /// Bytes came, but no whole line yet.
    Partial,
    /// No byte came for [`READ_TICK`].
    Quiet,
    /// The server ended the answer as it should.
    End,
}

/// How long one read waits before it says that it heard nothing.
pub const READ_TICK: Duration = Duration::from_secs(5);

/// What must speak for it before a kind is said to be absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The documents of its group: enough where it is known to be absent already.
    Documents,
    /// A living API server: its version, its core API, the list of all groups, and the cluster's identity as well.
    Server,
}

/// What discovery says about a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Served {
    /// It is served.
    Yes,
    /// Only these other versions of it are served.
    OtherVersions(Vec<String>),
    /// No version of it is served.
    Absent,
    /// Its group does not answer or is stale; nothing can be concluded. Says why.
    Unknown(String),
}

//! The few calls that list, watch and discovery make of a transport, and how they read an answer.
//!
//! Takes a [`Get`]; gives the body, whole and within a limit, or as a reader. Promises that nothing is read without a
//! limit, and that every failure says what was asked.

use super::{Blotter, Error, Get, Interrupt, Transport};
use std::io::{self, Read};
use std::time::{Duration, Instant};

/// Where requests go: a [`Transport`], or a script in tests.
pub(super) trait Http: Send {
    /// Sends the request; the body of a 2xx answer is read from what comes back.
    fn get(&self, get: &Get<'_>) -> Result<Box<dyn Read>, Error>;

    /// The server's URL, for errors.
    fn server(&self) -> &str;

    /// Ends requests from another thread.
    fn interrupt(&self) -> Interrupt;

    /// Takes what requests carry out of texts. Scripts carry nothing.
    fn blotter(&self) -> Blotter {
        Blotter::default()
    }

    /// Gives up connections that are kept for the next request. Scripts have none.
    fn renew(&self) {}
}

impl Http for Transport {
    fn get(&self, get: &Get<'_>) -> Result<Box<dyn Read>, Error> {
        Ok(Box::new(Transport::get(self, get)?))
    }

    fn server(&self) -> &str {
        Transport::server(self)
    }

    fn interrupt(&self) -> Interrupt {
        Transport::interrupt(self)
    }

    fn blotter(&self) -> Blotter {
        Transport::blotter(self).clone()
    }

    fn renew(&self) {
        Transport::renew(self);
    }
}

/// Plain JSON: what every server speaks.
pub(super) const ACCEPT_JSON: &str = "application/json";

/// Metadata of one object, and of each object of a watch.
pub(super) const ACCEPT_METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Metadata of each object of a list. Servers refuse a list that asks for the kind of a watch with 406, and leave a watch
/// empty that asks for the kind of a list.
pub(super) const ACCEPT_METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// Fetches a small document whole: discovery, a namespace, the server's version.
pub(super) fn document(http: &dyn Http, request: &str, path: &str, accept: &str) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    let mut response = http.get(&get_document(request, path, accept))?;
    read_to_limit(&mut response, &mut body, &DOCUMENT_LIMIT, request, http.server())?;
    // What is in a document gets into messages.
    Ok(http.blotter().blot_bytes(&body).unwrap_or(body))
}

/// Asks a question in JSON, and reads the document that answers it.
pub(super) fn answer(transport: &Transport, request: &str, path: &str, question: &[u8]) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    let mut response = transport.post(&get_document(request, path, ACCEPT_JSON), question)?;
    read_to_limit(&mut response, &mut body, &DOCUMENT_LIMIT, request, transport.server())?;
    Ok(transport.blotter().blot_bytes(&body).unwrap_or(body))
}

fn get_document<'a>(request: &'a str, path: &'a str, accept: &'a str) -> Get<'a> {
    Get { request, path_and_query: path, accept, gzip: true, head_limit: DOCUMENT_HEAD_LIMIT, read_limit: DOCUMENT_READ_LIMIT }
}

/// Longest wait for the head of a document. The server gives up on an aggregated API server sooner.
const DOCUMENT_HEAD_LIMIT: Duration = Duration::from_secs(15);

/// Longest silence within a document.
const DOCUMENT_READ_LIMIT: Duration = Duration::from_secs(15);

/// Longest document. Aggregated discovery of a cluster with 1,000 custom resources is about 1 MiB.
const DOCUMENT_LIMIT: BodyLimit = BodyLimit { bytes: 32 * 1024 * 1024, time: Duration::from_secs(60) };

/// How much of an answer is read, and for how long: a server that drips its bytes must not hold a thread for ever.
pub(super) struct BodyLimit {
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

/// Appends the rest of an answer to `body`, which then holds at most as many bytes as `limit` says.
pub(super) fn read_to_limit(
    response: &mut dyn Read,
    body: &mut Vec<u8>,
    limit: &BodyLimit,
    request: &str,
    server: &str,
) -> Result<(), Error> {
    let room = limit.bytes.saturating_sub(body.len()) as u64;
    let timely = Timely { response, end: Instant::now() + limit.time };
    let read = timely.take(room + 1).read_to_end(body).map_err(|error| read_error(request, server, error))?;
    if read as u64 > room {
        return Err(Error::TooLong { request: request.to_owned(), limit_bytes: limit.bytes });
    }
    Ok(())
}

/// A reader that fails at its end of time.
struct Timely<'a> {
    response: &'a mut dyn Read,
    end: Instant,
}

impl Read for Timely<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if Instant::now() >= self.end {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the answer comes too slowly"));
        }
        self.response.read(buffer)
    }
}

/// What a failed read means: the [`Error`] inside it where there is one, as after an interrupt, else a broken connection.
pub(super) fn read_error(request: &str, server: &str, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(source) => Error::Connection { request: request.to_owned(), server: server.to_owned(), source: source.into() },
    }
}

/// An answer whose JSON is not what was asked for.
pub(super) fn undecodable(request: &str, reason: &dyn std::fmt::Display) -> Error {
    Error::Undecodable { request: request.to_owned(), reason: reason.to_string() }
}

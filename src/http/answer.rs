//! What each path answers, as the bytes that go to the client. From memory: nothing here waits.

use super::access::{Access, Lack};
use super::head::{self, Refusal, Request};
use crate::health::{Health, Readiness, WatchReport};
use crate::metrics::Metrics;
use bytes::Bytes;
use serde::Serialize;
use std::io::Cursor;
use std::time::{Duration, Instant};
use tiny_http::{HTTPVersion, Header, Response, StatusCode};

/// Everything there is to ask for.
#[derive(Debug)]
pub(super) struct Site {
    metrics_path: String,
    access: Access,
    metrics: Metrics,
    health: Health,
    last_metrics: Option<RenderedMetrics>,
}

/// The whole answer with the metrics as they were at one moment, shared by those who ask within the next.
#[derive(Debug)]
struct RenderedMetrics {
    answer: Bytes,
    began: Instant,
    cost: Duration,
}

/// What `/ready` tells.
#[derive(Serialize)]
struct ReadyBody {
    #[serde(flatten)]
    readiness: Readiness,
    #[serde(skip_serializing_if = "Option::is_none")]
    every_watch: Option<Vec<WatchReport>>,
}

struct Page {
    status: u16,
    content_type: &'static str,
    body: String,
}

impl Site {
    /// `None` when `metrics_path` is no path or would hide a probe.
    pub(super) fn new(metrics_path: &str, access: Access, metrics: Metrics, health: Health) -> Option<Self> {
        let is_path = metrics_path.starts_with('/') && metrics_path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?');
        let is_free = ![HEALTH_PATH, READY_PATH].contains(&metrics_path);
        (is_path && is_free).then(|| Self { metrics_path: metrics_path.to_owned(), access, metrics, health, last_metrics: None })
    }

    /// The whole answer, head and body. `has_certificate`: whether the client has shown one that was checked.
    pub(super) fn answer(&mut self, request: &Request, has_certificate: bool) -> Bytes {
        let lack = if is_open(request) { None } else { self.access.lack(request, has_certificate, Instant::now()) };
        let answer = if let Some(lack) = lack {
            lacking(lack)
        } else if request.path == self.metrics_path {
            self.metrics_answer()
        } else {
            self.page(request).render()
        };
        if request.head_only { without_body(&answer) } else { answer }
    }

    fn metrics_answer(&mut self) -> Bytes {
        let began = Instant::now();
        if let Some(last) = self.last_metrics.as_ref().filter(|last| last.is_fresh(began)) {
            return last.answer.clone();
        }
        let answer = Page::new(200, METRICS_TYPE, self.metrics.text(&self.health)).render();
        self.last_metrics = Some(RenderedMetrics { answer: answer.clone(), began, cost: began.elapsed() });
        answer
    }

    fn page(&self, request: &Request) -> Page {
        match request.path.as_str() {
            HEALTH_PATH => self.health_page(),
            READY_PATH => self.ready_page(asks(request, "strict=1"), asks(request, "verbose=1")),
            "/" => Page::text(200, &self.index()),
            _ => Page::text(404, &format!("no such page; there are:\n{}", self.index())),
        }
    }

    fn health_page(&self) -> Page {
        let liveness = self.health.liveness();
        Page::json(liveness.alive, &liveness)
    }

    /// The watches that are not synced are few and always told; all of them, `verbose`, are 75 KB and more where 500 are watched.
    fn ready_page(&self, strict: bool, verbose: bool) -> Page {
        let readiness = self.health.readiness();
        let good = if strict { readiness.strictly_ready() } else { readiness.ready };
        let every_watch = verbose.then(|| self.health.watch_reports());
        Page::json(good, &ReadyBody { readiness, every_watch })
    }

    fn index(&self) -> String {
        format!(
            "Faro {}: change data capture for Kubernetes\n\n\
             {:16} what Prometheus scrapes\n\
             {HEALTH_PATH:16} 200 while no thread is dead or stuck\n\
             {READY_PATH:16} 200 when the first list of every watch was accepted and file and state can be written\n\
             {:16} 200 when every watch is synced as well\n\
             {:16} each watch, its state and the reason\n",
            env!("CARGO_PKG_VERSION"),
            self.metrics_path,
            "/ready?strict=1",
            "/ready?verbose=1",
        )
    }
}

/// What probes ask for, which show nothing. Strict readiness says no more than readiness does.
fn is_open(request: &Request) -> bool {
    match request.path.as_str() {
        HEALTH_PATH => true,
        READY_PATH => !asks(request, "verbose=1"),
        _ => false,
    }
}

fn lacking(lack: Lack) -> Bytes {
    let (status, text) = match lack {
        Lack::Token => (401, "the token of metrics.bearer_token_file is asked for here\n"),
        Lack::Certificate => (403, "a certificate that metrics.tls.client_ca_file vouches for is asked for here\n"),
    };
    Page::text(status, text).render()
}

fn asks(request: &Request, parameter: &str) -> bool {
    request.query.split('&').any(|found| found == parameter)
}

impl RenderedMetrics {
    fn is_fresh(&self, now: Instant) -> bool {
        now < self.began + self.cost * RENDERING_SHARE
    }
}

/// Rendering metrics takes at most one part in so many of the thread's time, however many ask for them: a flood of
/// scrapes would keep probes waiting otherwise. 1 ms for 100 resources makes metrics 10 ms old at most.
const RENDERING_SHARE: u32 = 10;

/// The whole answer to a request that is refused.
pub(super) fn refuse(refusal: Refusal) -> Bytes {
    let (status, text) = match refusal {
        Refusal::Malformed(expected) => (400, expected),
        Refusal::Method => (405, "only GET and HEAD are answered"),
        Refusal::TooSlow => (408, "the head of the request did not come in time"),
        Refusal::Body => (413, "no body is accepted"),
        Refusal::TooLarge => (431, "the head of the request is too large"),
        Refusal::Version => (505, "HTTP/1.0 and HTTP/1.1 are spoken"),
    };
    Page::text(status, &format!("{text}\n")).render()
}

const HEALTH_PATH: &str = "/health";
const READY_PATH: &str = "/ready";
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";
const JSON_TYPE: &str = "application/json";

impl Page {
    fn new(status: u16, content_type: &'static str, body: String) -> Self {
        Self { status, content_type, body }
    }

    fn text(status: u16, body: &str) -> Self {
        Self::new(status, TEXT_TYPE, body.to_owned())
    }

    fn json(good: bool, body: &impl Serialize) -> Self {
        let mut body = serde_json::to_string(body).expect("a report is text, numbers and lists");
        body.push('\n');
        Self::new(if good { 200 } else { 503 }, JSON_TYPE, body)
    }

    fn render(self) -> Bytes {
        let mut headers = vec![header("Content-Type", self.content_type), header("Server", "faro")];
        headers.push(header("Cache-Control", "no-store"));
        if self.status == 401 {
            headers.push(header("WWW-Authenticate", "Bearer"));
        }
        if self.status == 405 {
            headers.push(header("Allow", "GET, HEAD"));
        }
        let length = self.body.len();
        let mut bytes = Vec::with_capacity(length + HEAD_BYTES_GUESS);
        Response::new(StatusCode(self.status), headers, Cursor::new(self.body), Some(length), None)
            // Always with its length: a client then knows a cut answer from a whole one.
            .with_chunked_threshold(usize::MAX)
            .raw_print(&mut bytes, HTTPVersion(1, 1), &[], false, None)
            .expect("writing to memory does not fail");
        say_that_it_closes(&mut bytes);
        bytes.into()
    }
}

/// Room for status line and headers.
const HEAD_BYTES_GUESS: usize = 512;

/// `tiny_http` keeps the header `Connection` for itself, so it is put behind the status line here.
fn say_that_it_closes(answer: &mut Vec<u8>) {
    let behind_status_line = memchr::memchr(b'\n', answer).expect("an answer begins with a status line") + 1;
    answer.splice(behind_status_line..behind_status_line, *b"Connection: close\r\n");
}

fn without_body(answer: &Bytes) -> Bytes {
    answer.slice(..head::end(answer, 0).expect("an answer has a head"))
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("headers of this file are ASCII")
}

#[cfg(test)]
mod tests {
    use super::super::HttpSettings;
    use super::*;

    #[test]
    fn metrics_are_rendered_for_a_tenth_of_the_time_at_most() {
        let began = Instant::now();
        let rendered = RenderedMetrics { answer: Bytes::new(), began, cost: Duration::from_millis(5) };
        assert!(rendered.is_fresh(began + Duration::from_millis(49)));
        assert!(!rendered.is_fresh(began + Duration::from_millis(50)));
    }

    #[test]
    fn metrics_that_are_fresh_are_shared() {
        let metrics = Metrics::default();
        let mut site =
            Site::new("/metrics", Access::of(&HttpSettings::default()).unwrap(), metrics.clone(), Health::default()).unwrap();
        let request = Request { head_only: false, path: "/metrics".to_owned(), query: String::new(), bearer: None };
        let first = site.answer(&request, false);
        metrics.written(1, 1);
        let last = site.last_metrics.as_mut().unwrap();
        last.cost = Duration::from_secs(3600);
        assert_eq!(site.answer(&request, false), first);
        site.last_metrics.as_mut().unwrap().cost = Duration::ZERO;
        assert_ne!(site.answer(&request, false), first);
    }
}

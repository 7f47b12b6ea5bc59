//! What decoding a watch event costs, as ratios to costs measured in the same run.
//!
//! `cargo bench --bench decode`. The unit is the time that finding the newline takes in the same bytes: nothing that reads a
//! line can cost less. Each figure is the fastest of many rounds, so that other work on the machine does not count.

#![allow(clippy::print_stdout, reason = "a benchmark's figures go to stdout")]

use faro::api::{ListPage, WatchLine};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::{Duration, Instant};

const POD: &[u8] = include_bytes!("../tests/golden/pod.json");
/// Lines of one round: enough that the clock's own cost does not show.
const LINES: u32 = 500;
/// Rounds of which the fastest counts.
const ROUNDS: usize = 60;

fn main() {
    let pod: Value = serde_json::from_slice(POD).expect("the sample pod is JSON");
    measure("whole pod", std::str::from_utf8(POD).expect("the sample pod is UTF-8").trim());
    // `Value` keeps its keys sorted, as Go does with the objects of custom resources.
    measure("whole pod, keys in alphabetical order as custom resources send them", &pod.to_string());
    let metadata = metadata_text();
    measure("the pod's metadata only", &format!(r#"{{"kind":"PartialObjectMetadata","metadata":{metadata}}}"#));
    measure_list();
}

fn measure(what: &str, object: &str) {
    let line = format!("{{\"type\":\"MODIFIED\",\"object\":{object}}}\n");
    let line = line.as_bytes();
    let newline = fastest(|| memchr::memchr(b'\n', black_box(line)));
    println!("{what}: {} bytes a line; finding its newline takes {newline:?} and is 1", line.len());
    print_ratio("WatchLine::parse", newline, fastest(|| WatchLine::parse(black_box(line))));
    print_ratio("… and to_object", newline, fastest(|| owned(black_box(line))));
    print_ratio("serde_json, IgnoredAny", newline, fastest(|| serde_json::from_slice::<IgnoredAny>(line)));
    print_ratio("serde_json, Value", newline, fastest(|| serde_json::from_slice::<Value>(line)));
}

fn measure_list() {
    let body = json!({"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": []}).to_string();
    let pods = vec![std::str::from_utf8(POD).expect("the sample pod is UTF-8").trim(); 100].join(",");
    let body = body.replace("[]", &format!("[{pods}]"));
    let body = body.as_bytes();
    let newline = fastest_of(10, || memchr::memchr(b'\n', black_box(body)));
    println!("a list page of 100 whole pods: {} bytes; looking for a newline takes {newline:?} and is 1", body.len());
    print_ratio("ListPage::parse, each object scanned", newline, fastest_of(10, || scan_all(black_box(body))));
    print_ratio("serde_json, IgnoredAny", newline, fastest_of(10, || serde_json::from_slice::<IgnoredAny>(body)));
}

fn owned(line: &[u8]) -> Option<faro::api::Object> {
    match WatchLine::parse(line) {
        Ok(WatchLine::Object { object, .. }) => Some(object.to_object()),
        Ok(WatchLine::Bookmark { .. } | WatchLine::Error(_)) | Err(_) => None,
    }
}

fn scan_all(body: &[u8]) -> usize {
    ListPage::parse(body).map_or(0, |page| page.objects().filter(Result::is_ok).count())
}

/// The pod's metadata in the server's own key order, which `Value` would sort.
fn metadata_text() -> &'static str {
    #[derive(serde::Deserialize)]
    struct Parts<'a> {
        #[serde(borrow)]
        metadata: &'a serde_json::value::RawValue,
    }
    serde_json::from_slice::<Parts<'static>>(POD).expect("the sample pod has metadata").metadata.get()
}

fn fastest<T>(step: impl FnMut() -> T) -> Duration {
    fastest_of(LINES, step)
}

fn fastest_of<T>(steps: u32, mut step: impl FnMut() -> T) -> Duration {
    let round = |_| {
        let start = Instant::now();
        for _ in 0..steps {
            black_box(step());
        }
        start.elapsed() / steps
    };
    (0..ROUNDS).map(round).min().expect("there is at least one round")
}

fn print_ratio(what: &str, unit: Duration, cost: Duration) {
    println!("  {what:<38} {:>8.1}   ({cost:?})", cost.as_secs_f64() / unit.as_secs_f64());
}

//! What the way from an informer's outlet to the file costs an event, beside copying and writing the same lines bare.
//!
//! `cargo bench --bench pipeline` prints nanoseconds an event, and ratios to the bare copy of the same run. Files go to
//! memory (`/dev/shm`) where there is such a folder, so that no disk is measured.

use faro::api::{ObjectRef, Watch, WatchTarget};
use faro::dispatch::{Dispatcher, Export, HandlerError, Registered, Settings, Subscription};
use faro::event::{Credit, EventType, MatchedEvent, Outlet};
use faro::health::Health;
use faro::lifecycle::Stop;
use faro::metrics::Metrics;
use faro::sink::{SinkSettings, Writer};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const EVENTS: u32 = 200_000;
const GRACE: Duration = Duration::from_secs(60);

/// As much as the writer takes at once when it is busy.
const BARE_BATCH_BYTES: usize = 1024 * 1024;

#[expect(clippy::print_stdout)]
fn main() -> io::Result<()> {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
    let objects = objects();
    let (_, file) = pipeline(folder.path(), &objects, Vec::new())?;
    let lines = fs::read(&file)?;
    let bare = bare_copy(&lines, &folder.path().join("bare"))?;
    let per_line = lines.len() / EVENTS as usize;
    println!("{:34} {:>7.0} ns an event, {per_line} bytes a line", "copy and write the lines, bare", nanos(bare));
    for (name, handlers) in [("no handler", 0), ("four lanes, one handler", 1), ("four lanes, four handlers", 4)] {
        let handlers = (0..handlers).map(|_| Registered::new(Subscription::new(), accept)).collect();
        let (took, _) = pipeline(folder.path(), &objects, handlers)?;
        println!(
            "{name:34} {:>7.0} ns an event, {:.1} times the bare copy",
            nanos(took),
            took.as_secs_f64() / bare.as_secs_f64()
        );
    }
    Ok(())
}

fn nanos(took: Duration) -> f64 {
    took.as_secs_f64() * 1e9 / f64::from(EVENTS)
}

#[expect(clippy::unnecessary_wraps)]
fn accept(_event: &MatchedEvent) -> Result<(), HandlerError> {
    Ok(())
}

/// The metadata of small pods.
fn objects() -> Vec<String> {
    let object = |number| {
        format!(
            r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"app-{number}","namespace":"load-0","uid":"29eae0db-6187-4670-a3da-{number:012}","resourceVersion":"{number}","labels":{{"app":"app-0","pod-template-hash":"0","tier":"web","version":"v0"}},"annotations":{{"prometheus.io/port":"8080","prometheus.io/scrape":"true"}}}}}}"#
        )
    };
    (1..=1000).map(object).collect()
}

/// Sends every event through outlet, lanes, handlers, record and file, and waits until all are accepted.
fn pipeline(folder: &Path, objects: &[String], handlers: Vec<Registered>) -> io::Result<(Duration, PathBuf)> {
    let (metrics, health) = (Metrics::default(), Health::default());
    let settings = SinkSettings { folder: Some(folder.to_owned()), ..SinkSettings::default() };
    let writer = Writer::open(settings, metrics.clone(), health.clone(), Stop::new()).map_err(io::Error::other)?;
    let export = Arc::clone(&writer) as Arc<dyn Export>;
    let dispatcher = Dispatcher::new(&Settings::default(), handlers, Some(export), health).map_err(io::Error::other)?;
    let gvr = "v1/pods".parse().map_err(io::Error::other)?;
    let watch = Arc::new(Watch::new(WatchTarget::all(gvr), "bench", None));
    let mut outlet = dispatcher.outlet(Arc::clone(&watch), metrics.watch(&watch))?;
    let begin = Instant::now();
    for object in objects.iter().cycle().take(EVENTS as usize) {
        let object = ObjectRef::scan(object.as_bytes()).map_err(io::Error::other)?;
        assert_eq!(outlet.wait_for_credit(GRACE), Credit::Granted);
        outlet.send(MatchedEvent::new(EventType::Added, Arc::clone(&watch), object.to_object()));
    }
    drop(outlet);
    assert_eq!(dispatcher.drain(GRACE).unfinished, 0);
    let took = begin.elapsed();
    assert!(writer.stop(Instant::now() + GRACE));
    let path = writer.path().ok_or(io::ErrorKind::NotFound)?;
    Ok((took, path))
}

fn bare_copy(lines: &[u8], path: &Path) -> io::Result<Duration> {
    let mut file = File::create(path)?;
    let mut batch = Vec::with_capacity(2 * BARE_BATCH_BYTES);
    let begin = Instant::now();
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        batch.extend_from_slice(line);
        if batch.len() >= BARE_BATCH_BYTES {
            file.write_all(&batch)?;
            batch.clear();
        }
    }
    file.write_all(&batch)?;
    Ok(begin.elapsed())
}

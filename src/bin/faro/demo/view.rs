//! The stream on stdout: a line for each change, a line of counters below on a terminal, a summary at the end.
//!
//! A stdout that fails stops the demo; what Faro still tells is taken and not shown.

use super::book::{Book, Tally};
use super::flags::DemoFlags;
use super::words;
use crossbeam_channel::Receiver;
use faro::controller::{ControllerError, Summary};
use faro::event::{EventType, MatchedEvent};
use faro::lifecycle::Stop;
use faro::sim::Cluster;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Stdout, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// What reaches the view.
pub(super) enum Told {
    Change(Change),
    /// Faro's last word.
    Ended(Result<Summary, ControllerError>),
}

/// One change, ready to be shown.
pub(super) struct Change {
    event_type: EventType,
    received: SystemTime,
    is_initial: bool,
    gvr: String,
    name: String,
    words: String,
}

/// What a reader sees.
pub(super) struct View {
    out: Stdout,
    failure: Option<io::Error>,
    stop: Stop,
    /// Colours and a counter line.
    is_lively: bool,
    /// What was there when Faro came, by resource; told in one line.
    initial: BTreeMap<String, u64>,
}

/// How often the counter line is drawn anew: twice a second reads well.
const REDRAW: Duration = Duration::from_millis(500);

/// As wide as the longest gvr that is watched.
const GVR_WIDTH: usize = 24;

/// As wide as the name of an event about a pod of `checkout`.
const NAME_WIDTH: usize = 36;

/// ECMA-48: erase the line.
const ERASE: &str = "\r\x1b[2K";

impl Change {
    pub(super) fn of(event: &MatchedEvent) -> Self {
        let object = event.metadata();
        Self {
            event_type: event.event_type,
            received: event.received,
            is_initial: event.initial,
            gvr: event.watch.gvr.clone(),
            name: format!("{}/{}", object.namespace(), object.name()),
            words: words::of(&event.watch.gvr, event.raw()),
        }
    }

    fn line(&self, is_lively: bool) -> String {
        let time = jiff::Timestamp::try_from(self.received).unwrap_or_default();
        let time = time.strftime("%H:%M:%S%.3f");
        let event_type = self.event_type.as_str();
        // ECMA-48: green, yellow, red.
        let (begin, end) = match (is_lively, self.event_type) {
            (false, _) => ("", ""),
            (true, EventType::Added) => ("\x1b[32m", "\x1b[0m"),
            (true, EventType::Updated) => ("\x1b[33m", "\x1b[0m"),
            (true, EventType::Deleted) => ("\x1b[31m", "\x1b[0m"),
        };
        let Self { gvr, name, words, .. } = self;
        let line = format!("{time}  {begin}{event_type:<7}{end}  {gvr:<GVR_WIDTH$}  {name:<NAME_WIDTH$}  {words}");
        line.trim_end().to_owned()
    }
}

impl View {
    /// `stop` is requested when stdout takes no more.
    pub(super) fn new(is_plain: bool, stop: Stop) -> Self {
        let out = io::stdout();
        let is_lively = !is_plain && out.is_terminal();
        Self { out, failure: None, stop, is_lively, initial: BTreeMap::new() }
    }

    /// Says what there is to see, and how to join.
    pub(super) fn greet(&mut self, flags: &DemoFlags, cluster: &Cluster) {
        let end = flags.limit.map_or_else(|| "Ctrl-C ends it".to_owned(), |limit| format!("it ends after {} s", limit.as_secs()));
        self.print(&format!(
            "A simulated cluster on {url} with a life of its own ({rate} changes a second), and a real Faro that watches it; {end}.\n\
             Events go to {folder}/events-*.json, one JSON line each.\n\
             Join in:  kubectl --kubeconfig {kubeconfig} -n shop get pods -w\n\n",
            url = cluster.url(),
            rate = flags.rate,
            folder = flags.output_dir.display(),
            kubeconfig = cluster.kubeconfig().display(),
        ));
    }

    /// Shows changes until Faro ends.
    pub(super) fn show(&mut self, told: &Receiver<Told>, book: &Book) -> Result<Summary, ControllerError> {
        loop {
            match told.recv_timeout(REDRAW).ok().or_else(|| told.try_recv().ok()) {
                Some(Told::Change(change)) => self.change(&change),
                Some(Told::Ended(ended)) => {
                    self.erase();
                    return ended;
                }
                None => {}
            }
            if told.is_empty() {
                self.counters(&book.tally());
            }
        }
    }

    fn change(&mut self, change: &Change) {
        if change.is_initial {
            *self.initial.entry(change.gvr.clone()).or_default() += 1;
            return;
        }
        self.erase();
        let found = std::mem::take(&mut self.initial);
        if !found.is_empty() {
            let kinds: Vec<String> = found.iter().map(|(gvr, count)| format!("{count} {gvr}")).collect();
            self.print(&format!("there already: {}\n\n", kinds.join(", ")));
        }
        self.print(&format!("{}\n", change.line(self.is_lively)));
    }

    /// What was made and told so far, in a line that the next one overwrites.
    fn counters(&mut self, tally: &Tally) {
        if self.is_lively {
            let [added, updated, deleted] = tally.told;
            let (made, told) = (sum(&tally.made), sum(&tally.told));
            let open = tally.lost;
            self.print(&format!(
                "{ERASE}made {made}  told {told}  ADDED {added}  UPDATED {updated}  DELETED {deleted}  on the way {open}"
            ));
        }
    }

    fn erase(&mut self) {
        if self.is_lively {
            self.print(ERASE);
        }
    }

    /// What was made and what came of it.
    pub(super) fn sum_up(&mut self, tally: &Tally, files: &[PathBuf], written: u64) {
        let row = |counts: &[u64; 3]| {
            let types = EventType::ALL.iter().zip(counts);
            let types: Vec<String> = types.map(|(event_type, count)| format!("{event_type} {count}")).collect();
            format!("{} ({})", sum(counts), types.join(", "))
        };
        let Tally { made, told, lost, foreign } = tally;
        let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        let mut text = format!("\nmade  {}\ntold  {}\nlost  {lost}\n", row(made), row(told));
        if *foreign > 0 {
            text += &format!("of what was told, {foreign} came from others, as by kubectl\n");
        }
        text += &format!("{written} JSON lines are in {}\n", files.join(", "));
        self.print(&text);
    }

    /// Whether stdout took everything.
    pub(super) fn into_result(self) -> io::Result<()> {
        self.failure.map_or(Ok(()), Err)
    }

    fn print(&mut self, text: &str) {
        if self.failure.is_some() {
            return;
        }
        if let Err(error) = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush()) {
            self.failure = Some(error);
            self.stop.request();
        }
    }
}

fn sum(counts: &[u64; 3]) -> u64 {
    counts.iter().sum()
}

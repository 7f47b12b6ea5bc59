//! Holds lines to the truth: nothing lost, nothing doubled, each object's lines in the order of the writes.
//!
//! Takes the lines of all watches and everything that was written; gives a [`Verdict`] that counts each kind of fault and
//! shows the first of them. A line that is `inferred` or `initial` may stand in for several writes, but only for writes of a
//! time in which the server forgot its history, or before the first list had ended.

use super::story::Story;
use super::truth::{Key, Selection, Step, Truth, Versions};
use crate::lines::Line;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Lines told.
    pub(crate) lines: usize,
    /// Of these, lines that were found by comparison.
    pub(crate) inferred: usize,
    /// Writes that no line tells of.
    pub(crate) lost: usize,
    /// Lines whose watch, uid, version and being deleted or not were told before.
    pub(crate) doubled: usize,
    /// Of these, lines that tell again what the watch knows already.
    pub(crate) flood: usize,
    /// Lines out of the order of the writes, or of the wrong type.
    pub(crate) disordered: usize,
    /// Lines that tell what never was.
    pub(crate) invented: usize,
    /// What is no line, and files that do not end with a newline.
    pub(crate) torn: usize,
    /// Names of watches that are not the one name of one of the watches that were asked for.
    pub(crate) strangers: usize,
    /// The first faults, in words.
    pub(crate) findings: Vec<String>,
}

/// Times of writes, counted as theirs are, for which one line may stand in for several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forgetting {
    /// Before the first list had ended: here lines may be `initial`.
    pub(crate) beginning: Duration,
    /// When the server had lost its history.
    pub(crate) windows: Vec<RangeInclusive<Duration>>,
}

impl Forgetting {
    fn has(&self, step: &Step) -> bool {
        step.at <= self.beginning || self.windows.iter().any(|window| window.contains(&step.at))
    }
}

/// Judges `story` of watches with these selections.
pub(crate) fn judge(story: &Story, truth: &Truth, watches: &[Selection], forgetting: &Forgetting) -> Verdict {
    let mut verdict = Verdict { lines: story.lines.len(), torn: story.torn.len(), ..Verdict::default() };
    verdict.inferred = story.lines.iter().filter(|line| line.inferred).count();
    story.torn.iter().for_each(|torn| verdict.find(format!("torn: {torn}")));
    let mut told: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
    for line in &story.lines {
        told.entry(&line.watch).or_default().push(line);
    }
    let stories: Vec<_> = watches.iter().map(|selection| truth.stories(selection)).collect();
    let mut fits = Vec::new();
    for (name, lines) in &told {
        let of_gvr = (0..watches.len()).filter(|index| watches[*index].gvr == lines[0].gvr);
        fits.extend(of_gvr.map(|index| (*name, index, judge_watch(lines, truth, &stories[index], forgetting))));
    }
    // A line says which watch told it by a hash: it is the one that it fits best.
    fits.sort_by_key(|(_, _, judged)| judged.faults());
    let (mut taken, mut named) = (HashSet::new(), HashSet::new());
    for (name, index, judged) in fits {
        if !named.contains(name) && !taken.contains(&index) {
            taken.insert(index);
            named.insert(name);
            verdict.add(judged);
        }
    }
    for (name, lines) in told.iter().filter(|(name, _)| !named.contains(*name)) {
        verdict.strangers += 1;
        verdict.find(format!("no watch that was asked for is named {name}, which told {} lines", lines.len()));
    }
    for index in (0..watches.len()).filter(|index| !taken.contains(index)) {
        let lost: usize = stories[index].values().map(Vec::len).sum();
        verdict.lost += lost;
        verdict.find(format!("lost: {lost} of a watch that told nothing: {:?}", watches[index]));
    }
    verdict
}

impl Verdict {
    /// How many faults there are.
    pub(crate) fn faults(&self) -> usize {
        self.lost + self.doubled + self.disordered + self.invented + self.torn + self.strangers
    }

    fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.flood += other.flood;
        self.disordered += other.disordered;
        self.invented += other.invented;
        other.findings.into_iter().for_each(|finding| self.find(finding));
    }

    fn find(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// So many faults show what is wrong.
const FINDINGS_MAX: usize = 40;

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lines {} ({} inferred), lost {}, doubled {}", self.lines, self.inferred, self.lost, self.doubled)?;
        if self.flood > 0 {
            write!(f, " ({} told though unchanged)", self.flood)?;
        }
        let rest = [
            ("disordered", self.disordered),
            ("invented", self.invented),
            ("torn", self.torn),
            ("strange watches", self.strangers),
        ];
        rest.into_iter().try_for_each(|(what, count)| write!(f, ", {what} {count}"))
    }
}

/// Judges the lines of one watch.
fn judge_watch(lines: &[&Line], truth: &Truth, stories: &BTreeMap<&Key, Vec<Step>>, forgetting: &Forgetting) -> Verdict {
    let mut verdict = Verdict::default();
    let mut walks: HashMap<Key, Walk<'_>> =
        stories.iter().map(|(key, steps)| ((*key).clone(), Walk::new(steps, forgetting))).collect();
    let mut ids = HashSet::new();
    let mut deletes: HashMap<u64, &str> = HashMap::new();
    for line in lines {
        let key = (line.gvr.clone(), line.namespace.clone().unwrap_or_default(), line.name.clone());
        let walk = walks.get_mut(&key);
        if !ids.insert((&line.uid, &line.resource_version, line.event_type == "DELETED")) {
            verdict.doubled += 1;
            verdict.flood += usize::from(walk.is_some_and(|walk| walk.knows(line)));
            verdict.find(format!("doubled: {}", words(line)));
            continue;
        }
        // What the cluster itself writes is only held to being told once.
        let Some(walk) = walk else {
            if truth.knows(&key) {
                verdict.invented += 1;
                verdict.find(format!("not of this watch: {}", words(line)));
            }
            continue;
        };
        let version = version(line);
        let is_anothers = line.event_type == "DELETED"
            && !line.inferred
            && (deletes.insert(version, &line.uid).is_some() || truth.has_version(version) && !walk.has_version(version));
        match walk.take(line) {
            Ok(0) if !is_anothers => {}
            Ok(0) => {
                verdict.invented += 1;
                verdict.find(format!("deleted with another write's version: {}", words(line)));
            }
            Ok(lost) => {
                verdict.lost += lost;
                verdict.find(format!("lost: {lost} before {}", words(line)));
            }
            Err(Fault::Disordered(why)) => {
                verdict.disordered += 1;
                verdict.find(format!("{why}: {}", words(line)));
            }
            Err(Fault::Invented) => {
                verdict.invented += 1;
                verdict.find(format!("never was: {}", words(line)));
            }
        }
    }
    for (key, walk) in walks {
        let missing = walk.missing();
        if let Some(first) = missing.first() {
            verdict.lost += missing.len();
            verdict.find(format!("lost: {} at the end of {key:?}, from {first:?}", missing.len()));
        }
    }
    verdict
}

fn words(line: &Line) -> String {
    format!(
        "{} {} uid {} version {} at {} in {}",
        line.gvr,
        line.brief(),
        line.uid,
        line.resource_version,
        line.timestamp,
        line.watch
    )
}

/// The servers of these tests count their versions.
fn version(line: &Line) -> u64 {
    line.resource_version.parse().expect("a version is a number")
}

enum Fault {
    Disordered(&'static str),
    Invented,
}

/// How far the lines of one object have come in its story.
struct Walk<'a> {
    steps: &'a [Step],
    forgetting: &'a Forgetting,
    /// After how many steps the watch may be: several where it cannot be told, since nothing was known before and after.
    positions: Vec<usize>,
    known: Option<(String, u64)>,
}

impl<'a> Walk<'a> {
    fn new(steps: &'a [Step], forgetting: &'a Forgetting) -> Self {
        let mut walk = Self { steps, forgetting, positions: Vec::new(), known: None };
        walk.go_to(0);
        walk
    }

    /// Whether the line says what is known already.
    fn knows(&self, line: &Line) -> bool {
        line.event_type != "DELETED" && self.known.as_ref().is_some_and(|known| *known == (line.uid.clone(), version(line)))
    }

    fn has_version(&self, version: u64) -> bool {
        self.steps.iter().any(|step| step.version == Versions::Is(version))
    }

    /// Goes on to what `line` tells of; how many steps were left out that no line may leave out.
    fn take(&mut self, line: &Line) -> Result<usize, Fault> {
        match (line.inferred || line.initial, line.event_type.as_str()) {
            (true, "DELETED") => self.take_inferred_delete(line),
            (is_compared, _) => self.take_state(line, is_compared),
        }
    }

    fn take_state(&mut self, line: &Line, is_compared: bool) -> Result<usize, Fault> {
        let is_delete = line.event_type == "DELETED";
        let fits =
            |step: &Step| (step.event_type == "DELETED") == is_delete && step.uid == line.uid && step.version.fits(version(line));
        let target = self.steps.iter().position(fits).ok_or(Fault::Invented)? + 1;
        let step = &self.steps[target - 1];
        let wrong = if is_compared {
            self.wrong_comparison(line, step)
        } else {
            (step.event_type != line.event_type).then_some("of the wrong type")
        };
        let lost = self.left_out(target, is_compared);
        if lost.is_some() || wrong.is_some() {
            self.known = step.is_there.then(|| (line.uid.clone(), version(line)));
            self.go_to(target);
        }
        match (wrong, lost) {
            (Some(wrong), _) => Err(Fault::Disordered(wrong)),
            (None, None) => Err(Fault::Disordered("after a later one")),
            (None, Some(lost)) => Ok(lost),
        }
    }

    /// Why what a comparison found cannot be found by one.
    fn wrong_comparison(&self, line: &Line, step: &Step) -> Option<&'static str> {
        let is_known = self.known.as_ref().map(|(uid, _)| *uid == line.uid);
        match (line.event_type.as_str(), is_known) {
            _ if line.initial && step.at > self.forgetting.beginning => Some("initial after the first list"),
            ("ADDED", None) | ("UPDATED", Some(true)) => None,
            ("ADDED", Some(_)) => Some("added though it is known"),
            (_, _) => Some("updated though it is not known"),
        }
    }

    /// It has the last version that was told; what it stands for may be any end of the object since.
    fn take_inferred_delete(&mut self, line: &Line) -> Result<usize, Fault> {
        if self.known.as_ref().is_none_or(|known| *known != (line.uid.clone(), version(line))) {
            return Err(Fault::Disordered("an end of what is not known"));
        }
        let from = self.positions.iter().copied().max().unwrap_or_default();
        let ends = (from + 1..=self.steps.len()).filter(|position| !self.steps[position - 1].is_there);
        let first = ends.clone().next().ok_or(Fault::Invented)?;
        let lost = self.left_out(first, true).unwrap_or_default();
        let reached: Vec<usize> = ends.filter(|end| *end == first || self.left_out(*end, true) == Some(0)).collect();
        self.known = None;
        self.positions.clear();
        reached.into_iter().for_each(|position| self.may_be_at(position));
        Ok(lost)
    }

    /// How many steps before `target` nothing tells of; `None` when it lies behind.
    fn left_out(&self, target: usize, is_compared: bool) -> Option<usize> {
        let from = self.positions.iter().copied().filter(|position| *position < target).max()?;
        let between = &self.steps[from..target - 1];
        Some(between.iter().filter(|step| !(is_compared && self.forgetting.has(step))).count())
    }

    fn go_to(&mut self, position: usize) {
        self.positions.clear();
        self.may_be_at(position);
    }

    /// Who knows nothing of an object may miss its whole life, where the server forgot it.
    fn may_be_at(&mut self, position: usize) {
        let is_known = position > 0 && self.steps[position - 1].is_there;
        self.positions.push(position);
        if is_known {
            return;
        }
        let forgotten = self.steps[position..].iter().take_while(|step| self.forgetting.has(step)).count();
        let ends = (position + 1..=position + forgotten).filter(|end| !self.steps[end - 1].is_there);
        self.positions.extend(ends);
        self.positions.sort_unstable();
        self.positions.dedup();
    }

    /// The steps after the last one that was told.
    fn missing(&self) -> &[Step] {
        let last = self.positions.iter().copied().max().unwrap_or_default();
        &self.steps[last..]
    }
}

//! `faro check`: whether a configuration would work on a cluster, told before anything is started.
//!
//! Takes the flags of a run; gives a row for each watch, and the rights that they need. Asks whatever a run asks, in the same order,
//! and lists one object of each kind. Starts no watch and writes no file.

mod flags;
mod rbac;
mod table;

pub(crate) use flags::{CheckFlags, help, parse};

use crate::{Failure, failed, print, usage};
use faro::api::{Fault, Scope, WatchTarget};
use faro::cli::{chain, shown};
use faro::client::{self, Client, Content, Discovery, ListWatch, Lookup, PageItem, PageRequest, RestListWatch, Transport};
use faro::config::ConfiguredWatch;
use faro::controller::check_files;
use std::collections::HashMap;

/// What a watch needs to be allowed.
const VERBS: [&str; 2] = ["list", "watch"];

/// One watch, and what the cluster says to it.
struct Row {
    /// Without a namespace that its kind does not have.
    target: WatchTarget,
    /// `None` where the kind is not served.
    scope: Option<Scope>,
    served: &'static str,
    /// For each of [`VERBS`]; `None` where the server does not say.
    allowed: [Option<bool>; 2],
    verdict: Verdict,
}

enum Verdict {
    Good,
    /// It would start, and waits for this.
    Waits(String),
    /// It would not start, or hear nothing: why, and the cure.
    Bad(String),
}

/// Tells on stdout, and fails when something would not work.
pub(crate) fn run(flags: &CheckFlags) -> Result<(), Failure> {
    let client = Client::from_options(&flags.settings.client).map_err(usage)?;
    check_files(&flags.settings.config).map_err(failed)?;
    let transport = client.transport();
    let version = transport.version().map_err(failed)?;
    let discovery = transport.discover().map_err(failed)?;
    let watches = flags.settings.config.watches();
    if flags.print_rbac {
        let rows: Vec<Row> = watches.iter().map(|watch| Row::of(watch, &discovery)).collect();
        return print_rbac(&rows, flags);
    }
    transport.cluster_uid().map_err(failed)?;
    let rows = rows(&watches, &discovery, &client, &transport);
    let version = shown(version.as_deref().unwrap_or("unknown version"));
    let path = flags.settings.file.path().display();
    let warnings: String = client.warnings().iter().map(|warning| format!("warning: {warning}\n")).collect();
    let head = format!("{path}: valid\n{} ({}): {version}\n{warnings}\n", client.server(), client.origin());
    print(&format!("{head}{}\n{}\n", table::table(&rows), summary(&rows)))?;
    if count_bad(&rows) == 0 { Ok(()) } else { Err(Failure::told()) }
}

/// Why there are no rights that would make every watch work.
#[derive(Debug, thiserror::Error)]
#[error("no rights are enough for these watches:\n{0}")]
struct NoRights(String);

/// Nothing but what `kubectl apply` takes, so that one can be piped into the other.
fn print_rbac(rows: &[Row], flags: &CheckFlags) -> Result<(), Failure> {
    let wrong: Vec<String> = rows.iter().filter_map(|row| Some(format!("{}: {}", row.target, row.verdict.bad()?))).collect();
    if !wrong.is_empty() {
        return Err(failed(NoRights(wrong.join("\n"))));
    }
    let needs: Vec<_> = rows.iter().map(|row| (&row.target, row.scope)).collect();
    print(&rbac::manifests(&needs, flags.service_account.as_ref()))
}

fn rows(watches: &[ConfiguredWatch], discovery: &Discovery, client: &Client, transport: &Transport) -> Vec<Row> {
    let mut namespaces = HashMap::new();
    let mut rows = Vec::new();
    for watch in watches {
        let mut row = Row::of(watch, discovery);
        for (allowed, verb) in row.allowed.iter_mut().zip(VERBS) {
            // A server that does not say is asked for the list all the same, as a run asks it.
            *allowed = transport.access(verb, &row.target, row.scope).ok().map(|access| access.allowed);
        }
        if row.is_to_be_listed() {
            row.list(client);
        }
        row.refuse_what_is_forbidden();
        if let (Verdict::Good, Some(name)) = (&row.verdict, &row.target.namespace) {
            let is_there = namespaces.entry(name.clone()).or_insert_with(|| transport.has_namespace(name).unwrap_or_default());
            if *is_there == Some(false) {
                row.verdict = Verdict::Waits(format!("the namespace {name} is not there; nothing comes until it is created"));
            }
        }
        rows.push(row);
    }
    rows
}

/// Asks for one object of a list, as a run asks for many: a selector that the server refuses shows in nothing else.
fn list_one(client: &Client, target: &WatchTarget, scope: Option<Scope>) -> Result<(), client::Error> {
    let mut source = RestListWatch::new(client.transport(), target, scope, Content::Metadata);
    let mut page = source.list(&PageRequest { limit: 1, token: None })?;
    loop {
        match page.next_item()? {
            PageItem::End => return Ok(()),
            PageItem::Wide => page.widen(),
            PageItem::Front | PageItem::Object(_) => {}
        }
    }
}

impl Row {
    /// What discovery says; nothing was asked about rights yet.
    fn of(watch: &ConfiguredWatch, discovery: &Discovery) -> Self {
        let ConfiguredWatch { target, scope, place, .. } = watch;
        let mut target = target.clone();
        let gvr = &watch.target.gvr;
        let (scope, served, verdict) = match discovery.find(gvr) {
            Lookup::Served(resource) => {
                if resource.scope == Scope::Cluster {
                    target.namespace = None;
                }
                let verdict = match scope.filter(|scope| *scope != resource.scope) {
                    _ if !resource.is_watchable() => Verdict::Bad("the server does not offer list and watch for it".to_owned()),
                    Some(_) => {
                        Verdict::Bad(format!("{place}.scope: it is {}; correct the scope or leave it out", resource.scope))
                    }
                    None => Verdict::Good,
                };
                (Some(resource.scope), "yes", verdict)
            }
            Lookup::Unknown(reason) => (*scope, "unknown", Verdict::Waits(format!("its API group does not answer: {reason}"))),
            Lookup::OtherVersions(_) | Lookup::Absent if !gvr.may_be_defined_later() => {
                (*scope, "no", Verdict::Bad(format!("{place}: not served{}", hint(&discovery.near_matches(gvr)))))
            }
            Lookup::OtherVersions(others) => {
                let others: Vec<String> = others.iter().map(|other| other.gvr.to_string()).collect();
                (*scope, "no", Verdict::Waits(format!("waited for; only {} is served", others.join(", "))))
            }
            Lookup::Absent => (*scope, "no", Verdict::Waits("waited for until it is defined".to_owned())),
        };
        Self { target, scope, served, allowed: [None; 2], verdict }
    }

    /// Whether a run would list it at once.
    fn is_to_be_listed(&self) -> bool {
        matches!(self.verdict, Verdict::Good) && !self.allowed.contains(&Some(false))
    }

    fn list(&mut self, client: &Client) {
        match list_one(client, &self.target, self.scope) {
            Ok(()) => {}
            Err(error) if error.fault() == Fault::Forbidden => self.allowed[0] = Some(false),
            Err(error) => self.verdict = Verdict::Bad(chain(&error)),
        }
    }

    fn refuse_what_is_forbidden(&mut self) {
        let verbs = VERBS.iter().zip(self.allowed);
        let missing: Vec<&str> = verbs.filter(|(_, allowed)| *allowed == Some(false)).map(|(verb, _)| *verb).collect();
        if !missing.is_empty() && self.verdict.bad().is_none() {
            let cure = "`faro check --print-rbac` prints the rights that are needed";
            self.verdict = Verdict::Bad(format!("forbidden: {} not allowed; {cure}", missing.join(" and ")));
        }
    }
}

impl Verdict {
    fn bad(&self) -> Option<&str> {
        match self {
            Self::Bad(why) => Some(why),
            Self::Good | Self::Waits(_) => None,
        }
    }
}

fn hint(near: &[String]) -> String {
    match near {
        [] => "; `kubectl api-resources` lists what is".to_owned(),
        [one] => format!("; did you mean \"{one}\"?"),
        several => format!("; did you mean one of \"{}\"?", several.join("\", \"")),
    }
}

fn count_bad(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.verdict.bad().is_some()).count()
}

fn summary(rows: &[Row]) -> String {
    let (all, bad) = (rows.len(), count_bad(rows));
    let waiting = rows.iter().filter(|row| matches!(row.verdict, Verdict::Waits(_))).count();
    match (bad, waiting) {
        (0, 0) => format!("good: {all} of {all} watches would work"),
        (0, waiting) => format!("good: {} of {all} watches would work, {waiting} would wait", all - waiting),
        (bad, _) => format!("not good: {bad} of {all} watches would not work"),
    }
}

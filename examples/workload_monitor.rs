//! Workloads that come and go: namespaces that carry a label are found at run time, what is in them is watched, and each
//! change is written as a JSON line with `workload_id` and `workload_name`, to stdout and to `./workload-events`.
//!
//! ```text
//! cargo run --example workload_monitor -- --discover-namespaces 'app.kubernetes.io/name~shop' \
//!     --extract-from-namespace 'env-staging-(.+)' --namespace-resources v1/configmaps,batch/v1/jobs
//! ```
//!
//! Two controllers: the one that finds namespaces remembers nothing, so that each run finds them all; the one that writes
//! remembers what it wrote, so that no run writes it again.

use faro::client::Client;
use faro::config::{Config, ResourceConfig};
use faro::controller::Controller;
use faro::dispatch::{HandlerError, metadata_only};
use faro::event::{EventType, MatchedEvent};
use faro::lifecycle::Joined;
use faro::sink::{JsonRecord, Verdict};
use lexopt::{Arg, ValueExt};
use regex_lite::Regex;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

/// What makes a namespace part of a workload, and what of it is watched: the command line.
struct Policy {
    detection_label: String,
    name_pattern: Regex,
    id_extractor: Regex,
    cluster_gvrs: Vec<String>,
    namespace_gvrs: Vec<String>,
}

impl Policy {
    fn from_args() -> Result<Self, Box<dyn Error>> {
        let mut discover = "app.kubernetes.io/name~.*".to_owned();
        let mut extract = "env-staging-(.+)".to_owned();
        let (mut cluster, mut namespaced) = ("v1/namespaces".to_owned(), "v1/configmaps,batch/v1/jobs,v1/events".to_owned());
        let mut args = lexopt::Parser::from_env();
        while let Some(arg) = args.next()? {
            match arg {
                Arg::Long("discover-namespaces") => discover = args.value()?.string()?,
                Arg::Long("extract-from-namespace") => extract = args.value()?.string()?,
                Arg::Long("cluster-resources") => cluster = args.value()?.string()?,
                Arg::Long("namespace-resources") => namespaced = args.value()?.string()?,
                Arg::Long(_) | Arg::Short(_) | Arg::Value(_) => return Err(arg.unexpected().into()),
            }
        }
        let list = |text: &str| text.split(',').map(|gvr| gvr.trim().to_owned()).collect();
        let (label, pattern) = discover.split_once('~').ok_or("--discover-namespaces: expected LABEL~PATTERN")?;
        Ok(Self {
            detection_label: label.to_owned(),
            name_pattern: Regex::new(pattern)?,
            id_extractor: Regex::new(&extract)?,
            cluster_gvrs: list(&cluster),
            namespace_gvrs: list(&namespaced),
        })
    }

    /// Id and name of the workload that a namespace belongs to.
    fn workload_of(&self, namespace: &MatchedEvent) -> Option<(String, String)> {
        let name = namespace.labels().get(&self.detection_label).filter(|name| self.name_pattern.is_match(name))?.into_owned();
        let found = self.id_extractor.captures(&namespace.name()).and_then(|found| Some(found.get(1)?.as_str().to_owned()));
        Some((found.unwrap_or_else(|| name.clone()), name))
    }
}

/// The workloads of now, by their namespaces.
type Workloads = Arc<Mutex<BTreeMap<String, (String, String)>>>;

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let (client, policy, workloads) = (Client::try_default()?, Policy::from_args()?, Workloads::default());

    let writing = Config::builder("workload-events").json_stdout(true).without_metrics();
    let writing = policy.cluster_gvrs.iter().fold(writing, |config, gvr| config.resource(ResourceConfig::new(gvr)));
    let writer = Controller::new(client.clone(), writing.build()?);
    let known = Arc::clone(&workloads);
    writer.add_json_middleware(move |event: &MatchedEvent, record: &mut JsonRecord| {
        if let Some((id, name)) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&*event.namespace()) {
            record.set_field("workload_id", &id.as_str().into()).expect("a field of this name and size can be set");
            record.set_field("workload_name", &name.as_str().into()).expect("a field of this name and size can be set");
        }
        Verdict::Write
    })?;

    let finding = Config::builder("unused").json_export(false).state(false).without_metrics();
    let finder = Controller::new(client, finding.resource(ResourceConfig::new("v1/namespaces")).build()?);
    let adding = writer.clone();
    _ = finder.add_event_handler(metadata_only(move |event: &MatchedEvent| -> Result<(), HandlerError> {
        let namespace = event.name().into_owned();
        let names = |gvr| ResourceConfig { namespace_names: vec![namespace.clone()], ..ResourceConfig::new(gvr) };
        let resources: Vec<_> = policy.namespace_gvrs.iter().map(names).collect();
        let workload = policy.workload_of(event).filter(|_| event.event_type != EventType::Deleted);
        if let Some(workload) = workload {
            log::info!("{namespace}: belongs to workload {}", workload.0);
            workloads.lock().unwrap_or_else(PoisonError::into_inner).insert(namespace.clone(), workload);
            adding.add_resources(&resources)?;
        } else if adding.remove_resources(&resources)? > 0 {
            log::info!("{namespace}: belongs to no workload any more");
            workloads.lock().unwrap_or_else(PoisonError::into_inner).remove(&namespace);
        }
        Ok(())
    }))?;

    let _finding = finder.spawn()?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (listening, stopping) = (signals.handle(), writer.clone());
    let _signals = Joined::spawn("signals", move || signals.forever().take(1).for_each(|_| stopping.stop()))?;
    let ended = writer.start();
    listening.close();
    ended?;
    Ok(())
}

//! What one informer watches, and how that watch is named.

use super::{FieldSelector, GroupVersionResource, LabelSelector};
use std::fmt;

/// One informer's job: a resource, a namespace or all, and the selectors that the server applies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchTarget {
    /// Which resource.
    pub gvr: GroupVersionResource,
    /// One namespace; `None` for all namespaces and for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// Only objects whose labels match.
    pub label_selector: Option<LabelSelector>,
    /// Only objects whose fields match; a `name_selector` arrives here as `metadata.name=…`.
    pub field_selector: Option<FieldSelector>,
}

/// Whether the objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// They do.
    Namespaced,
    /// They do not.
    Cluster,
}

/// A short stable name of a watch: a hash of cluster, gvr, namespace and selectors, in sixteen hexadecimal digits.
///
/// At 64 bits, ten thousand watches share one with a chance of one in 10^11. Two watches of one run that share one are refused
/// all the same, since each would take the other's objects for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(u64);

/// A target with the names that every event of it carries.
#[derive(Clone, Debug)]
pub struct Watch {
    /// What is watched.
    pub target: WatchTarget,
    /// How the watch is named in lines and ids.
    pub id: WatchId,
    /// The text form of the gvr, made once.
    pub gvr: String,
    /// The configured `cluster_name`, when one is set.
    pub cluster_name: Option<String>,
    /// The namespaces that are asked for, all where there are none. They hold also where the kind has no namespaces now, and
    /// its target none: a definition that comes back may have another scope.
    pub namespaces: Vec<String>,
}

impl Watch {
    /// Names `target`. `cluster` identifies the cluster (a uid or a URL); `cluster_name` is what lines show.
    pub fn new(target: WatchTarget, cluster: &str, cluster_name: Option<String>) -> Self {
        let (id, gvr, namespaces) =
            (WatchId::new(cluster, &target), target.gvr.to_string(), target.namespace.iter().cloned().collect());
        Self { id, gvr, target, cluster_name, namespaces }
    }

    /// The same watch, of objects of these namespaces and of those that live in none; of all where there are none.
    #[must_use]
    pub fn confined_to(self, namespaces: Vec<String>) -> Self {
        Self { namespaces, ..self }
    }

    /// Whether an object of this namespace was asked for.
    pub fn covers(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || namespace.is_empty() || self.namespaces.iter().any(|asked| asked == namespace)
    }
}

impl WatchTarget {
    /// All objects of `gvr` in all namespaces.
    pub fn all(gvr: GroupVersionResource) -> Self {
        Self { gvr, namespace: None, label_selector: None, field_selector: None }
    }

    /// Reads back the text of a target; `None` when it is no such text.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let (text, fields) = text.rsplit_once(" with fields ").map_or((text, None), |(text, fields)| (text, Some(fields)));
        let (place, labels) = text.split_once(" with labels ").map_or((text, None), |(place, labels)| (place, Some(labels)));
        let (gvr, namespace) = place.split_once(" in ").map_or((place, None), |(gvr, namespace)| (gvr, Some(namespace)));
        Some(Self {
            gvr: gvr.parse().ok()?,
            namespace: namespace.map(str::to_owned),
            label_selector: labels.map(str::parse).transpose().ok()?,
            field_selector: fields.map(str::parse).transpose().ok()?,
        })
    }

    /// `v1/pods in default`: the same target without its selectors, in words.
    pub(crate) fn place(&self) -> String {
        Self { label_selector: None, field_selector: None, ..self.clone() }.to_string()
    }
}

impl fmt::Display for WatchTarget {
    /// `v1/pods in default with labels app=web and fields metadata.name=x`, for log lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.gvr)?;
        if let Some(namespace) = &self.namespace {
            write!(f, " in {namespace}")?;
        }
        if let Some(labels) = &self.label_selector {
            write!(f, " with labels {labels}")?;
        }
        if let Some(fields) = &self.field_selector {
            write!(f, " with fields {fields}")?;
        }
        Ok(())
    }
}

impl WatchId {
    /// The id of `target` in the cluster that `cluster` identifies.
    pub fn new(cluster: &str, target: &WatchTarget) -> Self {
        let mut hash = FNV_OFFSET;
        let selectors = (
            target.label_selector.as_ref().map(LabelSelector::as_str),
            target.field_selector.as_ref().map(FieldSelector::as_str),
        );
        let gvr = target.gvr.to_string();
        for part in [Some(cluster), Some(&gvr), target.namespace.as_deref(), selectors.0, selectors.1] {
            for byte in part.unwrap_or_default().bytes().chain([0]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
            }
        }
        Self(hash)
    }

    /// The id as a number, for storing.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The id that [`to_bits`](Self::to_bits) gave.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Reads the id that a line carries; `None` when `text` is not sixteen lowercase hexadecimal digits.
    pub fn from_text(text: &str) -> Option<Self> {
        let is_id = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| u64::from_str_radix(text, 16).ok().map(Self)).flatten()
    }
}

/// FNV-1a, 64 bits: stable across builds, which the standard library's hashers do not promise.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaced => "Namespaced",
            Self::Cluster => "Cluster",
        })
    }
}

impl fmt::Display for WatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watch_ids_are_stable_and_tell_targets_apart() {
        let all = WatchTarget::all("v1/pods".parse().unwrap());
        let one = WatchTarget { namespace: Some("default".to_owned()), ..all.clone() };
        // Written into files and checkpoints: this value must never change.
        assert_eq!(WatchId::new("c", &all).to_string(), "3a002eb82caaaaec");
        assert_ne!(WatchId::new("c", &all), WatchId::new("c", &one));
        assert_ne!(WatchId::new("c", &all), WatchId::new("d", &all));
    }

    #[test]
    fn a_watch_id_reads_back_from_its_text_alone() {
        let id = WatchId::from_bits(0x00c0_ffee_0000_0001);
        assert_eq!((WatchId::from_text("00c0ffee00000001"), WatchId::from_text(&id.to_string())), (Some(id), Some(id)));
        for wrong in
            ["", "00c0ffee", "c0ffee00000001", "00C0FFEE00000001", "+0c0ffee00000001", "00c0ffeg00000001", "000c0ffee00000001"]
        {
            assert_eq!(WatchId::from_text(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_target_reads_back_from_its_text() {
        for (namespace, labels, fields) in [
            (None, None, None),
            (Some("default"), None, None),
            (None, Some("app in (web, db),!canary"), None),
            (Some("in"), None, Some("metadata.name=x")),
            (Some("with"), Some("app=web"), Some("status.phase!=Running,metadata.name=x")),
        ] {
            let target = WatchTarget {
                gvr: "apps/v1/deployments".parse().unwrap(),
                namespace: namespace.map(str::to_owned),
                label_selector: labels.map(|labels| labels.parse().unwrap()),
                field_selector: fields.map(|fields| fields.parse().unwrap()),
            };
            assert_eq!(WatchTarget::from_text(&target.to_string()), Some(target));
        }
        assert_eq!(WatchTarget::from_text(""), None, "as of a watch of which there were only lines");
    }
}

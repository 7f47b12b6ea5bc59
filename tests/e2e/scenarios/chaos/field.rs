//! Where chaos scenarios take place: watches of several kinds, and the namespaces in which is written.

use crate::chaos::truth::{Key, LABEL, Selection};
use crate::cluster::Cluster;
use crate::writer::widgets_definition;

/// Watches of everything, by label and by namespace; three kinds, one of them a custom resource.
#[derive(Clone, Debug)]
pub(in crate::scenarios) struct Field {
    pub(in crate::scenarios) watches: Vec<Selection>,
    /// Gvr and namespace.
    pub(in crate::scenarios) places: Vec<(String, String)>,
}

const CONFIG_MAPS: &str = "v1/configmaps";
const WIDGETS: &str = "chaos.faro.test/v1/widgets";
const LEASES: &str = "coordination.k8s.io/v1/leases";

/// `CHAOS_SEED`, or another one each time.
pub(in crate::scenarios) fn seed() -> u64 {
    std::env::var("CHAOS_SEED").map_or_else(|_| fastrand::u64(0..1_000_000), |seed| seed.parse().expect("CHAOS_SEED is a number"))
}

impl Field {
    /// In two new namespaces of a real cluster.
    pub(in crate::scenarios) fn on(cluster: &Cluster) -> Self {
        // Other scenarios may have defined it.
        cluster.kubectl.apply(&widgets_definition());
        cluster.kubectl.run("wait --for=condition=established --timeout=30s crd widgets.chaos.faro.test");
        let [left, right] = ["left", "right"].map(|stem| cluster.namespace(stem));
        Self::of([&left, &right])
    }

    /// In two new namespaces of a simulated one.
    pub(in crate::scenarios) fn on_simulated(cluster: &faro::sim::Cluster) -> Self {
        let namespace = |name| format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}");
        let manifests = [namespace("left"), namespace("right"), widgets_definition()];
        manifests.iter().for_each(|manifest| drop(cluster.create(manifest).expect("a new cluster has none of these")));
        Self::of(["left", "right"])
    }

    fn of([left, right]: [&str; 2]) -> Self {
        let watch = |gvr, namespace: Option<&str>, label| Selection { gvr, namespace: namespace.map(str::to_owned), label };
        let watches = vec![
            watch(CONFIG_MAPS, None, None),
            watch(CONFIG_MAPS, None, Some("front")),
            watch(CONFIG_MAPS, Some(left), None),
            watch(WIDGETS, None, None),
            watch(LEASES, Some(right), Some("front")),
        ];
        let places = [(CONFIG_MAPS, left), (CONFIG_MAPS, right), (WIDGETS, left), (LEASES, right)];
        Self { watches, places: places.map(|(gvr, namespace)| (gvr.to_owned(), namespace.to_owned())).into() }
    }

    /// The watches, as a configuration has them.
    pub(in crate::scenarios) fn config(&self) -> String {
        let entry = |watch: &Selection| {
            let namespace = watch.namespace.as_ref().map(|name| format!(", namespace_names: [{name}]")).unwrap_or_default();
            let label = watch.label.map(|label| format!(", label_selector: {LABEL}={label}")).unwrap_or_default();
            format!("- {{gvr: {}{namespace}{label}}}\n", watch.gvr)
        };
        format!("resources:\n{}", self.watches.iter().map(entry).collect::<String>())
    }

    /// Objects that are written last; each watch has one of them.
    pub(in crate::scenarios) fn last(&self) -> Vec<Key> {
        let places = self.places.iter().filter(|(gvr, namespace)| gvr != CONFIG_MAPS || *namespace == self.places[0].1);
        places.map(|(gvr, namespace)| (gvr.clone(), namespace.clone(), "last".to_owned())).collect()
    }
}

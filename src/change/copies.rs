//! Annotations that hold a copy of an object, with everything in it that is secret.

/// The well-known ones, sorted; the README lists them.
pub const COPIES: [&str; 13] = [
    // KubeVela
    "app.oam.dev/last-applied-configuration",
    // Banzai Cloud's objectmatcher, in many operators
    "banzaicloud.com/last-applied",
    // Config Sync
    "configmanagement.gke.io/declared-config",
    // CockroachDB's operator
    "crdb.io/last-applied",
    // kapp
    "kapp.k14s.io/original",
    "kapp.k14s.io/original-diff",
    "kapp.k14s.io/original-diff-full",
    // kopf
    "kopf.zalando.org/last-handled-configuration",
    // kubectl apply, and what does as it does
    "kubectl.kubernetes.io/last-applied-configuration",
    // Rancher and Fleet
    "objectset.rio.cattle.io/applied",
    // KubeVirt's data importer
    "operator.cdi.kubevirt.io/lastAppliedConfiguration",
    // Kyma
    "operator.kyma-project.io/lastAppliedConfiguration",
    // Seldon
    "seldon.io/last-applied",
];

/// Whether `key` is one of them.
pub(super) fn is_copy(key: &str) -> bool {
    COPIES.binary_search(&key).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::COPY_ENDS;

    #[test]
    fn the_list_is_sorted_and_the_readme_has_all_of_it() {
        assert!(COPIES.is_sorted());
        let readme = include_str!("../../README.md");
        for key in COPIES {
            assert!(COPY_ENDS.iter().any(|end| key.as_bytes().ends_with(*end)), "{key}");
            assert!(is_copy(key) && readme.contains(&format!("`{key}`")), "{key}");
        }
        assert!(!is_copy("team") && !is_copy("kapp.k14s.io/original-diff-md5"));
    }
}

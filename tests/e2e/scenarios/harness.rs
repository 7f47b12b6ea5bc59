//! The harness itself: what it does to a control plane really happens.

use crate::control_plane::Options;
use crate::runner::Stage;
use serde_json::json;

/// Without this, a scenario about restores could pass because nothing was restored.
pub(super) fn a_restored_server_forgets_what_was_written_since(stage: &Stage) {
    let cluster = stage.own(Options::default());
    let namespace = cluster.namespace("restore");
    let kept = cluster.writer.create_object(&namespace, "kept", &json!({}), "1");
    let backup = cluster.own().back_up();
    let lost = cluster.writer.create_object(&namespace, "lost", &json!({}), "1");
    assert_ne!(kept.version, lost.version);
    cluster.own().restore(&backup);
    cluster.wait_until_ready();
    let names: Vec<_> = cluster.writer.list_objects(&namespace).iter().map(|object| object["metadata"]["uid"].clone()).collect();
    assert_eq!(names, [json!(kept.uid)]);
}

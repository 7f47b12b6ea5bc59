//! Definitions that come back with another scope.

use super::*;

const WIDGETS: &str = "scope.test/v1/widgets";

impl Stage {
    fn define_scoped(&self, scope: &str) {
        let versions = "[{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]";
        let names = "{plural: widgets, singular: widget, kind: Widget}";
        let spec = format!("{{group: scope.test, scope: {scope}, names: {names}, versions: {versions}}}");
        let head = "apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition";
        self.cluster.create(&format!("{{{head}, metadata: {{name: widgets.scope.test}}, spec: {spec}}}")).unwrap();
    }

    fn create_widget_in(&self, namespace: &str, name: &str) {
        let metadata = format!("{{name: {name}, namespace: {namespace}}}");
        self.cluster.create(&format!("{{apiVersion: scope.test/v1, kind: Widget, metadata: {metadata}}}")).unwrap();
    }
}

/// Watches these namespaces of a kind that has none, then has some, and says what came of it.
fn told_of(namespaces: &[&str]) -> Vec<String> {
    let stage = Stage::new();
    for namespace in ["shop", "other"] {
        stage.cluster.create(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}")).unwrap();
    }
    stage.define_scoped("Cluster");
    stage.create_widget("scope.test", "a");
    let is_in_shop = namespaces.contains(&"shop");
    let namespaces = namespaces.iter().map(ToString::to_string).collect();
    let resource = ResourceConfig { namespace_names: namespaces, ..ResourceConfig::new(WIDGETS) };
    let controller = stage.controller_of(stage.config().resource(resource));
    let heard = Heard::default();
    _ = controller.add_event_handler(heard.handler()).unwrap();
    let running = controller.spawn().unwrap();
    heard.wait_for(&format!("ADDED {WIDGETS} /a"));
    stage.cluster.delete("apiextensions.k8s.io/v1/customresourcedefinitions", "widgets.scope.test").unwrap();
    stage.define_scoped("Namespaced");
    stage.create_widget_in("other", "b");
    stage.create_widget_in("default", "c");
    heard.wait_for(&format!("ADDED {WIDGETS} default/c"));
    heard.wait_for(&format!("DELETED {WIDGETS} /a"));
    // Also what comes later.
    stage.create_widget_in("other", "d");
    stage.create_widget_in("shop", "e");
    stage.create_widget_in("default", "f");
    heard.wait_for(&format!("ADDED {WIDGETS} default/f"));
    if is_in_shop {
        heard.wait_for(&format!("ADDED {WIDGETS} shop/e"));
    }
    stop(running);
    let words = |line: &Line| line.brief().split(' ').take(2).collect::<Vec<_>>().join(" ");
    let mut told: Vec<String> = stage.lines().iter().map(words).collect();
    told.sort();
    told
}

#[test]
fn a_namespace_of_the_configuration_is_in_force_again_when_the_kind_has_namespaces_again() {
    assert_eq!(told_of(&["default"]), ["ADDED a", "ADDED default/c", "ADDED default/f", "DELETED a"]);
}

#[test]
fn several_namespaces_of_the_configuration_are_in_force_again_and_no_other_one() {
    let told = told_of(&["default", "shop"]);
    assert_eq!(told, ["ADDED a", "ADDED default/c", "ADDED default/f", "ADDED shop/e", "DELETED a"]);
}

//! What a build without some features says of what it cannot do.

use super::{Config, ResourceConfig};

#[test]
fn what_a_build_lacks_is_refused_by_its_name_and_absent_by_default() {
    let check = |is_there: bool, yaml: &str, path: &str, expected: &str| {
        let refused = format!("c.yaml:3: {path}: this program was built without faro's feature {expected}");
        let text = format!("output_dir: x\nresources: [{{gvr: v1/pods}}]\n{yaml}\n");
        let told = Config::from_yaml(&text, "c.yaml").map_or_else(|error| error.to_string(), |_| "ok".to_owned());
        assert_eq!(told, if is_there { "ok" } else { &refused }, "{yaml}");
    };
    let (state, metrics) = (cfg!(feature = "state"), cfg!(feature = "metrics"));
    let cure = "`state`; build it with that feature, or say `state: {enabled: false}`";
    check(state, "state: {enabled: true}", "state", cure);
    check(state, "state: {dir: there}", "state", cure);
    check(true, "state: {enabled: false, dir: there}", "", "");
    let cure = "`metrics`; build it with that feature, or say `metrics: {enabled: false}`";
    check(metrics, "metrics: {port: 0}", "metrics", cure);
    check(true, "metrics: {enabled: false}", "", "");
    let cure = "`compress`; build it with that feature, or say `compress: none`";
    check(cfg!(feature = "compress"), "compress: gzip", "compress", cure);
    let cure = "`export`; build it with that feature, or say `json_export: false` and leave `json_stdout` out";
    let export = cfg!(feature = "export");
    check(export, "json_export: true", "json_export", cure);
    check(export, "json_stdout: true", "json_stdout", cure);
    let config = Config::builder("x").resource(ResourceConfig::new("v1/pods")).build().unwrap();
    assert_eq!((config.state.enabled, config.metrics.enabled, config.json_export), (state, metrics, export));
}

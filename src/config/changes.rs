//! What of a configuration may change while Faro runs, and what may not.
//!
//! Takes the configuration in force and one that is to replace it; gives the keys that stand in the way.

use super::{Config, MetricsConfig, RedactConfig, RetainConfig, RotateConfig, StateConfig};

impl Config {
    /// The keys of which `other` has another value, and which are read at the start alone: all but `resources`, `namespaces`
    /// and `log_level`.
    ///
    /// ```
    /// use faro::config::Config;
    ///
    /// let config = |yaml: &str| Config::from_yaml(yaml, "example");
    /// let running = config("{output_dir: events, resources: [{gvr: v1/pods}]}")?;
    /// let wanted = config("{output_dir: elsewhere, log_level: debug, resources: [{gvr: v1/services}]}")?;
    /// assert_eq!(running.changed_fixed_keys(&wanted), ["output_dir", "state.dir"]);
    /// # Ok::<(), faro::config::ConfigError>(())
    /// ```
    pub fn changed_fixed_keys(&self, other: &Self) -> Vec<&'static str> {
        // Taken apart by name, so that a new setting is decided about here.
        let Self {
            output_dir,
            log_level: _,
            log_file,
            auto_shutdown,
            shutdown_grace,
            json_export,
            json_stdout,
            cluster_name,
            initial_events,
            state: StateConfig { enabled: state_enabled, dir: state_dir },
            rotate: RotateConfig { max_bytes, max_age },
            compress,
            retain: RetainConfig { total_bytes, max_age: retained_age },
            max_concurrent_lists,
            watch_config,
            redact: RedactConfig { last_applied, annotation_value_max_bytes, key_file },
            metrics: MetricsConfig { enabled: metrics_enabled, port, path, bind_addr, tls, bearer_token_file },
            resources: _,
        } = self;
        let keys = [
            ("output_dir", *output_dir != other.output_dir),
            ("log_file", *log_file != other.log_file),
            ("auto_shutdown_sec", *auto_shutdown != other.auto_shutdown),
            ("shutdown_grace_sec", *shutdown_grace != other.shutdown_grace),
            ("json_export", *json_export != other.json_export),
            ("json_stdout", *json_stdout != other.json_stdout),
            ("cluster_name", *cluster_name != other.cluster_name),
            ("initial_events", *initial_events != other.initial_events),
            ("state.enabled", *state_enabled != other.state.enabled),
            ("state.dir", *state_dir != other.state.dir),
            ("rotate.max_bytes", *max_bytes != other.rotate.max_bytes),
            ("rotate.max_age_sec", *max_age != other.rotate.max_age),
            ("compress", *compress != other.compress),
            ("retain.total_bytes", *total_bytes != other.retain.total_bytes),
            ("retain.max_age_sec", *retained_age != other.retain.max_age),
            ("max_concurrent_lists", *max_concurrent_lists != other.max_concurrent_lists),
            ("watch_config", *watch_config != other.watch_config),
            ("redact_last_applied", *last_applied != other.redact.last_applied),
            ("annotation_value_max_bytes", *annotation_value_max_bytes != other.redact.annotation_value_max_bytes),
            ("redact_key_file", *key_file != other.redact.key_file),
            ("metrics.enabled", *metrics_enabled != other.metrics.enabled),
            ("metrics.port", *port != other.metrics.port),
            ("metrics.path", *path != other.metrics.path),
            ("metrics.bind_addr", *bind_addr != other.metrics.bind_addr),
            ("metrics.tls", *tls != other.metrics.tls),
            ("metrics.bearer_token_file", *bearer_token_file != other.metrics.bearer_token_file),
        ];
        keys.into_iter().filter(|(_, has_changed)| *has_changed).map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
#[cfg(feature = "daemon")]
mod tests {
    use super::*;

    fn check(changed: &str, expected: &[&str]) {
        let config = |yaml: &str| Config::from_yaml(&format!("output_dir: out\n{yaml}"), "c").unwrap();
        let running = config("resources: [{gvr: v1/pods}]");
        assert_eq!(running.changed_fixed_keys(&config(changed)), expected, "{changed}");
    }

    #[test]
    fn what_is_watched_and_logged_may_change_and_nothing_else() {
        check("resources: [{gvr: v1/services}]", &[]);
        check("namespaces: [{name_selector: a, resources: {v1/pods: {}}}]\nlog_level: debug", &[]);
        let kept = "resources: [{gvr: v1/pods}]";
        for (yaml, key) in [
            ("log_file: false", "log_file"),
            ("auto_shutdown_sec: 7", "auto_shutdown_sec"),
            ("shutdown_grace_sec: 7", "shutdown_grace_sec"),
            ("json_export: false", "json_export"),
            ("json_stdout: true", "json_stdout"),
            ("cluster_name: other", "cluster_name"),
            ("initial_events: skip", "initial_events"),
            ("state: {enabled: false}", "state.enabled"),
            ("state: {dir: elsewhere}", "state.dir"),
            ("rotate: {max_bytes: 70000}", "rotate.max_bytes"),
            ("rotate: {max_age_sec: 7}", "rotate.max_age_sec"),
            ("compress: zstd", "compress"),
            ("retain: {total_bytes: 0}", "retain.total_bytes"),
            ("retain: {max_age_sec: 7}", "retain.max_age_sec"),
            ("max_concurrent_lists: 7", "max_concurrent_lists"),
            ("watch_config: true", "watch_config"),
            ("redact_last_applied: false", "redact_last_applied"),
            ("annotation_value_max_bytes: 7", "annotation_value_max_bytes"),
            ("redact_key_file: key", "redact_key_file"),
            ("metrics: {enabled: false}", "metrics.enabled"),
            ("metrics: {port: 7}", "metrics.port"),
            ("metrics: {path: /m}", "metrics.path"),
            ("metrics: {bind_addr: '::1'}", "metrics.bind_addr"),
            ("metrics: {tls: {cert_file: a, key_file: b}}", "metrics.tls"),
            ("metrics: {bearer_token_file: a}", "metrics.bearer_token_file"),
        ] {
            check(&format!("{kept}\n{yaml}"), &[key]);
        }
    }
}

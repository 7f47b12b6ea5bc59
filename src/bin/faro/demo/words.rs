//! What an object is about, in a few words: what a reader of the stream wants to know of a change.

use serde_json::Value;

/// Longer words are cut, so that a line fits a terminal.
const CHARS_MAX: usize = 60;

/// The words for an object of the resource `gvr`; empty where there is nothing to say.
pub(super) fn of(gvr: &str, object: &[u8]) -> String {
    let object: Value = serde_json::from_slice(object).unwrap_or_default();
    let status = &object["status"];
    let words = match gvr {
        "v1/pods" => pod(status),
        "v1/events" => format!("{}: {}", text(&object["reason"]), text(&object["message"])),
        "apps/v1/deployments" => format!(
            "{} ready, {} of {} new, {}",
            number(&status["readyReplicas"]),
            number(&status["updatedReplicas"]),
            number(&object["spec"]["replicas"]),
            image(&object)
        ),
        "apps/v1/replicasets" => {
            format!("{} of {} ready, {}", number(&status["readyReplicas"]), number(&object["spec"]["replicas"]), image(&object))
        }
        "batch/v1/jobs" => job(status),
        _ => format!("{} {}", text(&status["phase"]), text(&status["progress"])),
    };
    // An object may say anything; a terminal must not obey it.
    let words = words.replace(char::is_control, " ");
    let words = words.trim();
    if words.chars().count() <= CHARS_MAX {
        return words.to_owned();
    }
    words.chars().take(CHARS_MAX - 1).chain(['…']).collect()
}

/// As the column STATUS of kubectl: the container's reason before the phase.
fn pod(status: &Value) -> String {
    let container = &status["containerStatuses"][0];
    let state = &container["state"];
    let reason = [&state["waiting"]["reason"], &state["terminated"]["reason"], &status["phase"]];
    let mut words = reason.into_iter().map(text).find(|reason| !reason.is_empty()).unwrap_or_default().to_owned();
    if container["ready"] == true {
        words += ", ready";
    }
    match number(&container["restartCount"]) {
        0 => {}
        1 => words += ", 1 restart",
        restarts => words += &format!(", {restarts} restarts"),
    }
    words
}

fn job(status: &Value) -> String {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let mut done = conditions.filter(|condition| condition["status"] == "True").map(|condition| text(&condition["type"]));
    done.next().map_or_else(|| format!("{} active", number(&status["active"])), str::to_owned)
}

fn image(object: &Value) -> &str {
    text(&object["spec"]["template"]["spec"]["containers"][0]["image"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(gvr: &str, object: &str, expected: &str) {
        assert_eq!(of(gvr, object.as_bytes()), expected, "{object}");
    }

    #[test]
    fn each_kind_is_told_by_what_matters() {
        check("v1/pods", r#"{"status":{"phase":"Pending"}}"#, "Pending");
        check("v1/pods", r#"{"status":{"phase":"Running","containerStatuses":[{"ready":true}]}}"#, "Running, ready");
        let crashed = r#"{"status":{"phase":"Running","containerStatuses":[{"restartCount":4,"state":{"waiting":{"reason":"CrashLoopBackOff"}}}]}}"#;
        check("v1/pods", crashed, "CrashLoopBackOff, 4 restarts");
        let spec = r#""spec":{"replicas":3,"template":{"spec":{"containers":[{"image":"web:2"}]}}}"#;
        let deployment = format!(r#"{{{spec},"status":{{"readyReplicas":4,"updatedReplicas":1}}}}"#);
        check("apps/v1/deployments", &deployment, "4 ready, 1 of 3 new, web:2");
        check("apps/v1/replicasets", &deployment, "4 of 3 ready, web:2");
        check("batch/v1/jobs", r#"{"status":{"active":1}}"#, "1 active");
        check("batch/v1/jobs", r#"{"status":{"conditions":[{"type":"Failed","status":"True"}]}}"#, "Failed");
        check("demo.faro.dev/v1/backups", r#"{"status":{"phase":"Running","progress":"40 %"}}"#, "Running 40 %");
    }

    #[test]
    fn what_says_nothing_or_too_much_makes_one_short_line() {
        check("v1/pods", "{}", "");
        check("batch/v1/jobs", "{}", "0 active");
        check("v1/pods", r#"{"status":[1]}"#, "");
        let words = r#"{"reason":"A","message":"\u001b[31m\n"}"#;
        check("v1/events", words, "A:  [31m");
        check("v1/events", &format!(r#"{{"reason":"A","message":"{}"}}"#, "x".repeat(99)), &format!("A: {}…", "x".repeat(56)));
    }
}

//! Patches: JSON merge patch (RFC 7386), JSON patch (RFC 6902), and strategic merge patch as far as clients use it.

use super::super::state::json::Json;
use super::super::state::refusal::Refusal;

/// The kinds of patch that are known, by content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Merge,
    Json,
    Strategic,
}

/// The kind of patch of a content type.
///
/// # Errors
///
/// 415 for any other, server-side apply among them.
pub(super) fn kind(content_type: &str) -> Result<Kind, Refusal> {
    match content_type.split(';').next().unwrap_or_default().trim() {
        "application/merge-patch+json" => Ok(Kind::Merge),
        "application/json-patch+json" => Ok(Kind::Json),
        "application/strategic-merge-patch+json" => Ok(Kind::Strategic),
        _ => Err(unknown_format(
            "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json",
        )),
    }
}

/// 415, with what is known instead.
pub(super) fn unknown_format(known: &str) -> Refusal {
    let message = format!("the body of the request was in an unknown format - accepted media types include: {known}");
    Refusal::new(415, "UnsupportedMediaType", message).with(Json::object([]))
}

/// Applies a patch of this kind.
pub(super) fn apply(json: &mut Json, kind: Kind, patch: &Json) -> Result<(), Refusal> {
    match kind {
        Kind::Merge => merge(json, patch),
        Kind::Strategic => merge_strategic(json, patch),
        Kind::Json => patch.items().iter().try_for_each(|operation| operate(json, operation)).map_err(|why| {
            let message = format!("the server rejected our request due to an error in our request: {why}");
            Refusal::new(422, "Invalid", message).with(Json::object([]))
        })?,
    }
    Ok(())
}

/// Merges `patch` into `json`: `null` takes a key out, everything but objects replaces.
pub(crate) fn merge(json: &mut Json, patch: &Json) {
    merge_with(json, patch, &mut |to, patch| *to = patch.clone());
}

/// As [`merge`], but lists of named objects are merged by name, and directives are left out.
fn merge_strategic(json: &mut Json, patch: &Json) {
    merge_with(json, patch, &mut merge_list);
}

fn merge_with(json: &mut Json, patch: &Json, replace: &mut impl FnMut(&mut Json, &Json)) {
    let Json::Object(entries) = patch else { return replace(json, patch) };
    json.entries_mut();
    for (key, value) in entries {
        match value {
            Json::Null => {
                json.remove(key);
            }
            _ if key.starts_with('$') => {}
            Json::Object(_) => merge_with(json.entry(key), value, replace),
            Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Array(_) => replace(json.entry(key), value),
        }
    }
}

fn merge_list(to: &mut Json, patch: &Json) {
    let name_of = |item: &Json| item.get("name").and_then(Json::as_text).map(str::to_owned);
    let is_named = |items: &[Json]| !items.is_empty() && items.iter().all(|item| name_of(item).is_some());
    let Json::Array(items) = to else { return *to = patch.clone() };
    if !is_named(items) || !is_named(patch.items()) {
        return *to = patch.clone();
    }
    for change in patch.items() {
        let place = items.iter().position(|item| name_of(item) == name_of(change));
        match (place, change.text_at("$patch") == "delete") {
            (Some(place), true) => {
                items.remove(place);
            }
            (Some(place), false) => merge_strategic(&mut items[place], change),
            (None, true) => {}
            (None, false) => items.push(change.clone()),
        }
    }
}

/// One operation of a JSON patch.
fn operate(json: &mut Json, operation: &Json) -> Result<(), String> {
    let path = operation.text_at("path");
    let value = || operation.get("value").cloned().ok_or("the operation has no value".to_owned());
    match operation.text_at("op") {
        "add" => put(json, path, value()?, false),
        "replace" => put(json, path, value()?, true),
        "remove" => take(json, path).map(drop),
        "test" if find(json, path)? == &value()? => Ok(()),
        "test" => Err(format!("testing value {path} failed")),
        "copy" => {
            let value = find(json, operation.text_at("from"))?.clone();
            put(json, path, value, false)
        }
        "move" => {
            let value = take(json, operation.text_at("from"))?;
            put(json, path, value, false)
        }
        other => Err(format!("unexpected kind: {other}")),
    }
}

fn missing(path: &str) -> String {
    format!("doc is missing path: {path}: missing value")
}

fn keys(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(|key| key.replace("~1", "/").replace("~0", "~")).collect()
}

fn find<'a>(json: &'a Json, path: &str) -> Result<&'a Json, String> {
    let found = keys(path).iter().try_fold(json, |at, key| match at {
        Json::Array(items) => key.parse().ok().and_then(|index: usize| items.get(index)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Object(_) => at.get(key),
    });
    found.ok_or_else(|| missing(path))
}

/// The container of the last key of `path`, and that key.
fn parent<'a>(json: &'a mut Json, path: &str) -> Result<(&'a mut Json, String), String> {
    let mut keys = keys(path);
    let last = keys.pop().ok_or_else(|| missing(path))?;
    let mut at = json;
    for key in keys {
        at = match at {
            Json::Array(items) => key.parse().ok().and_then(|index: usize| items.get_mut(index)),
            Json::Object(entries) => entries.iter_mut().find(|(name, _)| *name == key).map(|(_, value)| value),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => None,
        }
        .ok_or_else(|| missing(path))?;
    }
    Ok((at, last))
}

fn put(json: &mut Json, path: &str, value: Json, replaces: bool) -> Result<(), String> {
    if path.is_empty() {
        *json = value;
        return Ok(());
    }
    match parent(json, path)? {
        (Json::Array(items), key) if key == "-" && !replaces => items.push(value),
        (Json::Array(items), key) => match key.parse::<usize>() {
            Ok(index) if replaces && index < items.len() => items[index] = value,
            Ok(index) if !replaces && index <= items.len() => items.insert(index, value),
            Ok(_) | Err(_) => return Err(missing(path)),
        },
        (container @ Json::Object(_), key) if !replaces || container.get(&key).is_some() => container.set(&key, value),
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn take(json: &mut Json, path: &str) -> Result<Json, String> {
    let (container, key) = parent(json, path)?;
    let taken = match container {
        Json::Array(items) => key.parse().ok().filter(|index| *index < items.len()).map(|index: usize| items.remove(index)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Object(_) => container.remove(&key),
    };
    taken.ok_or_else(|| missing(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, json: &str, patch: &str, expected: &str) {
        let mut json = Json::parse(json.as_bytes()).unwrap();
        let result = apply(&mut json, kind, &Json::parse(patch.as_bytes()).unwrap());
        let told = result.map_or_else(|refusal| refusal.code.to_string(), |()| String::from_utf8(json.to_vec()).unwrap());
        assert_eq!(told, expected, "{patch}");
    }

    #[test]
    fn a_merge_replaces_lists_and_takes_nulls_out() {
        check(
            Kind::Merge,
            r#"{"a":{"b":1,"c":[1]},"d":2}"#,
            r#"{"a":{"b":null,"c":[2]},"e":{"f":null}}"#,
            r#"{"a":{"c":[2]},"d":2,"e":{}}"#,
        );
    }

    #[test]
    fn a_strategic_merge_joins_named_items_and_leaves_directives_out() {
        let json = r#"{"spec":{"containers":[{"name":"a","image":"1"},{"name":"b","image":"1"}],"args":["x"]}}"#;
        let patch = r#"{"spec":{"$setElementOrder/containers":[{"name":"a"}],"containers":[{"name":"a","image":"2"},{"$patch":"delete","name":"b"}],"args":["y"]}}"#;
        check(Kind::Strategic, json, patch, r#"{"spec":{"containers":[{"name":"a","image":"2"}],"args":["y"]}}"#);
    }

    #[test]
    fn a_json_patch_does_all_six_operations_or_is_refused() {
        let json = r#"{"a":{"b/c":1},"l":[1,2]}"#;
        check(
            Kind::Json,
            json,
            r#"[{"op":"test","path":"/a/b~1c","value":1},{"op":"add","path":"/l/-","value":3}]"#,
            r#"{"a":{"b/c":1},"l":[1,2,3]}"#,
        );
        check(
            Kind::Json,
            json,
            r#"[{"op":"add","path":"/l/0","value":0},{"op":"remove","path":"/a/b~1c"}]"#,
            r#"{"a":{},"l":[0,1,2]}"#,
        );
        check(
            Kind::Json,
            json,
            r#"[{"op":"move","from":"/l/0","path":"/x"},{"op":"copy","from":"/x","path":"/a/y"}]"#,
            r#"{"a":{"b/c":1,"y":1},"l":[2],"x":1}"#,
        );
        check(Kind::Json, json, r#"[{"op":"replace","path":"/l/1","value":9}]"#, r#"{"a":{"b/c":1},"l":[1,9]}"#);
        check(Kind::Json, json, r#"[{"op":"replace","path":"/nosuch","value":9}]"#, "422");
        check(Kind::Json, json, r#"[{"op":"test","path":"/a/b~1c","value":2}]"#, "422");
    }
}

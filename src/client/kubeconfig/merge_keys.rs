//! YAML's merge keys: `<<: *anchor` adds to a mapping what another holds and it lacks.
//!
//! Of values that are in memory already, and as deep as the YAML reader lets them be.

use serde_json::{Map, Value};

/// Replaces each `<<` in `value` by what it names: a mapping, or a list of them of which the first that has a key decides.
///
/// # Errors
///
/// When a `<<` names anything else.
pub(super) fn apply(value: &mut Value) -> Result<(), &'static str> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(apply),
        Value::Object(map) => {
            map.values_mut().try_for_each(apply)?;
            match map.remove("<<") {
                None => Ok(()),
                Some(Value::Array(sources)) => sources.into_iter().try_for_each(|source| add(map, source)),
                Some(source) => add(map, source),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn add(map: &mut Map<String, Value>, source: Value) -> Result<(), &'static str> {
    let Value::Object(source) = source else {
        return Err("a `<<` names neither a mapping nor a list of mappings");
    };
    for (key, value) in source {
        map.entry(key).or_insert(value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::apply;
    use serde_json::Value;

    #[test]
    fn a_mapping_takes_what_it_lacks_from_what_its_merge_key_names() {
        for (text, expected) in [
            ("{a: &a {x: 1, y: 2}, b: {<<: *a, y: 3}}", r#"{"a":{"x":1,"y":2},"b":{"x":1,"y":3}}"#),
            ("{b: {<<: [{x: 1}, {x: 2, y: 2}]}}", r#"{"b":{"x":1,"y":2}}"#),
            ("{b: [{<<: {<<: {x: 1}, y: 2}}]}", r#"{"b":[{"x":1,"y":2}]}"#),
            ("{b: {<<: {}}, c: '<<'}", r#"{"b":{},"c":"<<"}"#),
        ] {
            let mut value: Value = serde_yaml::from_str(text).unwrap();
            apply(&mut value).unwrap();
            assert_eq!(value, serde_json::from_str::<Value>(expected).unwrap(), "{text}");
        }
    }

    #[test]
    fn a_merge_key_that_names_no_mapping_is_refused() {
        for text in ["{<<: x}", "{a: {<<: null}}", "{a: [{<<: [{x: 1}, 2]}]}", "{<<: [[{x: 1}]]}"] {
            let mut value: Value = serde_yaml::from_str(text).unwrap();
            assert_eq!(apply(&mut value).unwrap_err(), "a `<<` names neither a mapping nor a list of mappings", "{text}");
        }
    }
}

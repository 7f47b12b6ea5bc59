//! Kubernetes objects from YAML: files of the repository, and what tools print.

use serde::Deserialize;
use serde_json::Value;
use std::fs;

/// The documents of this text.
///
/// # Panics
///
/// When it is no YAML.
pub(crate) fn parse(text: &str) -> Vec<Value> {
    let documents = serde_yaml::Deserializer::from_str(text);
    let objects = documents.map(|document| Value::deserialize(document).unwrap_or_else(|error| panic!("{error}: {text}")));
    objects.filter(|object| !object.is_null()).collect()
}

/// The only document of this file, by its path in the repository.
///
/// # Panics
///
/// When it is not there or holds another number of documents.
pub(crate) fn read(path: &str) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut objects = parse(&text);
    assert_eq!(objects.len(), 1, "{path}");
    objects.remove(0)
}

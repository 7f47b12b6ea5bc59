//! What `serde_json` finds where Faro's scanner looks.

use faro::api::{ObjectRef, StringMap};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Kind, namespace, name, uid and version; labels; annotations.
pub type Identity = ([String; 5], Vec<(String, String)>, Vec<(String, String)>);

/// The value of `json`, unless it is none or a key comes twice in one of its objects.
pub fn value(json: &[u8]) -> Option<Value> {
    serde_json::from_slice::<Distinct>(json).ok().map(|distinct| distinct.0)
}

/// The identity of an object as Faro promises to find it; `None` where it is free to refuse.
pub fn identity(object: &Value) -> Option<Identity> {
    let mut members = object.as_object()?.iter();
    let kind = members.by_ref().take_while(|(key, value)| *key != "metadata" || value.is_null()).find(|(key, _)| *key == "kind");
    let metadata = object.get("metadata")?.as_object()?;
    let is_known = |seen: &[&String]| ["name", "resourceVersion"].iter().all(|key| seen.iter().any(|found| found == key));
    let mut seen = Vec::new();
    let mut wanted = Map::new();
    for (key, value) in metadata {
        if key == "managedFields" && is_known(&seen) {
            break;
        }
        if value.as_str() != Some("") {
            seen.push(key);
        }
        wanted.insert(key.clone(), value.clone());
    }
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => Some(String::new()),
        Some(value) => value.as_str().map(str::to_owned),
    };
    let texts = [
        text(kind.map(|(_, value)| value))?,
        text(wanted.get("namespace"))?,
        text(wanted.get("name")).filter(|name| !name.is_empty())?,
        text(wanted.get("uid"))?,
        text(wanted.get("resourceVersion")).filter(|version| !version.is_empty())?,
    ];
    Some((texts, strings(wanted.get("labels"))?, strings(wanted.get("annotations"))?))
}

/// The same, as Faro found it.
pub fn found(object: &ObjectRef<'_>) -> Identity {
    let version = object.resource_version().as_str().to_owned();
    let [kind, namespace, name, uid] = [object.kind(), object.namespace(), object.name(), object.uid()].map(String::from);
    let entries = |map: StringMap<'_>| map.iter().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
    ([kind, namespace, name, uid, version], entries(object.labels()), entries(object.annotations()))
}

fn strings(map: Option<&Value>) -> Option<Vec<(String, String)>> {
    match map {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(map) => map.as_object()?.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect(),
    }
}

/// A value in whose objects each key comes once.
struct Distinct(Value);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DistinctVisitor).map(Self)
    }
}

struct DistinctVisitor;

impl<'de> Visitor<'de> for DistinctVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Distinct(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Distinct(value))) = members.next_entry::<String, _>()? {
            if object.insert(key, value).is_some() {
                return Err(A::Error::custom("a key comes twice"));
            }
        }
        Ok(object.into())
    }
}

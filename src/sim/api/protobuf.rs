//! The one message that kubectl sends as protobuf and that matters here: the question of `kubectl auth can-i`.

use super::super::state::json::Json;
use super::super::state::refusal::Refusal;
use super::Request;

/// How every message in Kubernetes' protobuf begins (`k8s.io/apimachinery/pkg/runtime/serializer/protobuf`).
const MAGIC: &[u8] = b"k8s\0";
/// The attributes of a resource by field number (`k8s.io/api/authorization/v1/generated.proto`).
const ATTRIBUTES: [&str; 7] = ["namespace", "verb", "group", "version", "resource", "subresource", "name"];

/// The body as JSON.
///
/// # Errors
///
/// 415 for protobuf, whose schemas are not known here; 400 for what is no JSON.
pub(super) fn json(request: &Request) -> Result<Json, Refusal> {
    if request.body.starts_with(MAGIC) {
        return Err(super::patch::unknown_format("application/json"));
    }
    Json::parse(&request.body)
        .map_err(|error| Refusal::bad_request(format!("couldn't get version/kind; json parse error: {error}")))
}

/// A `SelfSubjectAccessReview`, in JSON or in protobuf.
///
/// # Errors
///
/// As [`json`].
pub(super) fn review(request: &Request) -> Result<Json, Refusal> {
    let Some(message) = request.body.strip_prefix(MAGIC) else { return json(request) };
    // The envelope's `raw` is 2, the review's `spec` 2, and in it are the attributes of a resource, 1, or of a path, 2.
    let spec = field(message, 2).and_then(|raw| field(raw, 2)).unwrap_or_default();
    let Some(found) = field(spec, 1) else { return Ok(Json::object([])) };
    let mut attributes = Json::object([]);
    for (number, name) in (1..).zip(ATTRIBUTES) {
        let text = field(found, number).map(String::from_utf8_lossy).unwrap_or_default();
        if !text.is_empty() {
            attributes.set(name, Json::text(text));
        }
    }
    Ok(Json::object([("spec", Json::object([("resourceAttributes", attributes)]))]))
}

/// The bytes of field `wanted`, when the message has it and it is one with a length.
fn field(mut message: &[u8], wanted: u64) -> Option<&[u8]> {
    while !message.is_empty() {
        let key = number(&mut message)?;
        // Kubernetes' messages here have numbers and bytes, no fixed widths.
        match key & 7 {
            0 => {
                number(&mut message)?;
            }
            2 => {
                let length = usize::try_from(number(&mut message)?).ok()?;
                let (value, rest) = message.split_at_checked(length)?;
                if key >> 3 == wanted {
                    return Some(value);
                }
                message = rest;
            }
            _ => return None,
        }
    }
    None
}

/// A number of variable length.
fn number(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_of_kubectl_is_read_from_protobuf() {
        let wrap = |number: u8, bytes: &[u8]| [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat();
        let attributes = [wrap(1, b"demo"), wrap(2, b"list"), wrap(5, b"pods")].concat();
        let review = [wrap(1, b""), wrap(2, &wrap(1, &attributes))].concat();
        let envelope = [wrap(1, b"type"), wrap(2, &review)].concat();
        let request = Request { body: [MAGIC, &envelope].concat().into(), ..Request::default() };
        let expected = r#"{"spec":{"resourceAttributes":{"namespace":"demo","verb":"list","resource":"pods"}}}"#;
        assert_eq!(String::from_utf8(super::review(&request).unwrap().to_vec()).unwrap(), expected);
        assert_eq!(json(&request).unwrap_err().code, 415);
        assert_eq!(json(&Request::default()).unwrap_err().code, 400);
    }
}

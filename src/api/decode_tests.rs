//! What is read out of watch lines and lists, held against what real servers sent, against `serde_json`, and against damage.

use super::{ListPage, Object, ObjectRef, ResourceVersion, StringMap, WatchLine};
use serde_json::Value;
use std::collections::BTreeMap;

const WATCHES: [(&str, &[u8], &str); 5] = [
    (
        "watch-from-rv",
        include_bytes!("../../tests/golden/watch-from-rv.http"),
        "ADDED live@225, MODIFIED live@226, MODIFIED live@227, DELETED live@228, BOOKMARK @228",
    ),
    (
        "watch-metadata-only",
        include_bytes!("../../tests/golden/watch-metadata-only.http"),
        "ADDED live@243, MODIFIED live@244, MODIFIED live@245, DELETED live@246",
    ),
    (
        "watch-list-streaming",
        include_bytes!("../../tests/golden/watch-list-streaming.http"),
        "ADDED cm-0@212, ADDED cm-1@214, ADDED cm-2@216, ADDED cm-3@218, ADDED cm-4@220, ADDED cm-5@222, ADDED cm-6@224, END @248",
    ),
    (
        "crd-deleted-during-watch",
        include_bytes!("../../tests/golden/crd-deleted-during-watch.http"),
        "ADDED w1@300, DELETED w1@303",
    ),
    ("watch-expired-410", include_bytes!("../../tests/golden/watch-expired-410.http"), "ERROR 410"),
];

const LISTS: [(&str, &[u8], &str); 4] = [
    (
        "list-all",
        include_bytes!("../../tests/golden/list-all.http"),
        "ConfigMapList 224 last: cm-0@212 cm-1@214 cm-2@216 cm-3@218 cm-4@220 cm-5@222 cm-6@224",
    ),
    (
        "list-metadata-only",
        include_bytes!("../../tests/golden/list-metadata-only.http"),
        "PartialObjectMetadataList 224 more: cm-0@212 cm-1@214",
    ),
    ("list-page-1", include_bytes!("../../tests/golden/list-page-1.http"), "ConfigMapList 224 more: cm-0@212 cm-1@214 cm-2@216"),
    ("list-empty", include_bytes!("../../tests/golden/list-empty.http"), "ConfigMapList 224 last:"),
];

const POD: &[u8] = include_bytes!("../../tests/golden/pod.json");

#[test]
fn watches_of_real_servers_read_as_serde_json_reads_them() {
    for (name, transcript, expected) in WATCHES {
        let body = body(transcript);
        let lines: Vec<String> =
            body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(|line| check_line(name, line)).collect();
        assert_eq!(lines.join(", "), expected, "{name}");
    }
}

#[test]
fn lists_of_real_servers_read_as_serde_json_reads_them() {
    for (name, transcript, expected) in LISTS {
        let body = body(transcript);
        let value: Value = serde_json::from_slice(&body).unwrap();
        for json in [body.clone(), serde_json::to_vec_pretty(&value).unwrap()] {
            let page = ListPage::parse(&json).unwrap();
            let mut text = format!("{} {} {}:", page.kind, page.version, if page.next.is_some() { "more" } else { "last" });
            for (object, item) in page.objects().zip(value["items"].as_array().unwrap()) {
                let object = object.unwrap();
                assert_eq!(show(&object), show_value(item), "{name}");
                assert!(!object.labels().as_json().contains('\n'), "{name}");
                text += &format!(" {}@{}", object.name(), object.resource_version());
            }
            assert_eq!(text, expected, "{name}");
        }
    }
}

#[test]
fn a_line_cut_anywhere_is_refused_or_still_names_the_same_object() {
    for (name, transcript, _) in WATCHES {
        let body = body(transcript);
        for line in body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let whole = show_line(line).unwrap();
            let metadata_end = find(line, b"\"managedFields\"").unwrap_or(line.len());
            for cut in 0..line.len() {
                match show_line(&line[..cut]) {
                    Ok(found) => assert!(found == whole && cut > metadata_end, "{name} cut at {cut}: {found}"),
                    Err(_) => continue,
                }
            }
        }
    }
}

#[test]
fn a_list_cut_anywhere_is_refused() {
    for (name, transcript, _) in LISTS {
        let body = body(transcript);
        for cut in 0..body.trim_ascii_end().len() {
            assert!(ListPage::parse(&body[..cut]).is_err(), "{name} cut at {cut}");
        }
    }
}

#[test]
fn fields_are_found_in_any_order_and_spacing() {
    let expected = r#"K n/a u@7 {"x":"1"} {"y":"2"}"#;
    for json in [
        r#"{"kind":"K","metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"7","labels":{"x":"1"},"annotations":{"y":"2"}}}"#,
        r#"{"kind":"K","spec":{"a":["]}",{}]},"metadata":{"annotations":{"y":"2"},"labels":{"x":"1"},"managedFields":[{"name":"m","uid":"m"}],"name":"a","namespace":"n","resourceVersion":"7","uid":"u"}}"#,
        " {\n\t\"kind\" :\r\n \"K\" , \"metadata\" : null, \"metadata\" : { \"namespace\" : \"n\" ,\n \"name\":\"a\",\"uid\":\"u\",\"resourceVersion\":\"7\",\"labels\":{\"x\":\"1\"},\"annotations\":{\"y\":\"2\"} } } ",
        r#"{"kind":"K","k\u0069nd":"L","metad\u0061ta":{"name":"a","n\u0061me":"b","namespace":"n","uid":"u","resourceVersion":"7","labels":null,"labels":{},"labels":{"x":"1"},"labels":{"z":"1"},"annotations":{"y":"2"}},"metadata":{"name":"late"}}"#,
        r#"{"kind":"K","metadata":{"generation":1e+3,"x":true,"deletionTimestamp":null,"name":"a","namespace":"n","uid":"u","resourceVersion":"7","labels":{"x":"1"},"annotations":{"y":"2"},"managedFields":[broken"#,
    ] {
        check_object(json, expected);
    }
}

#[test]
fn absent_and_empty_fields_are_empty() {
    check_object(r#"{"metadata":{"name":"a","resourceVersion":"7"}}"#, " /a @7  ");
    check_object(
        r#"{"metadata":{"name":"a","resourceVersion":"7","namespace":null,"uid":null,"labels":{},"annotations":null}}"#,
        " /a @7  ",
    );
    check_object(r#"{"metadata":{"name":"a","resourceVersion":"7"},"kind":"Late"}"#, " /a @7  ");
}

#[test]
fn escapes_are_kept_for_copying_and_undone_for_reading() {
    let json =
        r#"{"metadata":{"name":"a\u003cb\"\ud83d\ude00\/","uid":"\u0041","resourceVersion":"\u0037","labels":{"k\n":"\\v"}}}"#;
    let object = ObjectRef::scan(json.as_bytes()).unwrap();
    assert_eq!(object.name(), "a<b\"😀/");
    assert_eq!(object.name_json(), r#"a\u003cb\"\ud83d\ude00\/"#);
    assert_eq!(object.uid(), "A");
    assert_eq!(object.resource_version().as_str(), "7");
    assert_eq!(object.labels().get("k\n").unwrap(), "\\v");
    assert_eq!(object.labels().get("k"), None);
    assert_eq!(object.labels().as_json(), r#"{"k\n":"\\v"}"#);
}

#[test]
fn what_is_no_object_is_refused_with_its_place() {
    for (json, expected) in [
        ("", "the JSON ends too early at byte 0"),
        ("[]", "expected an object at byte 0"),
        (r#"{"metadata":{}}"#, "the object has no metadata.resourceVersion at byte 0"),
        (r#"{"metadata":{"name":"","resourceVersion":"1"}}"#, "the object has no metadata.name at byte 0"),
        (r#"{"metadata":{"name":7}}"#, "expected a string at byte 20"),
        (r#"{"metadata":[]}"#, "expected an object at byte 12"),
        (r#"{"metadata":{"name":"a" "uid":"b"}}"#, "expected `,` or `}` at byte 24"),
        (r#"{"metadata":{"name" "a"}}"#, "expected `:` at byte 20"),
        (r#"{"metadata":{"name":"a","x":}}"#, "expected a value at byte 28"),
        (r#"{"metadata":{"name":"a"#, "the string has no end at byte 21"),
        (r#"{"metadata":{"name":"a\"#, "the string has no end at byte 21"),
        (r#"{"metadata":{"name":"\x"}}"#, "a string holds a wrong escape at byte 21"),
        (r#"{"metadata":{"name":"\ud800"}}"#, "a string holds a wrong escape at byte 21"),
        (r#"{"metadata":{"name":"\ud800\u0041"}}"#, "a string holds a wrong escape at byte 21"),
        (r#"{"metadata":{"name":"\u12"}}"#, "a string holds a wrong escape at byte 21"),
        ("{\"metadata\":{\"name\":\"a\nb\"}}", "a string holds a control character at byte 21"),
        (r#"{"metadata":{"labels":{"a":1}}}"#, "expected a string at byte 27"),
        (r#"{"metadata":{"labels":{"a":"1",}}}"#, "expected a string at byte 31"),
        (r#"{"metadata":{"labels":["a"]}}"#, "expected an object at byte 22"),
        ("{\"metadata\":{\"labels\":{\"a\":\n\"1\"}}}", "labels or annotations are spread over lines at byte 22"),
    ] {
        check_object(json, &format!("err {expected}"));
    }
    let not_utf8 = b"{\"metadata\":{\"annotations\":{\"a\":\"\xff\"}}}";
    assert_eq!(ObjectRef::scan(not_utf8).unwrap_err().to_string(), "a string is not UTF-8 at byte 33");
    let nested = format!("{{\"spec\":{}", "[".repeat(20_000));
    assert_eq!(ObjectRef::scan(nested.as_bytes()).unwrap_err().to_string(), "the JSON is nested too deep at byte 10008");
}

#[test]
fn lines_of_other_shapes_are_read_or_refused() {
    for (line, expected) in [
        (r#"{"object":{"metadata":{"name":"a","resourceVersion":"1"},"spec":{}},"type":"ADDED"}"#, "ADDED a@1"),
        (" { \"type\" : \"ADDED\" , \"object\" : {\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}} } \r", "ADDED a@1"),
        (
            r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"false"}}}}"#,
            "BOOKMARK @1",
        ),
        (r#"{"type":"BOOKMARK","object":{"metadata":{}}}"#, "err the object has no metadata.resourceVersion at byte 28"),
        (r#"{"type":"RENAMED","object":{}}"#, "err the watch event's type is unknown at byte 0"),
        (r#"{"object":{}}"#, "err the watch event has no type at byte 0"),
        (r#"{"type":"ADDED"}"#, "err the watch event has no object at byte 0"),
        (r#"{"type":"ADDED","object":{}"#, "err the line ends too early at byte 27"),
        (
            r#"{"type":"ERROR","object":{"code":"x"}}"#,
            "err the ERROR event holds no Status: invalid type: string \"x\", expected u16 at line 1 column 11 at byte 25",
        ),
        (r#"{"kind":"Status","apiVersion":"v1","code":403}"#, "err the watch event has no type at byte 0"),
        ("404 page not found", "err expected an object at byte 0"),
    ] {
        assert_eq!(show_line(line.as_bytes()).unwrap_or_else(|error| format!("err {error}")), expected, "{line}");
    }
    let mut line = br#"{"type":"ADDED","object":"#.to_vec();
    line.extend_from_slice(POD.trim_ascii());
    line.push(b'}');
    let Ok(WatchLine::Object { object, .. }) = WatchLine::parse(&line) else { panic!("a pod is an object") };
    assert_eq!(object.bytes(), POD.trim_ascii());
}

#[test]
fn lists_of_other_shapes_are_read_or_refused() {
    for (body, expected) in [
        (r#"{"metadata":{"resourceVersion":"1","continue":""},"items":null}"#, "ok 1 false 0"),
        (
            r#"{"items":[{},{"metadata":{"name":"a","resourceVersion":"1"}}],"metadata":{"resourceVersion":"1","continue":"c"}}"#,
            "ok 1 true 2",
        ),
        (r#"{"metadata":{},"items":[]}"#, "err the list has no metadata.resourceVersion at byte 0"),
        (r#"{"kind":"Pod","metadata":{"name":"a","resourceVersion":"1"}}"#, "err the list has no items at byte 0"),
        ("<html>\n", "err the body is no list at byte 0"),
        (
            r#"{"metadata":{"resourceVersion":1},"items":[]}"#,
            "err the body is no list: invalid type: integer `1`, expected a string at line 1 column 20 at byte 12",
        ),
        (r#"{"metadata":{"resourceVersion":"1"},"items":[{}"#, "err the JSON ends too early at byte 47"),
        (r#"{"metadata":{"resourceVersion":"1"},"items":[{},]}"#, "err expected a value at byte 48"),
        (r#"{"metadata":{"resourceVersion":"1"},"items":[{} {}]}"#, "err expected `,` or `]` at byte 48"),
        (r#"{"metadata":{"resourceVersion":"1"},"items":{}}"#, "err expected an array at byte 44"),
        (r#"{"metadata":{"resourceVersion":"1"},"items":[]}x"#, "err the list has ended, but not its bytes at byte 47"),
        ("{\"metadata\": {\"resourceVersion\": \"1\"},\n \"items\": [ ] }\n", "ok 1 false 0"),
    ] {
        let found = match ListPage::parse(body.as_bytes()) {
            Ok(page) => format!("ok {} {} {}", page.version, page.next.is_some(), page.len()),
            Err(error) => format!("err {error}"),
        };
        assert_eq!(found, expected, "{body}");
    }
    let page =
        ListPage::parse(br#"{"metadata":{"resourceVersion":"1"},"items":[{},{"metadata":{"name":"a","resourceVersion":"1"}}]}"#)
            .unwrap();
    assert_eq!(page.objects().map(|object| object.is_ok()).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn an_object_made_of_an_identity_reads_back() {
    let version = ResourceVersion::new("7\"").unwrap();
    let full = Object::from_identity("n", r"a\u003cb", "u", &version, StringMap::from_json(r#"{"x":"1"}"#), StringMap::EMPTY);
    assert_eq!(
        std::str::from_utf8(full.as_ref().bytes()).unwrap(),
        r#"{"metadata":{"name":"a\u003cb","namespace":"n","uid":"u","resourceVersion":"7\"","labels":{"x":"1"}}}"#
    );
    let bare = Object::from_identity("", "a", "", &version, StringMap::EMPTY, StringMap::EMPTY);
    for object in [full, bare] {
        let again = ObjectRef::scan(object.as_ref().bytes()).unwrap();
        assert_eq!(show(&again), show(&object.as_ref()));
        assert_eq!(show(&again.to_object().as_ref()), show(&again));
    }
}

#[test]
fn an_identity_object_holds_no_value_and_the_annotations_it_was_given() {
    let json = r#"{"kind":"Secret","data":{"p":"c2VjcmV0"},"metadata":{"name":"a","resourceVersion":"1","labels":{"l":"1"},"annotations":{"a":"1"}}}"#;
    let object = ObjectRef::scan(json.as_bytes()).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(
        text(object.to_identity_object(StringMap::from_json(r#"{"b":"2"}"#)).as_ref().bytes()),
        r#"{"metadata":{"name":"a","resourceVersion":"1","labels":{"l":"1"},"annotations":{"b":"2"}}}"#
    );
    assert_eq!(
        text(object.to_identity_object(StringMap::EMPTY).as_ref().bytes()),
        r#"{"metadata":{"name":"a","resourceVersion":"1","labels":{"l":"1"}}}"#
    );
    assert_eq!(text(&object.bytes_with_annotations(r#"{"b":"2"}"#)), json.replace(r#"{"a":"1"}"#, r#"{"b":"2"}"#));
}

#[test]
fn generated_objects_read_as_serde_json_reads_them() {
    for seed in 0..3_000 {
        let json = Generator { random: fastrand::Rng::with_seed(seed) }.object();
        let value: Value = serde_json::from_str(&json).unwrap();
        let object = ObjectRef::scan(json.as_bytes()).unwrap_or_else(|error| panic!("seed {seed}: {error} in {json}"));
        assert_eq!(show(&object), show_value(&value), "seed {seed}: {json}");
        for cut in (0..json.len()).step_by(7) {
            let _ = ObjectRef::scan(&json.as_bytes()[..cut]);
        }
    }
}

/// Writes objects in any order, spacing and escaping that JSON allows, each key once.
struct Generator {
    random: fastrand::Rng,
}

impl Generator {
    fn object(&mut self) -> String {
        let metadata = self.metadata();
        let mut members = vec![("metadata", metadata)];
        members.insert(0, ("kind", self.string()));
        for key in ["apiVersion", "spec"] {
            let at = self.random.usize(..=members.len());
            members.insert(at, (key, self.value(3)));
        }
        self.members(members)
    }

    fn metadata(&mut self) -> String {
        let mut members = vec![("name", self.name()), ("resourceVersion", self.name())];
        for key in ["namespace", "uid"] {
            members.push((key, self.string()));
        }
        for key in ["labels", "annotations"] {
            members.push((key, self.string_map()));
        }
        members.push(("ownerReferences", self.value(3)));
        self.random.shuffle(&mut members);
        let managed_fields = ("managedFields", self.value(3));
        let name_at = members.iter().position(|(key, _)| *key == "name").unwrap();
        let at = if self.random.bool() { self.random.usize(..=name_at) } else { members.len() };
        members.insert(at, managed_fields);
        self.members(members)
    }

    fn members(&mut self, members: Vec<(&str, String)>) -> String {
        let members: Vec<String> = members.into_iter().map(|(key, value)| self.member(key, &value)).collect();
        format!("{}{{{}}}{}", self.space(), members.join(","), self.space())
    }

    fn member(&mut self, key: &str, value: &str) -> String {
        let [before, after, behind, end] = std::array::from_fn(|_| self.space());
        format!("{before}\"{key}\"{after}:{behind}{value}{end}")
    }

    fn value(&mut self, depth: usize) -> String {
        match self.random.usize(..if depth == 0 { 4 } else { 6 }) {
            0 => self.string(),
            1 => "null".to_owned(),
            2 => "-1.5e+3".to_owned(),
            3 => self.random.bool().to_string(),
            4 => format!("[{},{}{}]", self.value(depth - 1), self.space(), self.value(depth - 1)),
            _ => format!("{{{}:{},\"name\":{}}}", self.string(), self.value(depth - 1), self.value(depth - 1)),
        }
    }

    fn string_map(&mut self) -> String {
        let entries: Vec<String> =
            (0..self.random.usize(..4)).map(|i| format!("\"{i}{}:{}", &self.string()[1..], self.string())).collect();
        format!("{{{}}}", entries.join(","))
    }

    fn name(&mut self) -> String {
        format!("\"n{}", &self.string()[1..])
    }

    fn string(&mut self) -> String {
        const PIECES: [&str; 16] =
            ["a", "web-0", "ü", "😀", "{", "}", "[", "]", ",", ":", "\\\"", "\\\\", "\\n", "\\u003c", "\\ud83d\\ude00", "\\/"];
        let pieces: String = (0..self.random.usize(..6)).map(|_| PIECES[self.random.usize(..PIECES.len())]).collect();
        format!("\"{pieces}\"")
    }

    fn space(&mut self) -> &'static str {
        ["", "", "", " ", "\n", "\t\r\n "][self.random.usize(..6)]
    }
}

fn check_object(json: &str, expected: &str) {
    let found = ObjectRef::scan(json.as_bytes()).map_or_else(|error| format!("err {error}"), |object| show_plain(&object));
    assert_eq!(found, expected, "{json}");
}

fn show_plain(object: &ObjectRef<'_>) -> String {
    format!(
        "{} {}/{} {}@{} {} {}",
        object.kind(),
        object.namespace(),
        object.name(),
        object.uid(),
        object.resource_version(),
        object.labels().as_json(),
        object.annotations().as_json(),
    )
}

/// Everything an object tells, its maps by meaning and not by spelling.
fn show(object: &ObjectRef<'_>) -> String {
    let parsed = |map: StringMap<'_>| -> BTreeMap<String, String> {
        let json = if map.is_empty() { "{}" } else { map.as_json() };
        let parsed: BTreeMap<String, String> = serde_json::from_str(json).unwrap();
        assert_eq!(parsed, map.iter().map(|(key, value)| (key.into_owned(), value.into_owned())).collect());
        parsed
    };
    let texts = [object.kind(), object.namespace(), object.name(), object.uid()];
    format!("{texts:?} {} {:?} {:?}", object.resource_version(), parsed(object.labels()), parsed(object.annotations()))
}

fn show_value(value: &Value) -> String {
    let metadata = &value["metadata"];
    let texts = [&value["kind"], &metadata["namespace"], &metadata["name"], &metadata["uid"]];
    let texts = texts.map(|text| text.as_str().unwrap_or_default());
    let map = |key: &str| -> BTreeMap<String, String> { serde_json::from_value(metadata[key].clone()).unwrap_or_default() };
    format!("{texts:?} {} {:?} {:?}", metadata["resourceVersion"].as_str().unwrap_or_default(), map("labels"), map("annotations"))
}

/// Holds a line of a real server against `serde_json`, then shows it.
fn check_line(name: &str, line: &[u8]) -> String {
    if let Ok(WatchLine::Object { object, .. }) = WatchLine::parse(line) {
        let value: Value = serde_json::from_slice(line).unwrap();
        assert_eq!(show(&object), show_value(&value["object"]), "{name}");
        assert_eq!(serde_json::from_slice::<Value>(object.bytes()).unwrap(), value["object"], "{name}");
    }
    show_line(line).unwrap()
}

fn show_line(line: &[u8]) -> Result<String, super::DecodeError> {
    Ok(match WatchLine::parse(line)? {
        WatchLine::Object { kind, object } => {
            format!("{} {}@{}", format!("{kind:?}").to_uppercase(), object.name(), object.resource_version())
        }
        WatchLine::Bookmark { version, initial_events_end } => {
            format!("{} @{version}", if initial_events_end { "END" } else { "BOOKMARK" })
        }
        WatchLine::Error(status) => format!("ERROR {}", status.code),
    })
}

/// The body of a transcript's answer, its chunks joined.
fn body(transcript: &[u8]) -> Vec<u8> {
    let head = find(transcript, b"\r\n\r\n").unwrap();
    let mut rest = &transcript[head + 4..];
    if find(&transcript[..head], b"Transfer-Encoding: chunked").is_none() {
        return rest.to_vec();
    }
    let mut body = Vec::new();
    loop {
        let line_end = find(rest, b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line_end]).unwrap(), 16).unwrap();
        let chunk = &rest[line_end + 2..];
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..length]);
        rest = &chunk[length + 2..];
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, wanted)
}

#[test]
fn a_string_is_read_as_any_json_reader_does_whatever_stands_where_in_it() {
    for length in 0..70 {
        for place in 0..=length {
            for odd in ["", "\u{1}", "\u{1f}", "\t", "\\n", "\\\"", "\\x", "\u{7f}", "\u{e9}", "\\u00e9", "\u{1f600}"] {
                let (before, after) = ("x".repeat(place), "y !".repeat(length)[..length - place].to_owned());
                let json = format!(r#"{{"metadata":{{"name":"n{before}{odd}{after}","resourceVersion":"1"}}}}"#);
                let expected = serde_json::from_str::<serde_json::Value>(&json).ok();
                let found = ObjectRef::scan(json.as_bytes()).ok();
                assert_eq!(found.is_some(), expected.is_some(), "{json}");
                if let (Some(found), Some(expected)) = (found, expected) {
                    assert_eq!(expected["metadata"]["name"], *found.name(), "{json}");
                }
            }
        }
    }
    let mut json = br#"{"metadata":{"name":"abcdefghij","resourceVersion":"1"}}"#.to_vec();
    for place in 21..31 {
        let plain = std::mem::replace(&mut json[place], 0xff);
        assert!(ObjectRef::scan(&json).is_err(), "a byte that is no UTF-8 at {place}");
        json[place] = plain;
    }
}

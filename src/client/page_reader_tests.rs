use super::*;
use crate::api::ListPage;
use crate::client::transcript::{Cut, Transcript};

fn reader(bytes: &[u8], seed: u64) -> PageReader<'static> {
    PageReader::new("list v1/pods", "https://here", Box::new(Cut::anywhere(bytes, seed)))
}

/// All objects in words, with how wide the window became and how much was held; then what the page says of itself.
fn read(mut page: PageReader<'_>) -> Result<(Vec<String>, usize, String), Error> {
    let (mut objects, mut held) = (Vec::new(), 0);
    loop {
        let is_wide = match page.next_item()? {
            PageItem::Front => false,
            PageItem::Object(Ok(object)) => {
                objects.push(format!("{}@{}", object.name(), object.resource_version()));
                false
            }
            PageItem::Object(Err(error)) => {
                objects.push(format!("{}: {error}", error.object_key().unwrap_or("?").replace('\0', "/")));
                false
            }
            PageItem::Wide => true,
            PageItem::End => break,
        };
        held = held.max(page.buffer.len());
        if is_wide {
            page.widen();
        } else {
            page.narrow();
        }
    }
    let said = format!("{:?} {:?} {:?}", page.kind(), page.version().map(ToString::to_string), page.next_page());
    assert_eq!(page.objects(), objects.len() as u64);
    Ok((objects, held, said))
}

fn pod(name: &str, filler_bytes: usize) -> String {
    let filler = "x".repeat(filler_bytes);
    format!(r#"{{"metadata":{{"name":"{name}","namespace":"n","resourceVersion":"7","annotations":{{"a":"{filler}"}}}}}}"#)
}

fn list(items: &[String]) -> String {
    let items = items.join(",");
    format!(r#"{{"kind":"PodList","metadata":{{"resourceVersion":"9","continue":"t"}},"items":[{items}]}}"#)
}

#[test]
fn a_page_gives_what_it_would_give_read_whole_however_it_is_cut() {
    let golden = ["list-page-1", "list-metadata-only", "server-1.20/list-all"].map(|name| Transcript::golden(name).body);
    let spread = golden.clone().map(|body| {
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        serde_json::to_vec_pretty(&value).unwrap()
    });
    let made = [
        r#"{"items":[{"metadata":{"name":"a","resourceVersion":"1"}},7,{"metadata":{"name":"b"}}],"metadata":{"resourceVersion":"9"},"kind":"L"}"#,
        r#" {"n":12 ,"kind":null,"items":null,"x":true,"metadata":{"resourceVersion":"9","continue":""}} "#,
        r#"{"metadata":{"resourceVersion":"9"},"items":[ ]}"#,
        r#"{"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"a\ud800","resourceVersion":"1","labels":{"x":null}}}]}"#,
    ];
    for body in golden.iter().chain(&spread).map(Vec::as_slice).chain(made.iter().map(|body| body.as_bytes())) {
        let page = ListPage::parse(body).unwrap();
        for seed in 0..20 {
            let (objects, _, said) = read(reader(body, seed)).unwrap();
            assert_eq!(objects.len(), page.len());
            for (object, expected) in objects.iter().zip(page.objects()) {
                match expected {
                    Ok(expected) => assert_eq!(*object, format!("{}@{}", expected.name(), expected.resource_version())),
                    Err(_) => assert!(object.contains(": "), "{object}"),
                }
            }
            let kind = Some(page.kind.as_str()).filter(|kind| !kind.is_empty() || body.starts_with(b" "));
            assert_eq!(said, format!("{kind:?} {:?} {:?}", Some(page.version.to_string()), page.next.as_deref()));
        }
    }
}

#[test]
fn a_page_cut_anywhere_or_with_something_behind_it_is_none() {
    let body = Transcript::golden("list-page-1").body;
    let body = body.trim_ascii_end();
    for cut in 0..body.len() {
        assert_eq!(read(PageReader::of(body[..cut].to_vec())).unwrap_err().fault(), crate::api::Fault::Undecodable, "{cut}");
    }
    for wrong in [
        r#"{"metadata":{"resourceVersion":"9"},"items":[]}}"#,
        r#"{"metadata":{"resourceVersion":"9"},"items":[],"items":[]}"#,
        r#"{"metadata":{"resourceVersion":"9"}}"#,
        r#"{"metadata":{},"items":[]}"#,
        r#"{"items":[]}"#,
        r#"{"metadata":{"resourceVersion":"9"},"items":7}"#,
        r#"{"metadata":{"resourceVersion":"9"},"items":[{} {}]}"#,
        "[]",
        "",
    ] {
        assert!(matches!(read(reader(wrong.as_bytes(), 3)), Err(Error::Undecodable { .. })), "{wrong}");
        assert!(ListPage::parse(wrong.as_bytes()).is_err() || wrong.matches("items").count() == 2, "{wrong}");
    }
    let early = PageReader::new(
        "list",
        "",
        Box::new(Cut::at(&body[..body.len() / 2], &[]).failing_between(io::ErrorKind::ConnectionReset)),
    );
    assert_eq!(read(early).unwrap_err().fault(), crate::api::Fault::Connection);
}

#[test]
fn of_many_objects_no_more_is_held_than_a_window_and_of_a_large_one_little_more_than_itself() {
    let many: Vec<String> = (0..40).map(|n| pod(&format!("p{n}"), 200_000)).collect();
    let (objects, held, _) = read(reader(list(&many).as_bytes(), 5)).unwrap();
    assert_eq!((objects.len(), objects[39].as_str()), (40, "p39@7"));
    assert!(held <= WINDOW_BYTES, "{held}");

    let large = [pod("a", 10), pod("b", 5 << 20), pod("c", 10), pod("d", 900_000), pod("e", 10)];
    let (objects, held, _) = read(reader(list(&large).as_bytes(), 6)).unwrap();
    assert_eq!(objects, ["a@7", "b@7", "c@7", "d@7", "e@7"]);
    assert!(held > 5 << 20 && held <= (5 << 20) + 2 * WINDOW_BYTES, "{held}");
}

#[test]
fn an_object_over_the_limit_is_passed_over_by_its_name_and_the_next_one_is_read() {
    let sorted = format!(r#"{{"metadata":{{"annotations":{{"a":"{}"}},"name":"b"}}}}"#, "x".repeat(OBJECT_BYTES_MAX));
    let items = [pod("a", 10), sorted, pod("c", 10)];
    let (objects, held, said) = read(reader(list(&items).as_bytes(), 8)).unwrap();
    assert_eq!((objects[0].as_str(), objects[2].as_str()), ("a@7", "c@7"));
    assert!(objects[1].starts_with("?: the object is longer than 16777216 bytes"), "{}", objects[1]);
    assert!(held <= OBJECT_BYTES_MAX && said.contains("Some(\"9\")"), "{held} {said}");
    let (objects, ..) = read(reader(list(&[pod("b", OBJECT_BYTES_MAX), pod("c", 10)]).as_bytes(), 8)).unwrap();
    assert!(objects[0].starts_with("n/b: the object is longer"), "{}", objects[0]);
}

/// Gives so many bytes of a string that has no end.
struct Endless(u64);

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let now = self.0.min(buffer.len() as u64);
        self.0 -= now;
        let now = usize::try_from(now).unwrap();
        buffer[..now].fill(b'x');
        Ok(now)
    }
}

#[test]
fn a_page_without_end_is_too_long_and_was_held_in_no_more_than_the_window() {
    let front =
        r#"{"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"a","namespace":"n","uid":"u","annotations":{"a":""#;
    for (bytes, expected) in [(1 << 30, crate::api::Fault::TooLong), (20 << 20, crate::api::Fault::Undecodable)] {
        let response = Cursor::new(front).chain(Endless(bytes));
        let mut page = PageReader::new("list v1/pods", "https://here", Box::new(response));
        let error = loop {
            match page.next_item() {
                Ok(PageItem::Wide) => page.widen(),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!((error.fault(), page.buffer.capacity() <= OBJECT_BYTES_MAX), (expected, true), "{error}");
        assert!(page.bytes_received() <= PAGE_LIMIT.bytes as u64 + OBJECT_BYTES_MAX as u64);
    }
}

#[test]
fn a_page_that_drips_is_too_slow_and_time_in_which_nobody_reads_does_not_count() {
    let body = list(&[pod("a", 10)]);
    let mut page = reader(body.as_bytes(), 1);
    page.limit.time = Duration::ZERO;
    assert!(matches!(page.next_item(), Err(Error::TooSlow { .. })));
    let mut page = reader(body.as_bytes(), 1);
    assert!(page.unread_for().is_some());
    (page.reading, page.last_read) = (Duration::ZERO, page.last_read.checked_sub(10 * PAGE_LIMIT.time).unwrap_or(page.last_read));
    let (objects, ..) = read(page).unwrap();
    assert_eq!(objects, ["a@7"]);
}

//! What is accepted as a selector is accepted again as it was kept, also joined to itself.

#![no_main]

use faro::api::{FieldSelector, LabelSelector};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(selector) = text.parse::<LabelSelector>() {
        assert_eq!(selector.as_str().parse(), Ok(selector.clone()));
        assert!(selector.as_str().bytes().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()));
        let twice = format!("{selector},{selector}");
        assert!(twice.len() > 4096 || twice.parse::<LabelSelector>().is_ok());
    }
    if let Ok(selector) = text.parse::<FieldSelector>() {
        assert_eq!(selector.as_str().parse(), Ok(selector.clone()));
        let twice = selector.and(&selector);
        assert!(twice.as_str().len() > 1024 || twice.as_str().parse().as_ref() == Ok(&twice));
    }
    let name = FieldSelector::name(text);
    if text.len() < 400 && text.trim_end() == text && !text.contains(char::is_control) {
        assert_eq!(name.as_str().parse(), Ok(name.clone()));
    }
});

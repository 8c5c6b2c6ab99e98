//! Any text as a document: what is read has members, and both readers return the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::envelope::element::{self, Element};
use shared::envelope::xml;

fuzz_target!(|body: &[u8]| {
    let Ok(text) = element::decode(body) else { return };
    let read = Element::parse(&text);
    let source = text.trim_start_matches('\u{feff}');
    if !source.trim_start().starts_with('{') {
        assert_eq!(read, xml::parse(source));
    }
    let _ = read.map(|root| root.members());
});

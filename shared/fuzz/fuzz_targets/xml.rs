//! Any text as a document; what reads as a document has members.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::envelope::element::{self, Element};

fuzz_target!(|body: &[u8]| {
    let Ok(text) = element::decode(body) else { return };
    if let Ok(root) = Element::parse(&text) {
        let _ = root.members();
    }
});

//! The XML writer, which escapes.

use std::fmt::Write as _;

use super::xml::{CDATA_END, CDATA_START};

/// Writes one document without indentation.
pub struct Writer(String);

impl Writer {
    /// Opens the root element, `<xml>`.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let mut out = String::with_capacity(capacity);
        out.push_str("<xml>");
        Self(out)
    }

    /// Opens a branch. `name` is ours, so it needs no escaping.
    pub fn open(&mut self, name: &str) -> &mut Self {
        self.tag("<", name)
    }

    /// Closes a branch.
    pub fn close(&mut self, name: &str) -> &mut Self {
        self.tag("</", name)
    }

    /// A leaf whose value needs no escaping, such as digits.
    pub(super) fn plain(&mut self, name: &str, value: &str) -> &mut Self {
        self.open(name);
        self.0.push_str(value);
        self.close(name)
    }

    /// A leaf in CDATA whose value contains no bracket and no control character, such as base64.
    pub(super) fn verbatim(&mut self, name: &str, value: &str) -> &mut Self {
        self.open(name);
        self.0.push_str(CDATA_START);
        self.0.push_str(value);
        self.0.push_str(CDATA_END);
        self.close(name)
    }

    /// A leaf with a text. `]]>` is split over two CDATA sections; control characters, which XML cannot carry
    /// at all, are left out.
    pub fn text(&mut self, name: &str, value: &str) -> &mut Self {
        if may_need_escaping(value) && value.contains(|c: char| is_illegal(c) || c == ']') {
            return self.verbatim(name, &value.replace(is_illegal, "").replace("]]>", "]]]]><![CDATA[>"));
        }
        self.verbatim(name, value)
    }

    /// A leaf with a number.
    pub fn number(&mut self, name: &str, value: i64) -> &mut Self {
        self.open(name);
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{value}");
        self.close(name)
    }

    /// Closes the root.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.0.push_str("</xml>");
        self.0
    }

    fn tag(&mut self, start: &str, name: &str) -> &mut Self {
        self.0.push_str(start);
        self.0.push_str(name);
        self.0.push('>');
        self
    }
}

/// Whether a closer check is needed: for a control character, a bracket, or the byte that begins
/// U+FFFE and U+FFFF. It visits every byte, since a loop without an early exit is vectorized.
fn may_need_escaping(value: &str) -> bool {
    value.bytes().fold(false, |found, byte| found | (byte < b' ') | (byte == b']') | (byte == 0xef))
}

/// Not allowed by XML 1.0's `Char`.
fn is_illegal(c: char) -> bool {
    (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::super::xml::parse;
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for (what, value, back) in [
            ("a text", "hi & <b>", "hi & <b>"),
            ("the end of a CDATA section", "a]]>b]]>", "a]]>b]]>"),
            ("brackets", "a]]]b", "a]]]b"),
            ("control characters are left out", "a\u{0}\u{1f}b\nc", "ab\nc"),
            ("control characters between brackets", "a]\u{0}]>b", "a]]>b"),
        ] {
            let mut writer = Writer::new(0);
            writer.text("V", value).number("N", -7);
            let written = writer.finish();
            let root = parse(&written).unwrap();
            assert_eq!(root.text_of("V"), Some(back), "{what}");
            assert_eq!(root.text_of("N"), Some("-7"), "{what}");
        }
    }
}

//! Texts of the OpenAPI document, as HTML.

use serde_json::Value;

/// A text member; empty if there is none.
pub fn text_member(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The paragraphs of a description, as HTML.
pub fn paragraphs(value: &Value) -> Vec<String> {
    text_member(value, "description").split("\n\n").map(|p| to_html(&p.replace('\n', " "))).collect()
}

/// A text of the document as HTML: escaped, with its `code` and **strong** parts as elements.
pub fn to_html(text: &str) -> String {
    let mut html =
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    for (mark, tag) in [("`", "code"), ("**", "strong")] {
        // an unpaired last mark stays as it is
        while let Some((before, rest)) = html.split_once(mark)
            && let Some((inside, after)) = rest.split_once(mark)
        {
            html = format!("{before}<{tag}>{inside}</{tag}>{after}");
        }
    }
    html
}

#[test]
fn a_text_is_escaped_and_its_marks_are_kept() {
    for (text, html) in [
        ("`code` of <b>", "<code>code</code> of &lt;b&gt;"),
        ("**Keys.** Send `A: KEY` & more", "<strong>Keys.</strong> Send <code>A: KEY</code> &amp; more"),
        ("one ` alone", "one ` alone"),
    ] {
        assert_eq!(to_html(text), html);
    }
}

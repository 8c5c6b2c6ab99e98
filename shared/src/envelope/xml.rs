//! The general XML reader, with bounds.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

use super::callback_error::CallbackError;
use super::element::{BRANCH_NAMES, Element, MAX_DEPTH, MAX_ELEMENTS};

pub(super) const CDATA_START: &str = "<![CDATA[";
pub(super) const CDATA_END: &str = "]]>";
/// Capacity for the members of a common push, so that they need one allocation.
const USUAL_MEMBERS: usize = 8;

/// An element whose end tag has not come yet.
struct OpenElement<'a> {
    name: &'a str,
    text: Cow<'a, str>,
    children: Vec<Element<'a>>,
    /// Where its content starts in the source.
    content_start: usize,
    /// Where its last CDATA section ended; 0 before the first one.
    last_section_end: usize,
}

/// A parsed document, and how it was written.
pub(super) struct ParsedDocument<'a> {
    pub(super) root: Element<'a>,
    /// The name of every element, in order.
    pub(super) names: Vec<&'a str>,
    /// It has something that WeChat never writes: a comment, an attribute, a section beside a text.
    pub(super) is_unusual: bool,
}

/// Reads one document.
///
/// Accepts what WeChat really sends: CDATA or bare text, whitespace around values, bare `&`, control
/// characters inside values, unknown elements, stray text between members, and markup inside a text
/// (kept as text). Attributes, comments and processing instructions are skipped. Nothing is expanded:
/// a document type is rejected, and an entity that is not one of XML's five is kept as written.
///
/// # Errors
/// [`CallbackError::Malformed`]; [`CallbackError::TooLarge`] beyond [`MAX_DEPTH`] or [`MAX_ELEMENTS`].
pub fn parse(source: &str) -> Result<Element<'_>, CallbackError> {
    read_document(source).map(|read| read.root)
}

/// [`parse`], and how the document was written.
pub(super) fn read_document(source: &str) -> Result<ParsedDocument<'_>, CallbackError> {
    let mut reader = Reader::from_str(source);
    reader.config_mut().allow_dangling_amp = true;
    let mut open: Vec<OpenElement<'_>> = Vec::with_capacity(4);
    let mut names = Vec::with_capacity(USUAL_MEMBERS);
    let mut root = None;
    let (mut before, mut odd) = (0, false);
    loop {
        let event = reader.read_event();
        let after = usize::try_from(reader.buffer_position()).map_err(|_| CallbackError::TooLarge)?;
        // Texts are taken from the source: converting them from the event costs more.
        match event {
            Ok(Event::Start(tag)) => {
                let name = name_at(source, before, tag.name().0.len())?;
                odd |= after - before != "<>".len() + name.len();
                open_element(name, after, &mut open, root.is_some(), &mut names)?;
            }
            Ok(Event::Empty(tag)) => {
                let name = name_at(source, before, tag.name().0.len())?;
                odd |= after - before != "</>".len() + name.len();
                open_element(name, after, &mut open, root.is_some(), &mut names)?;
                close_element("", &mut open, &mut root)?;
            }
            Ok(Event::End(_)) => {
                close_element(
                    source.get(content_of(&open)..before).unwrap_or_default(),
                    &mut open,
                    &mut root,
                )?;
            }
            Ok(Event::Text(_)) => {
                let piece = source.get(before..after).unwrap_or_default();
                odd |= piece.contains(CDATA_END) || (has_section(&open) && !piece.trim().is_empty());
                append(&mut open, piece)?;
            }
            Ok(Event::CData(_)) => {
                let inside = before + CDATA_START.len()..after - CDATA_END.len();
                let piece = source.get(inside).unwrap_or_default();
                odd |= !is_whole_value(&open, before, piece);
                append(&mut open, piece)?;
                if let Some(element) = open.last_mut() {
                    element.last_section_end = after;
                }
            }
            Ok(Event::GeneralRef(entity)) => {
                odd |= has_section(&open);
                append_resolved(&mut open, resolve_reference(entity))?;
            }
            Ok(Event::DocType(_)) | Err(_) => return Err(CallbackError::Malformed),
            Ok(Event::Decl(_)) if names.is_empty() => {}
            Ok(Event::Comment(_) | Event::Decl(_) | Event::PI(_)) => odd = true,
            Ok(Event::Eof) => break,
        }
        before = after;
    }
    match root {
        Some(root) if open.is_empty() => Ok(ParsedDocument { root, names, is_unusual: odd }),
        _ => Err(CallbackError::Malformed),
    }
}

fn has_section(open: &[OpenElement<'_>]) -> bool {
    open.last().is_some_and(|element| element.last_section_end > 0)
}

/// Whether a section that begins at `start` is all of its element's
/// value so far, or continues a `]]>` that a writer split over two.
fn is_whole_value(open: &[OpenElement<'_>], start: usize, piece: &str) -> bool {
    open.last().is_some_and(|element| {
        let first = element.last_section_end == 0 && element.text.is_empty() && element.children.is_empty();
        first || (element.last_section_end == start && element.text.ends_with("]]") && piece.starts_with('>'))
    })
}

/// A tag's name as a slice of the source: quick-xml lends it only as long as the event lives.
fn name_at(source: &str, tag: usize, length: usize) -> Result<&str, CallbackError> {
    let start = tag + 1;
    let name = source.get(start..start + length).ok_or(CallbackError::Malformed)?;
    if name.is_empty() || has_control(name) { Err(CallbackError::Malformed) } else { Ok(name) }
}

/// Real names are plain ASCII, which is checked without decoding characters.
fn has_control(name: &str) -> bool {
    !name.bytes().all(|byte| byte.is_ascii_graphic()) && name.contains(char::is_control)
}

/// [`str::trim`] with a shortcut for most values: those that begin and end with a visible ASCII character.
pub(super) fn trim(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}

fn open_element<'a>(
    name: &'a str,
    content: usize,
    open: &mut Vec<OpenElement<'a>>,
    after_root: bool,
    names: &mut Vec<&'a str>,
) -> Result<(), CallbackError> {
    names.push(name);
    if open.len() >= MAX_DEPTH || names.len() > MAX_ELEMENTS {
        return Err(CallbackError::TooLarge);
    }
    if open.is_empty() && after_root {
        return Err(CallbackError::Malformed);
    }
    let children = if open.is_empty() { Vec::with_capacity(USUAL_MEMBERS) } else { Vec::new() };
    open.push(OpenElement {
        name,
        text: Cow::Borrowed(""),
        children,
        content_start: content,
        last_section_end: 0,
    });
    Ok(())
}

fn content_of(open: &[OpenElement<'_>]) -> usize {
    open.last().map_or(0, |element| element.content_start)
}

fn append<'a>(open: &mut [OpenElement<'a>], piece: &'a str) -> Result<(), CallbackError> {
    let Some(element) = open.last_mut() else {
        return check_outside_root(piece);
    };
    if element.text.is_empty() {
        // Keeping whitespace before a value would force a copy of the value.
        if !piece.trim_start().is_empty() {
            element.text = Cow::Borrowed(piece);
        }
    } else if !piece.is_empty() {
        element.text.to_mut().push_str(piece);
    }
    Ok(())
}

/// Appends the value of a reference, which the source does not contain.
fn append_resolved<'a>(open: &mut [OpenElement<'a>], piece: Cow<'a, str>) -> Result<(), CallbackError> {
    match open.last_mut() {
        None => check_outside_root(&piece),
        Some(element) if element.text.is_empty() && !piece.trim_start().is_empty() => {
            element.text = piece;
            Ok(())
        }
        Some(element) => {
            if !element.text.is_empty() {
                element.text.to_mut().push_str(&piece);
            }
            Ok(())
        }
    }
}

/// Outside of the root only whitespace is allowed.
fn check_outside_root(piece: &str) -> Result<(), CallbackError> {
    let nothing = piece.chars().all(|c| c.is_whitespace() || c.is_control());
    if nothing { Ok(()) } else { Err(CallbackError::Malformed) }
}

/// XML's own entities and character references; everything else stays as it is written.
fn resolve_reference(entity: BytesRef<'_>) -> Cow<'_, str> {
    match &*entity {
        "lt" => "<".into(),
        "gt" => ">".into(),
        "amp" => "&".into(),
        "quot" => "\"".into(),
        "apos" => "'".into(),
        name => match entity.resolve_char_ref() {
            Ok(Some(character)) => character.to_string().into(),
            _ => format!("&{name};").into(),
        },
    }
}

/// Ends the innermost element, whose source is `inside`, and hands it to its parent.
fn close_element<'a>(
    inside: &'a str,
    open: &mut Vec<OpenElement<'a>>,
    root: &mut Option<Element<'a>>,
) -> Result<(), CallbackError> {
    let OpenElement { name, text, mut children, .. } = open.pop().ok_or(CallbackError::Malformed)?;
    let mut text = match text {
        Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
        Cow::Owned(text) if text.trim().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    };
    if !text.is_empty() && !children.is_empty() {
        if open.is_empty() || BRANCH_NAMES.contains(&name) {
            // Ignore stray text between members, which real card pushes have.
            text = Cow::Borrowed("");
        } else {
            // Markup that a follower typed and that came without CDATA is text, not members.
            text = Cow::Borrowed(inside.trim());
            children = Vec::new();
        }
    }
    let element = Element { name: Cow::Borrowed(name), text, children };
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_however_it_is_written() {
        for (what, inside, value) in [
            ("CDATA", "<![CDATA[hi]]>", "hi"),
            ("bare text", "hi", "hi"),
            ("blanks around", "\n  <![CDATA[ hi ]]>\n", "hi"),
            ("nothing", "", ""),
            ("empty CDATA", "<![CDATA[]]>", ""),
            ("XML's entities", "a &lt;b&gt; &amp;&#x4f60;&#65;", "a <b> &你A"),
            ("an entity of HTML stays", "a&nbsp;b", "a&nbsp;b"),
            ("a reference to NUL stays", "a&#0;b", "a&#0;b"),
            ("a bare ampersand", "https://example.com/?a=1&b=2", "https://example.com/?a=1&b=2"),
            ("markup in CDATA", "<![CDATA[<xml><a>1</a></xml>]]>", "<xml><a>1</a></xml>"),
            ("markup that was not escaped", "see <b>this</b> one", "see <b>this</b> one"),
            ("two CDATA sections", "<![CDATA[a]]]]><![CDATA[>b]]>", "a]]>b"),
            ("control characters and NUL", "<![CDATA[a\u{1}\u{0}\u{8}b]]>", "a\u{1}\u{0}\u{8}b"),
            ("an emoji", "<![CDATA[😀]]>", "😀"),
            ("stray text after a member of the root", "1</V> // or 2 \n<W/>]<V>", "1"),
        ] {
            let source = format!("<xml><ToUserName>gh</ToUserName><V>{inside}</V></xml>");
            let root = parse(&source).unwrap();
            assert_eq!(root.child("V").unwrap().text, value, "{what}");
        }
    }

    #[test]
    fn what_is_no_document_is_refused() {
        let deep = "<a>".repeat(MAX_DEPTH + 1) + &"</a>".repeat(MAX_DEPTH + 1);
        let wide = format!("<xml>{}</xml>", "<a/>".repeat(MAX_ELEMENTS));
        for (what, source, refusal) in [
            ("nothing", "", CallbackError::Malformed),
            ("a word", "success", CallbackError::Malformed),
            ("no end", "<xml><a>1</a>", CallbackError::Malformed),
            ("a wrong end", "<xml><a>1</b></xml>", CallbackError::Malformed),
            ("an open CDATA", "<xml><![CDATA[</xml>", CallbackError::Malformed),
            ("two roots", "<xml></xml><xml></xml>", CallbackError::Malformed),
            ("text after the root", "<xml></xml>x", CallbackError::Malformed),
            ("a document type", "<!DOCTYPE xml><xml></xml>", CallbackError::Malformed),
            ("a tag without a name", "<xml>< ></ ></xml>", CallbackError::Malformed),
            ("NUL in a name", "<xml><a\0b>1</a\0b></xml>", CallbackError::Malformed),
            ("too deep", &deep, CallbackError::TooLarge),
            ("too wide", &wide, CallbackError::TooLarge),
        ] {
            assert_eq!(parse(source), Err(refusal), "{what}");
        }
    }
}

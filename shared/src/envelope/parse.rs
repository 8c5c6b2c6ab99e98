//! From a body's text to its tree: which reader reads it.

use super::callback_error::CallbackError;
use super::element::Element;
use super::{flat_xml, unescaped_xml, xml};

impl<'a> Element<'a> {
    /// Reads XML, or JSON if it starts with a brace: some accounts push JSON where XML is documented.
    ///
    /// # Errors
    /// [`CallbackError::Malformed`], or [`CallbackError::TooLarge`] beyond the bounds of [`super::element`].
    pub fn parse(text: &'a str) -> Result<Self, CallbackError> {
        parse_with(text, xml::parse)
    }

    /// [`Element::parse`] for a push, in which WeChat does not escape texts.
    ///
    /// # Errors
    /// As [`Element::parse`].
    pub fn parse_push(text: &'a str) -> Result<Self, CallbackError> {
        parse_with(text, unescaped_xml::parse)
    }
}

/// Leaves to `general` what is neither flat XML nor JSON.
fn parse_with<'a>(
    text: &'a str,
    general: impl FnOnce(&'a str) -> Result<Element<'a>, CallbackError>,
) -> Result<Element<'a>, CallbackError> {
    let text = text.trim_start_matches('\u{feff}');
    match flat_xml::parse(text) {
        Some(root) => Ok(root),
        None if text.trim_start().starts_with('{') => Element::from_json(text),
        None => general(text),
    }
}

//! Errors that name the place in the template.

use std::fmt::Display;

use thiserror::Error;

/// The template lacks something that the local runner needs, or has something that it does not understand.
#[derive(Debug, Error)]
#[error("template.yaml: {0}")]
pub struct TemplateError(pub(super) String);

impl TemplateError {
    /// What is wrong at `place`: `SendQueue.RedrivePolicy`.
    pub(super) fn at(place: &str, what: impl Display) -> Self {
        Self(format!("{place}: {what}"))
    }
}

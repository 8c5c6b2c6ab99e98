//! The result of a conditional write.

use super::{Attributes, writer_id::WriterId};

/// The result of a conditional write.
#[derive(Debug)]
pub enum ConditionalWrite {
    /// It happened; the item as it is now, where the operation returns it.
    Done(Attributes),
    /// The condition failed; the item as it is, if it exists.
    ConditionFailed(Option<Attributes>),
}

impl ConditionalWrite {
    /// Whether it happened.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// Where the condition failed, and the attribute `name` carries `owner`, it was our own write whose
    /// answer was lost: it happened, and the item is as it is now.
    #[must_use]
    pub fn or_written_by(self, name: &str, owner: WriterId) -> Self {
        self.or_done_if(|item| owner.is_writer_of(item, name))
    }

    /// The same, where `own` recognises our own write in the item.
    #[must_use]
    pub fn or_done_if(self, own: impl FnOnce(&Attributes) -> bool) -> Self {
        match self {
            Self::ConditionFailed(Some(item)) if own(&item) => Self::Done(item),
            other => other,
        }
    }
}

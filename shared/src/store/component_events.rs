//! Which events of the platform were handled before.

use serde::{Deserialize, Serialize};

use super::{
    dynamo::{database::Database, to_item},
    keys,
};
use crate::error::Error;

/// How long a repeated event has no second effect, seconds.
const REPEAT_WINDOW_SECONDS: i64 = 24 * 3600;

/// Events that WeChat pushed about the platform and its accounts.
#[derive(Clone, Copy)]
pub struct ComponentEvents<'a> {
    pub(super) db: &'a Database,
}

impl ComponentEvents<'_> {
    /// When an event with this content was last handled, unix seconds; none if that was over a day ago.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn seen_at(self, content: &str) -> Result<Option<i64>, Error> {
        let seen: Option<SeenEvent> = self.db.get(&self.db.platform, &keys::component_event(content)).await?;
        let seen = seen.filter(|seen| self.db.clock.unix() < seen.seen_until);
        Ok(seen.map(|seen| seen.seen_until - REPEAT_WINDOW_SECONDS))
    }

    /// Remembers an event of the platform for a day, after its effects are stored.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn mark_seen(self, content: &str) -> Result<(), Error> {
        let seen = SeenEvent { seen_until: self.db.clock.unix() + REPEAT_WINDOW_SECONDS };
        self.db
            .put(&self.db.platform, to_item(&keys::component_event(content), &seen, Some(seen.seen_until))?)
            .await
    }
}

#[derive(Serialize, Deserialize)]
struct SeenEvent {
    seen_until: i64,
}

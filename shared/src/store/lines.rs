//! Who waits to reach a fan. Messages to one fan go in the order in which they were accepted: while one waits, those
//! behind it wait too, in timers of the same line, and the line says so.

use serde::Deserialize;

use super::{
    Store,
    fans::FanId,
    keys,
    table::{Update, n, s},
};
use crate::error::Error;

/// A line that nobody left is forgotten after so long, seconds: what waits does so for a day at most.
const KEPT_SECONDS: i64 = 2 * 24 * 3600;

/// Messages that wait to reach one fan.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Line {
    /// Nobody behind the first goes before this unix millisecond.
    pub until: i64,
    /// The message that said so: the first.
    pub first: String,
    /// The newest message in it. With its end the line ends.
    pub newest: String,
}

impl Store {
    /// Notes that `message` waits until the unix millisecond `until`. `is_new`: it was not in the line before, so it is
    /// its newest.
    ///
    /// # Errors
    /// [`Error::Store`]: it may be noted; again is safe.
    pub async fn join_line(
        &self,
        fan: FanId<'_>,
        message: &str,
        until: i64,
        leads: bool,
        is_new: bool,
    ) -> Result<(), Error> {
        let ttl = until.div_euclid(1000) + KEPT_SECONDS;
        let update = Update::new().set("ttl", n(ttl));
        let update = if leads {
            update.set("until", n(until)).set("first", s(message))
        } else {
            update.set_if_absent("until", n(until)).set_if_absent("first", s(message))
        };
        let update = if is_new {
            update.set("newest", s(message))
        } else {
            update.set_if_absent("newest", s(message))
        };
        self.update(&self.work, &keys::line(fan.tenant, fan.app_id, fan.open_id), update).await.map(drop)
    }

    /// Ends a line whose newest message has ended.
    ///
    /// # Errors
    /// [`Error::Store`]: then whoever comes next waits for a minute, and ends it.
    pub async fn end_line(&self, fan: FanId<'_>, newest: &str) -> Result<(), Error> {
        let key = keys::line(fan.tenant, fan.app_id, fan.open_id);
        self.delete_where(&self.work, &key, "newest = :newest", &[(":newest", s(newest))]).await
    }
}

//! Who waits to reach a fan by a channel. Messages to one fan go in the order in which they were accepted: while one waits,
//! those behind it that go by the same channel wait too, in timers of the same line, and the line says so. What waits for
//! one channel's quota does not hold up the other, whose window may close meanwhile.

use serde::Deserialize;

use super::{
    Store,
    fans::FanId,
    keys::{self, Key},
    messages::Channel,
    table::{Update, n, s},
};
use crate::error::Error;

/// A line that nobody left is forgotten after so long, seconds: what waits does so for a day at most.
const KEPT_SECONDS: i64 = 2 * 24 * 3600;

/// Messages that wait to reach one fan by one channel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Line {
    /// Nobody behind the first goes before this unix millisecond.
    pub until: i64,
    /// The message that said so: the first.
    pub first: String,
    /// The place of the newest message in it. With its end the line ends.
    pub newest: String,
}

/// A message's place among those to one fan: these sort as the messages were accepted. `created_at` in unix milliseconds.
#[must_use]
pub fn place(created_at: i64, message: &str) -> String {
    format!("{:013}#{message}", created_at.max(0))
}

/// A message that waits.
#[derive(Debug, Clone, Copy)]
pub struct Waiting<'a> {
    /// Whom it goes to.
    pub fan: FanId<'a>,
    /// How it would go.
    pub channel: Channel,
    /// Its id.
    pub message: &'a str,
    /// When it was accepted, unix milliseconds.
    pub created_at: i64,
}

impl Store {
    /// Notes that a message waits until the unix millisecond `until`. `leads`: it says for how long the line waits.
    ///
    /// The newest stays the newest, whoever joins again: a job that came twice, or one that waits once more.
    ///
    /// # Errors
    /// [`Error::Store`]: it may be noted; again is safe.
    pub async fn join_line(&self, waiting: &Waiting<'_>, until: i64, leads: bool) -> Result<(), Error> {
        let key = key(waiting.fan, waiting.channel);
        let first = s(waiting.message);
        let update = Update::new().set("ttl", n(until.div_euclid(1000) + KEPT_SECONDS));
        let update = if leads {
            update.set("until", n(until)).set("first", first)
        } else {
            update.set_if_absent("until", n(until)).set_if_absent("first", first)
        };
        let place = s(place(waiting.created_at, waiting.message));
        let newest = update
            .clone()
            .set("newest", place.clone())
            .when("attribute_not_exists(newest) OR newest <= :place", &[(":place", place.clone())]);
        if self.update(&self.work, &key, newest).await?.done() {
            return Ok(());
        }
        // behind a newer one, or in front of none, should that one have ended just now
        self.update(&self.work, &key, update.set_if_absent("newest", place)).await.map(drop)
    }

    /// Ends a line whose newest message, at `newest`, has ended.
    ///
    /// # Errors
    /// [`Error::Store`]: then whoever comes next waits for a minute, and ends it.
    pub async fn end_line(&self, fan: FanId<'_>, channel: Channel, newest: &str) -> Result<(), Error> {
        self.delete_where(&self.work, &key(fan, channel), "newest = :newest", &[(":newest", s(newest))]).await
    }
}

/// Where a line is.
pub(super) fn key(fan: FanId<'_>, channel: Channel) -> Key {
    keys::line(fan.tenant, fan.app_id, fan.open_id, channel.name())
}

//! Waiting lines: messages to one fan are sent in the order in which they were accepted. While one waits,
//! later ones by the same channel wait too, in timers with the same ordering key, and the line records it.
//! Waiting for one channel's quota does not delay the other channel, whose reply window may close meanwhile.

use super::{
    dynamo::{database::Database, n, s, update::Update},
    keys::{self, Key},
};
use crate::{
    error::Error,
    model::{
        fan::FanId,
        message::Channel,
        waiting_line::{WaitingMessage, position},
    },
};

/// How long a line is kept that was not ended, seconds: messages wait for a day at most.
const WAITING_LINE_RETENTION_SECONDS: i64 = 2 * 24 * 3600;

/// The waiting lines of fans.
#[derive(Clone, Copy)]
pub struct WaitingLines<'a> {
    pub(super) db: &'a Database,
}

impl WaitingLines<'_> {
    /// Records that a message waits until the unix millisecond `until`. `leads`: it sets the line's time.
    ///
    /// The newest message stays the newest when an older one joins again, by a repeated job or a second wait.
    ///
    /// # Errors
    /// [`Error::Store`]: it may be stored; repeating is safe.
    pub async fn join(self, waiting: &WaitingMessage<'_>, until: i64, leads: bool) -> Result<(), Error> {
        let key = line_key(waiting.fan, waiting.channel);
        let first = s(waiting.message);
        let update = Update::new().set("ttl", n(until.div_euclid(1000) + WAITING_LINE_RETENTION_SECONDS));
        let update = if leads {
            update.set("until", n(until)).set("first", first)
        } else {
            update.set_if_absent("until", n(until)).set_if_absent("first", first)
        };
        let place = s(position(waiting.created_at, waiting.message));
        let newest = update
            .clone()
            .set("newest", place.clone())
            .when("attribute_not_exists(newest) OR newest <= :place", &[(":place", place.clone())]);
        if self.db.update(&self.db.work, &key, newest).await?.is_done() {
            return Ok(());
        }
        // behind a newer one; or alone, where that one has ended just now
        self.db.update(&self.db.work, &key, update.set_if_absent("newest", place)).await.map(drop)
    }

    /// Ends a line whose newest message, at the position `newest`, has ended.
    ///
    /// # Errors
    /// [`Error::Store`]: then the next message waits for a minute, and ends it.
    pub async fn end(self, fan: FanId<'_>, channel: Channel, newest: &str) -> Result<(), Error> {
        self.db
            .delete_if(&self.db.work, &line_key(fan, channel), "newest = :newest", &[(":newest", s(newest))])
            .await
    }
}

/// The key of a line.
pub(super) fn line_key(fan: FanId<'_>, channel: Channel) -> Key {
    keys::waiting_line(fan.tenant, fan.app_id, fan.open_id, channel.name())
}

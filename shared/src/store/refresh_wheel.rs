//! When accounts' tokens are to be refreshed: slots of a wheel, an index sorted by time, and how far the schedule has
//! come.

use super::{
    dynamo::{Attributes, database::Database, n, query::Query, s, update::Update},
    keys,
};
use crate::{
    error::Error,
    ids,
    model::{credentials::AuthorizerCredentials, token::Due},
};

/// Accounts read in one query of the due index.
const DUE_PER_QUERY: i32 = 1_000;

/// The slot of an account's tokens on the wheel, if the due index has them there.
#[must_use]
pub fn wheel_slot(credentials: &AuthorizerCredentials) -> Option<u32> {
    keys::wheel_slot(credentials.due.as_deref()?)
}

/// When the tokens of accounts are due.
#[derive(Clone, Copy)]
pub struct RefreshWheel<'a> {
    pub(super) db: &'a Database,
}

impl<'a> RefreshWheel<'a> {
    /// Accounts in one slot of the wheel.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn due_in_slot(self, slot: u32) -> Result<Vec<String>, Error> {
        self.app_ids(self.due(keys::due_slot(slot))).await
    }

    /// Accounts of unusual token lifetimes that are due by `unix`.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn due_by(self, unix: i64) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for shard in 0..keys::DUE_SHARDS {
            let due = self.due(keys::due_sorted(shard)).at_most(unix);
            found.extend(self.app_ids(due).await?);
        }
        Ok(found)
    }

    /// A query of one partition of the index.
    fn due(self, partition: String) -> Query<'a> {
        Query::on(&self.db.credentials, partition, DUE_PER_QUERY).index(keys::DUE_INDEX)
    }

    async fn app_ids(self, query: Query<'_>) -> Result<Vec<String>, Error> {
        let app_id = |item: &Attributes| keys::authorizer_of(item.get("pk")?.as_s().ok()?).map(str::to_owned);
        Ok(self.db.query_all(query).await?.iter().filter_map(app_id).collect())
    }

    /// The minute (unix seconds / 60) up to which the wheel was swept.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn last_tick(self) -> Result<Option<i64>, Error> {
        let found = self.db.get_item(&self.db.credentials, &keys::refresh_tick()).await?;
        Ok(found.and_then(|i| i.get("minute").and_then(|v| v.as_n().ok()).and_then(|v| v.parse().ok())))
    }

    /// Stores the minute up to which the wheel was swept; it never goes back.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn store_tick(self, minute: i64) -> Result<(), Error> {
        let update = Update::new()
            .set("minute", n(minute))
            .when("attribute_not_exists(#minute) OR #minute < :minute", &[(":minute", n(minute))]);
        self.db.update(&self.db.credentials, &keys::refresh_tick(), update).await.map(drop)
    }
}

/// Puts an account to its place in the due index.
pub(super) fn set_due(update: Update, app_id: &str, due: Due) -> Update {
    let (index, at) = due_key(app_id, due);
    update.set("due", s(index)).set("due_at", n(at))
}

/// Partition and sort key of an account in the due index.
fn due_key(app_id: &str, due: Due) -> (String, i64) {
    match due {
        Due::Wheel { slot } => (keys::due_slot(slot), 0),
        Due::Sorted { unix_seconds: unix } => (keys::due_sorted(ids::shard(app_id, keys::DUE_SHARDS)), unix),
    }
}

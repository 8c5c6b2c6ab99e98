//! Who did what: entries by tenant and month, to which only the outcome is added, deleted after 400 days.
//!
//! An entry is written *before* its operation, as [started](crate::model::audit::STARTED), and gets its outcome
//! after it ([`AuditTrail::end`]). So nothing happens without a record: an operation whose entry cannot be written
//! does not begin. An entry whose worker died in between stays `started`: its operation may have happened.

use jiff::Timestamp;

use super::{
    dynamo::{database::Database, query::Query, read_valid, s, to_item, update::Update},
    keys,
};
use crate::{
    error::Error,
    ids,
    model::audit::{AUDIT_ID_PREFIX, AuditEntry},
};

/// How long an entry is kept, days: long enough to compare a year with the one before it.
pub const AUDIT_RETENTION_DAYS: i64 = 400;
/// Entries that one listing reads before it returns a cursor.
const MAX_SCANNED_ENTRIES: usize = 1_000;

/// Which entries.
#[derive(Debug, Clone, Copy, Default)]
pub struct AuditFilter<'a> {
    /// Not before, unix milliseconds.
    pub from: Option<i64>,
    /// Not after, unix milliseconds.
    pub to: Option<i64>,
    /// By whom: the id of an [`Actor`](crate::model::audit::Actor).
    pub actor: Option<&'a str>,
    /// What.
    pub operation: Option<&'a str>,
}

impl AuditFilter<'_> {
    fn matches(&self, entry: &AuditEntry) -> bool {
        self.actor.is_none_or(|actor| actor == entry.actor.id)
            && self.operation.is_none_or(|operation| operation == entry.operation)
    }
}

/// The audit trails of tenants.
#[derive(Clone, Copy)]
pub struct AuditTrail<'a> {
    pub(super) db: &'a Database,
}

impl AuditTrail<'_> {
    /// Writes an entry of a tenant, or of [`crate::model::audit::PLATFORM_TENANT`]. The same id twice changes
    /// nothing.
    ///
    /// # Errors
    /// [`Error::Store`]: do not begin the operation.
    pub async fn begin(self, tenant: &str, entry: &AuditEntry) -> Result<(), Error> {
        let key = keys::audit(tenant, &month(entry.at), &entry.id);
        let ttl = entry.at.div_euclid(1000) + AUDIT_RETENTION_DAYS * 24 * 3600;
        self.db.put_if_absent(&self.db.work, to_item(&key, entry, Some(ttl))?).await.map(drop)
    }

    /// Writes the outcome of an operation.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn end(self, tenant: &str, entry: &AuditEntry, outcome: &str) -> Result<(), Error> {
        let key = keys::audit(tenant, &month(entry.at), &entry.id);
        let update = Update::new().set("outcome", s(outcome)).when("attribute_exists(pk)", &[]);
        self.db.update(&self.db.work, &key, update).await.map(drop)
    }

    /// A tenant's entries, newest first, before the entry `before`: at most `limit`, and the id after which
    /// there may be more. A page may be short: a listing reads at most [`MAX_SCANNED_ENTRIES`] entries.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(
        self,
        tenant: &str,
        filter: AuditFilter<'_>,
        limit: usize,
        before: Option<&str>,
    ) -> Result<(Vec<AuditEntry>, Option<String>), Error> {
        let now = self.db.clock.now().as_millisecond();
        let oldest = now - AUDIT_RETENTION_DAYS * 24 * 3600 * 1000;
        let from = filter.from.unwrap_or(oldest).max(oldest);
        let mut last = filter.to.unwrap_or(now).min(now);
        let is_audit_id =
            |id: &&str| id.starts_with(AUDIT_ID_PREFIX) && ids::unix_ms_of(id).is_some_and(|at| at <= last);
        let before = before.filter(is_audit_id);
        if let Some(at) = before.and_then(ids::unix_ms_of) {
            last = at;
        }
        let (mut found, mut looked_at): (Vec<AuditEntry>, _) = (Vec::new(), 0);
        while last >= from {
            let (this, first) = (month(last), month_start_ms(last));
            let upper = before.map_or_else(|| ids::earliest_at(AUDIT_ID_PREFIX, last + 1), str::to_owned);
            let page_limit = i32::try_from(limit + 1).unwrap_or(i32::MAX);
            let newest_first = Query::on(&self.db.work, keys::audit(tenant, &this, "").pk, page_limit)
                .between(&ids::earliest_at(AUDIT_ID_PREFIX, from.max(first)), &upper)
                .descending();
            let mut pages = self.db.pages(newest_first);
            while let Some(items) = pages.next().await? {
                for entry in read_valid::<AuditEntry>(items) {
                    looked_at += 1;
                    if before == Some(entry.id.as_str()) {
                        continue;
                    }
                    let id = entry.id.clone();
                    if filter.matches(&entry) {
                        if found.len() == limit {
                            let next = found.last().map(|entry| entry.id.clone());
                            return Ok((found, next));
                        }
                        found.push(entry);
                    }
                    if looked_at >= MAX_SCANNED_ENTRIES {
                        return Ok((found, Some(id)));
                    }
                }
            }
            last = first - 1;
        }
        Ok((found, None))
    }
}

/// `2026-11`, in UTC.
fn month(millisecond: i64) -> String {
    let at = Timestamp::from_millisecond(millisecond).unwrap_or_default().to_string();
    at.get(..7).unwrap_or_default().to_owned()
}

/// The first millisecond of the month.
fn month_start_ms(millisecond: i64) -> i64 {
    let first = format!("{}-01T00:00:00Z", month(millisecond)).parse::<Timestamp>();
    first.map_or(millisecond, Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_and_follow_each_other() {
        for (at, name, first) in [
            ("2026-11-27T17:00:00Z", "2026-11", "2026-11-01T00:00:00Z"),
            ("2026-11-01T00:00:00Z", "2026-11", "2026-11-01T00:00:00Z"),
            ("2026-10-31T23:59:59.999Z", "2026-10", "2026-10-01T00:00:00Z"),
            ("2027-01-01T00:00:00Z", "2027-01", "2027-01-01T00:00:00Z"),
        ] {
            let millisecond = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
            assert_eq!(month(millisecond(at)), name, "{at}");
            assert_eq!(month_start_ms(millisecond(at)), millisecond(first), "{at}");
        }
    }
}

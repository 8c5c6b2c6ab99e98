//! Imports that have not ended, in one list, and those of them that nothing moves any more.
//!
//! An import is a chain of jobs; where a job is lost, no error tells. The list is written with the start and the end
//! of an import, in their transactions, so that nobody has to search the table for them.

use serde::{Deserialize, Serialize};

use super::{
    Store,
    imports::{Import, ImportStatus},
    keys,
    table::{Query, s},
};
use crate::error::Error;

/// An import that neither moved nor ended for so long is stuck, seconds. The longest quiet of a sound one is a page
/// whose hundred chunks wait for the queue and for WeChat's quota of the minute.
const STUCK_SECONDS: i64 = 3600;
/// Imports looked at by one search, oldest first: a bound for its cost, 100 read units.
const LOOKED_AT: i32 = 100;

/// An entry of the list.
#[derive(Serialize, Deserialize)]
pub(super) struct Open {
    pub app_id: String,
}

impl Import {
    /// Whether it should have moved or ended by `now`, unix seconds, and has not: the chain of its jobs broke.
    #[must_use]
    pub fn is_stuck(&self, now: i64) -> bool {
        let since = match self.status {
            ImportStatus::Running => self.moved_at.max(self.started_at),
            ImportStatus::Paused => self.paused_until.unwrap_or(self.started_at),
            ImportStatus::Completed | ImportStatus::Failed => return false,
        };
        now.saturating_sub(since) > STUCK_SECONDS
    }
}

impl Store {
    /// Imports that are stuck at `now`, unix seconds, among the oldest hundred that have not ended.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn stuck_imports(&self, now: i64) -> Result<Vec<Import>, Error> {
        let page = self
            .query(Query {
                table: &self.work,
                index: None,
                consistent: false,
                condition: "pk = :pk",
                names: &[],
                values: &[(":pk", s(keys::open_import("").pk))],
                descending: false,
                limit: LOOKED_AT,
                start: None,
            })
            .await?;
        let mut stuck = Vec::new();
        for entry in page.items {
            let word = |name: &str| entry.get(name).and_then(|v| v.as_s().ok());
            if let (Some(app_id), Some(id)) = (word("app_id"), word("sk"))
                && let Some(import) = self.import(app_id, id).await?
                && import.is_stuck(now)
            {
                stuck.push(import);
            }
        }
        Ok(stuck)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_import_is_stuck_that_neither_moved_nor_ended_for_an_hour() {
        let import = |status: &str, moved_at: Option<i64>, paused_until: Option<i64>| -> Import {
            serde_json::from_value(json!({
                "id": "imp_1", "app_id": "wx1", "tenant_id": "ten_1", "status": status, "started_at": 1_000,
                "moved_at": moved_at.unwrap_or(0), "paused_until": paused_until,
            }))
            .unwrap()
        };
        for (what, import, now, stuck) in [
            ("just started", import("running", None, None), 1_010, false),
            ("started an hour ago, never moved", import("running", None, None), 4_601, true),
            ("moved since", import("running", Some(4_000), None), 4_601, false),
            ("moved long ago", import("running", Some(4_000), None), 7_601, true),
            ("paused until later", import("paused", Some(1_000), Some(9_000)), 8_000, false),
            ("resumes about now", import("paused", Some(1_000), Some(9_000)), 9_100, false),
            ("was to resume long ago", import("paused", Some(1_000), Some(9_000)), 12_601, true),
            ("completed", import("completed", Some(1_000), None), 100_000, false),
            ("failed", import("failed", Some(1_000), None), 100_000, false),
        ] {
            assert_eq!(import.is_stuck(now), stuck, "{what}");
        }
    }
}

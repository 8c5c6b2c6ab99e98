//! The list of imports that have not ended, and which of them are stuck.
//!
//! An import is a chain of jobs; where one is lost, no error shows it. The list is written in the
//! transactions that start and end an import, so that the table need not be searched, and every unfinished
//! import is found.

use super::{
    Store,
    dynamo::{Query, from_item, s},
    imports::{Import, ImportStatus},
    keys,
};
use crate::{error::Error, ids};

/// After how long without progress the jobs of a running import are queued again, seconds: a page's hundred
/// chunks are its longest step and take seconds, unless the queue is long or WeChat's quota is used up.
const REQUEUE_AFTER_SECONDS: i64 = 900;
/// The same before the first page is listed: the first job is a single one and comes at once.
const FIRST_REQUEUE_AFTER_SECONDS: i64 = 120;
/// Longest time between two requeues. It doubles up to here: jobs that are merely slow must not pile up.
const MAX_REQUEUE_INTERVAL_SECONDS: i64 = 3600;
/// How long after the end of a pause, seconds: the import's own timer comes first.
const RESUME_GRACE_SECONDS: i64 = 120;
/// After how long without progress or end an import is stuck, seconds: queueing again did not help.
const STUCK_AFTER_SECONDS: i64 = 3600;
/// Imports read by one search: a limit for its cost, 100 read units and more for the largest. Where there are
/// more, the searches take turns, each with a share of them.
const MAX_IMPORTS_READ: usize = 100;
/// List entries read in one query: 80 bytes each.
const LIST_ENTRIES_PER_QUERY: i32 = 5_000;
/// The list has at most one entry for each account, and the hub is made for 100,000 accounts.
const MAX_LIST_QUERIES: usize = 20;
/// How long a share has its turn, seconds.
const SHARE_TURN_SECONDS: i64 = 600;

/// The unfinished imports whose turn it is.
#[derive(Debug, Default)]
pub struct UnfinishedImports {
    /// Those that could be read.
    pub imports: Vec<Import>,
    /// How many more cannot be read.
    pub unreadable: usize,
}

impl Import {
    /// Whether it is overdue at `now`, unix seconds, to make progress or end: its chain of jobs broke.
    #[must_use]
    pub fn is_stuck(&self, now: i64) -> bool {
        let since = match self.status {
            ImportStatus::Running => self.moved_at.max(self.started_at),
            ImportStatus::Paused => self.paused_until.unwrap_or(self.started_at),
            ImportStatus::Completed | ImportStatus::Failed => return false,
        };
        now.saturating_sub(since) > STUCK_AFTER_SECONDS
    }

    /// Whether its next jobs should be queued again at `now`, unix seconds: it made no progress for long, and
    /// they were not queued again since.
    #[must_use]
    pub fn needs_requeue(&self, now: i64) -> bool {
        match self.status {
            ImportStatus::Completed | ImportStatus::Failed => false,
            ImportStatus::Paused => {
                now >= self.paused_until.unwrap_or(self.started_at) + RESUME_GRACE_SECONDS
            }
            ImportStatus::Running => {
                let moved = self.moved_at.max(self.started_at);
                let patience =
                    if self.pages_listed == 0 { FIRST_REQUEUE_AFTER_SECONDS } else { REQUEUE_AFTER_SECONDS };
                let requeue_at = match self.taken_up_at.filter(|at| *at > moved) {
                    Some(at) => at + (at - moved).clamp(REQUEUE_AFTER_SECONDS, MAX_REQUEUE_INTERVAL_SECONDS),
                    None => moved + patience,
                };
                now >= requeue_at
            }
        }
    }
}

impl Store {
    /// Unfinished imports whose turn it is at `now`, unix seconds: all up to [`MAX_IMPORTS_READ`], a share of
    /// more. One that cannot be read does not hide the others.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn unfinished_imports(&self, now: i64) -> Result<UnfinishedImports, Error> {
        let listed = self.list_unfinished_imports().await?;
        let shares = u32::try_from(listed.len().div_ceil(MAX_IMPORTS_READ)).unwrap_or(1).max(1);
        let turn =
            u32::try_from(now.div_euclid(SHARE_TURN_SECONDS).rem_euclid(i64::from(shares))).unwrap_or(0);
        let keys: Vec<_> = listed
            .iter()
            .filter(|(_, id)| ids::shard(id, shares) == turn)
            .map(|(app_id, id)| keys::import(app_id, id))
            .collect();
        let mut open = UnfinishedImports::default();
        for found in self.get_many(&self.work, &keys).await? {
            match from_item(found) {
                Ok(import) => open.imports.push(import),
                Err(error) => {
                    tracing::error!(%error, "an import that has not ended cannot be read: {error}");
                    open.unreadable += 1;
                }
            }
        }
        Ok(open)
    }

    /// App id and import id of the list's entries.
    async fn list_unfinished_imports(&self) -> Result<Vec<(String, String)>, Error> {
        let (mut listed, mut start) = (Vec::new(), None);
        for _ in 0..MAX_LIST_QUERIES {
            let page = self
                .query(Query {
                    table: &self.work,
                    index: None,
                    consistent: false,
                    condition: "pk = :pk",
                    names: &[],
                    values: &[(":pk", s(keys::unfinished_import("").pk))],
                    descending: false,
                    limit: LIST_ENTRIES_PER_QUERY,
                    start: start.take(),
                })
                .await?;
            listed.extend(page.items.iter().filter_map(|entry| {
                let word = |name: &str| entry.get(name).and_then(|v| v.as_s().ok()).cloned();
                Some((word("app_id")?, word("sk")?))
            }));
            start = page.next;
            if start.is_none() {
                break;
            }
        }
        Ok(listed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Running since second 1,000, with one page listed.
    fn import(about: Value) -> Import {
        let mut import = json!({
            "id": "imp_1", "app_id": "wx1", "tenant_id": "ten_1", "status": "running", "started_at": 1_000,
            "pages_listed": 1,
        });
        import.as_object_mut().unwrap().extend(about.as_object().unwrap().clone());
        serde_json::from_value(import).unwrap()
    }

    #[test]
    fn an_import_is_stuck_that_neither_moved_nor_ended_for_an_hour() {
        for (what, about, now, stuck) in [
            ("just started", json!({}), 1_010, false),
            ("started an hour ago, never moved", json!({}), 4_601, true),
            ("moved since", json!({"moved_at": 4_000}), 4_601, false),
            ("moved long ago", json!({"moved_at": 4_000}), 7_601, true),
            ("paused until later", json!({"status": "paused", "paused_until": 9_000}), 8_000, false),
            ("resumes about now", json!({"status": "paused", "paused_until": 9_000}), 9_100, false),
            ("was to resume long ago", json!({"status": "paused", "paused_until": 9_000}), 12_601, true),
            ("completed", json!({"status": "completed"}), 100_000, false),
            ("failed", json!({"status": "failed"}), 100_000, false),
        ] {
            assert_eq!(import(about).is_stuck(now), stuck, "{what}");
        }
    }

    #[test]
    fn an_import_is_taken_up_that_is_quiet_and_ever_more_seldom() {
        for (what, about, now, wants) in [
            ("just started", json!({"pages_listed": 0}), 1_119, false),
            ("its first job did not come", json!({"pages_listed": 0}), 1_120, true),
            (
                "the first job was queued again",
                json!({"pages_listed": 0, "taken_up_at": 1_120}),
                2_019,
                false,
            ),
            ("and did not come either", json!({"pages_listed": 0, "taken_up_at": 1_120}), 2_020, true),
            ("a page takes its time", json!({}), 1_899, false),
            ("a page takes too long", json!({}), 1_900, true),
            ("moved since", json!({"moved_at": 1_500}), 2_399, false),
            ("taken up, and moved since", json!({"moved_at": 3_000, "taken_up_at": 1_900}), 3_899, false),
            ("taken up once, quiet", json!({"taken_up_at": 1_900}), 2_799, false),
            ("for as long again", json!({"taken_up_at": 1_900}), 2_800, true),
            ("taken up twice", json!({"taken_up_at": 2_800}), 4_599, false),
            ("twice as long", json!({"taken_up_at": 2_800}), 4_600, true),
            ("taken up often", json!({"taken_up_at": 50_000}), 53_599, false),
            ("never for longer than an hour", json!({"taken_up_at": 50_000}), 53_600, true),
            ("paused", json!({"status": "paused", "paused_until": 9_000}), 9_119, false),
            ("nobody resumes it", json!({"status": "paused", "paused_until": 9_000}), 9_120, true),
            ("completed", json!({"status": "completed"}), 100_000, false),
            ("failed", json!({"status": "failed"}), 100_000, false),
        ] {
            assert_eq!(import(about).needs_requeue(now), wants, "{what}");
        }
    }
}

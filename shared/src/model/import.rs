//! Imports of an account's followers: how far one is, and whether its chain of jobs broke.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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

/// The state of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ImportStatus {
    /// It is running.
    Running,
    /// It waits for WeChat's quota until `paused_until`.
    Paused,
    /// Every follower is stored, and those who left are marked.
    Completed,
    /// It failed; `error` says why.
    Failed,
}

/// An import as stored. Times are unix seconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Import {
    /// `imp_…`.
    pub id: String,
    /// The account.
    pub app_id: String,
    /// The tenant.
    pub tenant_id: String,
    /// The state.
    pub status: ImportStatus,
    /// WeChat's `total` on the first page.
    pub followers_total: Option<u64>,
    /// Openids listed so far.
    #[serde(default)]
    pub followers_listed: u64,
    /// Pages listed so far.
    #[serde(default)]
    pub pages_listed: u32,
    /// The cursor of the next page to list; none when all are listed.
    pub next_cursor: Option<String>,
    /// Whether the last page was listed.
    #[serde(default)]
    pub listing_done: bool,
    /// Why the list ended early. Then no fan may be marked as unsubscribed.
    pub listing_cut: Option<String>,
    /// Pages whose chunks are all done, with their counts: `page → imported`.
    #[serde(default)]
    pub pages_done: BTreeMap<String, u64>,
    /// Shards of customers that were reconciled.
    #[serde(default)]
    pub shards_done: Vec<u32>,
    /// When it began.
    pub started_at: i64,
    /// When it last made progress, paused or resumed; 0 in imports of before this was stored.
    #[serde(default)]
    pub moved_at: i64,
    /// When it last resumed after a pause.
    pub resumed_at: Option<i64>,
    /// The message that counted the page listed last: of two deliveries at once only one continues.
    pub listed_by: Option<String>,
    /// When its next jobs were last queued again.
    pub taken_up_at: Option<i64>,
    /// The message that queued them.
    pub taken_up_by: Option<String>,
    /// When it ended.
    pub finished_at: Option<i64>,
    /// When it tries again.
    pub paused_until: Option<i64>,
    /// Why it paused or failed.
    pub error: Option<String>,
}

impl Import {
    /// Followers on pages that are stored completely.
    #[must_use]
    pub fn followers_imported(&self) -> u64 {
        self.pages_done.values().sum()
    }

    /// Since when it sends requests to WeChat, unix seconds: earlier refusals do not concern it.
    #[must_use]
    pub fn requests_since(&self) -> i64 {
        self.resumed_at.unwrap_or(self.started_at)
    }

    /// Whether the list is complete and every page of it is stored.
    #[must_use]
    pub fn all_pages_imported(&self) -> bool {
        self.listing_done && (0..self.pages_listed).all(|p| self.pages_done.contains_key(&p.to_string()))
    }

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

/// How far a shard is reconciled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardProgress {
    /// The customer that was checked last.
    pub after: String,
    /// The message that got this far.
    pub by: String,
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

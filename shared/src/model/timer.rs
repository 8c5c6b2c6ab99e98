//! Jobs that wait for their time.

use serde::{Deserialize, Serialize};

/// A timer as stored, with the exact message for its queue, so that the sweeper need not understand the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTimer {
    /// The queue's name, as in [`crate::queue::JobQueue`].
    pub queue: String,
    /// The job as JSON.
    pub body: String,
    /// Fair-share group; on a FIFO queue the message group, which is kept in order.
    pub group: String,
    /// The deduplication id on a FIFO queue.
    pub once: String,
}

//! Why a job failed when it was last received.

use serde::{Deserialize, Serialize};

/// The last failure of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailure {
    /// The job's fingerprint.
    pub job: String,
    /// What stopped it, without the content of the job.
    pub why: String,
    /// When, unix seconds.
    pub at: i64,
    /// How often it had been received by then.
    pub receives: u32,
}

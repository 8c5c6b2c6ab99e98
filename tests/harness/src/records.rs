//! What happened in a deployment, for the checks: pushes that were acknowledged and consents that were given.

/// A push that the hub answered with 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgedPush {
    /// The account.
    pub app_id: String,
    /// The follower.
    pub open_id: String,
    /// The decrypted push.
    pub plaintext: String,
    /// The decrypted reply.
    pub reply: Option<String>,
    /// The account was bound all along, so the event must be on the timeline.
    pub must_be_stored: bool,
}

/// When a push first arrived and when it was first answered with 200, in unix milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct PushArrival {
    /// When it reached the function.
    pub arrived_at_ms: i64,
    /// When the function returned.
    pub answered_at_ms: Option<i64>,
}

/// A consent on WeChat's page that was reached from a page of the hub.
#[derive(Debug, Clone)]
pub struct ConsentGiven {
    /// API key of the tenant whose page it was.
    pub key: String,
    /// The account.
    pub app_id: String,
    /// When the hub's page was opened, unix seconds.
    pub opened_at: i64,
    /// When consent was given, unix seconds.
    pub consented_at: i64,
}

//! Rare states that a history can reach. Histories that never reach one do not test it.

use std::{collections::BTreeSet, sync::Mutex};

/// A rare state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RareState {
    /// A function died before a write to DynamoDB that was not its first.
    CrashBetweenWrites,
    /// A write to DynamoDB succeeded, and the SDK sent it again.
    WriteRepeatedBySdk,
    /// A push was handled by two instances at the same time.
    PushTwiceAtOnce,
    /// A push was repeated after its account was unbound.
    LatePushAfterUnbinding,
    /// A batch was handled by two instances at the same time.
    BatchTwiceAtOnce,
    /// A job was given up: it is a dead letter.
    DeadLetter,
    /// A job waited in a timer.
    JobInTimer,
    /// A fan followed and unfollowed within one second, and both pushes were acknowledged.
    FollowAndUnfollowInOneSecond,
    /// A rule's reply was sent as a customer-service message.
    RuleSentMessage,
    /// A message may have been sent when its function died; it was sent again, or waited and then sent.
    MessageRetaken,
    /// Whether WeChat sent a message stayed unknown.
    MessageOutcomeUnknown,
    /// A used-up quota delayed messages.
    QuotaOfMessages,
    /// An import was paused by a used-up quota and resumed.
    ImportResumed,
    /// WeChat's list of followers ended too early, or a job of the import was lost for good.
    ImportCut,
    /// An import found that a follower had left, whose push was lost.
    FollowerFoundGone,
    /// WeChat refused to refresh an account's token.
    TokenRefreshRefused,
    /// An account went from one tenant to the other.
    AccountChangedTenants,
}

/// The rare states that one history reached.
#[derive(Debug, Default)]
pub struct RareStates(Mutex<BTreeSet<RareState>>);

impl RareStates {
    /// Records that it was reached.
    pub fn reached(&self, state: RareState) {
        self.0.lock().unwrap().insert(state);
    }

    /// All that were reached.
    pub fn all(&self) -> BTreeSet<RareState> {
        self.0.lock().unwrap().clone()
    }
}

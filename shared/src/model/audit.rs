//! Who did what: the entries of the audit trail.

use serde::{Deserialize, Serialize};

/// Prefix of entries' ids.
pub const AUDIT_ID_PREFIX: &str = "aud";
/// Outcome of an operation that began, and whose end was not recorded.
pub const STARTED: &str = "started";
/// Outcome of an operation that succeeded. Any other outcome is the code of its problem.
pub const SUCCEEDED: &str = "succeeded";
/// Stands for the tenant in what the operator does for no tenant.
pub const PLATFORM_TENANT: &str = "platform";

/// What kind of actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A program, by its API key.
    Key,
    /// A person: a user of the console, or an account's administrator at WeChat, known by the link only.
    Person,
    /// The holder of the operator's key.
    Operator,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Actor {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ActorKind,
    /// The key's or person's id. For an administrator at WeChat a binding's, or `wechat` where no link of yours led there;
    /// for the operator `operator`, or `operator_previous_key` with the key that is being replaced.
    pub id: String,
}

impl Actor {
    /// An API key.
    #[must_use]
    pub fn key(id: impl Into<String>) -> Self {
        Self { kind: ActorKind::Key, id: id.into() }
    }

    /// A person.
    #[must_use]
    pub fn person(id: impl Into<String>) -> Self {
        Self { kind: ActorKind::Person, id: id.into() }
    }

    /// The operator; `id` distinguishes the key from the one before a rotation.
    #[must_use]
    pub fn operator(id: impl Into<String>) -> Self {
        Self { kind: ActorKind::Operator, id: id.into() }
    }
}

/// One recorded operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// `aud_…`, made at `at`: entries sort by it. Writing the same id twice changes nothing.
    pub id: String,
    /// When, unix milliseconds. It is part of the key, so a second attempt writes the same.
    pub at: i64,
    /// Who.
    pub actor: Actor,
    /// What, as `resource.done`: `reply_rules.replaced`.
    pub operation: String,
    /// On what: an id. Never a name, a content or a secret.
    pub target: String,
    /// [`STARTED`], [`SUCCEEDED`], or a problem's code.
    pub outcome: String,
}

//! Records as the store holds them, for tests of how they are written.

use serde_json::json;
use shared::model::{
    account::{AccountRecord, AccountStatus, AccountType},
    event::StoredEvent,
    fan::FanId,
    import::Import,
    message::{MessageRecord, MessageStatus},
};

/// An account.
pub const APP_ID: &str = "wx5a1b2c3d4e5f6071";
/// The tenant that owns it.
pub const TENANT_ID: &str = "ten_1";
/// 2025-01-01, unix seconds.
pub const NEW_YEAR_2025: i64 = 1_735_689_600;

/// A follower of the account.
#[must_use]
pub fn fan(open_id: &str) -> FanId<'_> {
    FanId { tenant: TENANT_ID, app_id: APP_ID, open_id }
}

/// A bound service account with the required permissions.
#[must_use]
pub fn account(app_id: &str) -> AccountRecord {
    AccountRecord {
        app_id: app_id.into(),
        tenant_id: TENANT_ID.into(),
        original_id: "gh_3c884a361561".into(),
        name: "Harbour Coffee".into(),
        alias: "harbour".into(),
        avatar_url: "https://avatar.example/1".into(),
        qr_code_url: "https://qr.example/1".into(),
        principal_name: "Harbour Ltd".into(),
        account_type: AccountType::Service,
        verified: true,
        status: AccountStatus::Bound,
        granted: vec![1, 15, 4, 7, 2, 3, 11, 8],
        bound_at: NEW_YEAR_2025,
        bound_by: Some("c".into()),
        unbound_at: None,
        stored_authorized_at: NEW_YEAR_2025,
        deleted: false,
        revision: 0,
    }
}

/// An import that just began at `started_at`, unix seconds.
#[must_use]
pub fn import(id: &str, app_id: &str, started_at: i64) -> Import {
    let import = json!({
        "id": id, "app_id": app_id, "tenant_id": TENANT_ID, "status": "running", "started_at": started_at,
    });
    serde_json::from_value(import).unwrap()
}

/// A message that was accepted.
#[must_use]
pub fn message(id: &str) -> MessageRecord {
    MessageRecord {
        id: id.into(),
        tenant_id: TENANT_ID.into(),
        app_id: APP_ID.into(),
        to: "o1".into(),
        status: MessageStatus::Queued,
        channel: None,
        content: Some(r#"{"msgtype":"text","text":{"content":"Hello"}}"#.into()),
        template: Some(r#"{"template_id":"T1"}"#.into()),
        wechat_msg_id: None,
        error: None,
        created_at: NEW_YEAR_2025 * 1000,
        sent_at: None,
        claimed_at: None,
        claimed_by: None,
        first_claimed_at: None,
    }
}

/// A fan's text message with its reply.
#[must_use]
pub fn event(identity: &str) -> StoredEvent {
    StoredEvent {
        identity: identity.into(),
        kind: "message_received".into(),
        at: NEW_YEAR_2025,
        app_id: APP_ID.into(),
        open_id: "o1".into(),
        detail: r#"{"MsgType":"text","Content":"menu"}"#.into(),
        reply: Some("<xml><MsgType>text</MsgType></xml>".into()),
        sends: Some("msg_1".into()),
    }
}

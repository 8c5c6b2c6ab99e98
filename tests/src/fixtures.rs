//! Records as the store holds them, for tests of how they are written.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;
use shared::{
    model::{
        account::{AccountRecord, AccountStatus, AccountType},
        binding::{Binding, BindingStatus},
        event::StoredEvent,
        fan::FanId,
        import::Import,
        message::{MessageRecord, MessageStatus},
    },
    wechat::user::UserInfo,
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

/// A link of an hour that nobody has opened.
#[must_use]
pub fn binding(id: &str) -> Binding {
    let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
    Binding {
        id: id.into(),
        tenant_id: TENANT_ID.into(),
        status: BindingStatus::Pending,
        app_id: None,
        account_name: None,
        only_app_id: None,
        reason: None,
        return_url: None,
        created_at: at(NEW_YEAR_2025),
        expires_at: at(NEW_YEAR_2025 + 3600),
        pre_auth_code: None,
        pre_auth_at: None,
        pre_auth_expires: None,
        event_at: None,
        asked: BTreeSet::new(),
        ended_by: None,
    }
}

/// What WeChat tells of a follower.
#[must_use]
pub fn user_info(open_id: &str) -> UserInfo {
    serde_json::from_value(json!({
        "subscribe": 1, "openid": open_id, "language": "zh_CN", "subscribe_time": NEW_YEAR_2025 - 100,
        "remark": "VIP", "groupid": 0, "tagid_list": [2, 128], "subscribe_scene": "ADD_SCENE_QR_CODE",
        "qr_scene": 98765, "qr_scene_str": "",
    }))
    .unwrap()
}

//! What WeChat says became of a template message.

use std::time::Duration;

use shared::{
    app::App,
    error::Error,
    store::messages::{MessageError, MessageStatus},
};

/// How long to wait at first for our own record of the send: WeChat's event may be faster. Then twice as long, …
const WAIT: Duration = Duration::from_secs(5);
/// After so many receives, more than a minute, it was somebody else's message: a record that a crash held up is there.
const RECEIVES: u32 = 5;

/// Settles the message. Answers [`None`] when it is done, else when to come again, and why.
pub async fn settle(
    app: &App,
    tenant: &str,
    app_id: &str,
    wechat_msg_id: &str,
    status: &str,
    receives: u32,
) -> Option<(Duration, String)> {
    match try_settle(app, tenant, app_id, wechat_msg_id, status).await {
        Ok(true) => None,
        Ok(false) if receives < RECEIVES => {
            Some((WAIT * (1 << receives.saturating_sub(1)), "its message is not stored yet".to_owned()))
        }
        Ok(false) => {
            tracing::info!(
                app_id,
                wechat_msg_id,
                "a template message that was not sent from here was settled"
            );
            None
        }
        Err(error) => {
            tracing::warn!(app_id, %error, "a template message could not be settled: {error}");
            Some((crate::outcome::backoff(receives), error.to_string()))
        }
    }
}

async fn try_settle(
    app: &App,
    tenant: &str,
    app_id: &str,
    wechat_msg_id: &str,
    status: &str,
) -> Result<bool, Error> {
    let Some(message) = app.store.message_of_wechat(tenant, app_id, wechat_msg_id).await? else {
        return Ok(false);
    };
    let (to, error) = meaning(status);
    if app.store.settle_message(&message.id, to, error.as_ref()).await? {
        return Ok(true);
    }
    // The pointer may be stored a moment before the message it points at.
    Ok(matches!(message.status, MessageStatus::Delivered | MessageStatus::Failed))
}

/// `success`, `failed:user block`, `failed: system failed`; WeChat's spelling of blanks varies.
fn meaning(status: &str) -> (MessageStatus, Option<MessageError>) {
    let status = status.trim().to_ascii_lowercase();
    if !status.starts_with("failed") {
        return (MessageStatus::Delivered, None);
    }
    let (code, detail) = if status.contains("block") {
        ("user_blocked", "The fan refuses messages of this account.")
    } else {
        ("system_failed", "WeChat took the message and could not deliver it.")
    };
    (MessageStatus::Failed, Some(MessageError { code: code.into(), errcode: None, detail: detail.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_means_delivered_blocked_or_failed() {
        for (status, code) in [
            ("success", None),
            ("failed:user block", Some("user_blocked")),
            ("failed: user block", Some("user_blocked")),
            ("failed: system failed", Some("system_failed")),
            ("failed:something new", Some("system_failed")),
        ] {
            let (to, error) = meaning(status);
            assert_eq!(error.map(|e| e.code).as_deref(), code, "{status}");
            assert_eq!(to == MessageStatus::Delivered, code.is_none(), "{status}");
        }
    }
}

//! Records the delivery status that WeChat pushes for a template message.

use std::time::Duration;

use shared::{
    error::Error,
    model::{
        failure_code::FailureCode,
        message::{MessageError, MessageStatus},
    },
    retry,
    services::Services,
};

use crate::states::JobEnd;

/// The first wait for the record of the send, which WeChat's event may outrun. It doubles each time.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait.
const MAX_WAIT: Duration = Duration::from_mins(2);
/// After so many receives the message was not the hub's: a crashed send is repeated and recorded within nine
/// minutes, plus the time until the queue delivers its job again.
const MAX_RECEIVES: u32 = 11;

/// Records the status.
pub async fn record_delivery_status(
    app: &Services,
    tenant: &str,
    app_id: &str,
    wechat_msg_id: &str,
    status: &str,
    receives: u32,
) -> JobEnd {
    match try_record(app, tenant, app_id, wechat_msg_id, status).await {
        Ok(true) => JobEnd::Done,
        Ok(false) if receives < MAX_RECEIVES => {
            JobEnd::Again(wait(receives), "its message is not stored yet".to_owned())
        }
        Ok(false) => {
            tracing::info!("a template message that was not sent from here was settled");
            JobEnd::Done
        }
        Err(error) => {
            tracing::warn!(%error, "a template message could not be settled: {error}");
            JobEnd::Again(retry::wait(&error, receives), error.to_string())
        }
    }
}

/// The wait after so many receives.
fn wait(receives: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << receives.saturating_sub(1).min(16)).min(MAX_WAIT)
}

async fn try_record(
    app: &Services,
    tenant: &str,
    app_id: &str,
    wechat_msg_id: &str,
    status: &str,
) -> Result<bool, Error> {
    let Some(message) = app.store.messages().by_wechat_id(tenant, app_id, wechat_msg_id).await? else {
        return Ok(false);
    };
    let (to, error) = parse_status(status);
    if app.store.messages().record_delivery(&message.id, to, error.as_ref()).await? {
        return Ok(true);
    }
    // WeChat's id may be stored a moment before the message that it points to.
    Ok(matches!(message.status, MessageStatus::Delivered | MessageStatus::Failed))
}

/// Parses `success`, `failed:user block`, `failed: system failed`; WeChat varies the spaces.
fn parse_status(status: &str) -> (MessageStatus, Option<MessageError>) {
    let status = status.trim().to_ascii_lowercase();
    if !status.starts_with("failed") {
        return (MessageStatus::Delivered, None);
    }
    let (code, detail) = if status.contains("block") {
        (FailureCode::UserBlocked, "The fan refuses messages of this account.")
    } else {
        (FailureCode::SystemFailed, "WeChat took the message and could not deliver it.")
    };
    (MessageStatus::Failed, Some(MessageError { code, errcode: None, detail: detail.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recovery::RESEND_WITHIN_SECONDS;

    #[test]
    fn a_result_waits_for_as_long_as_its_record_may_take() {
        // how long SendQueue hides what a dead worker had: template.yaml
        const HIDDEN: Duration = Duration::from_secs(180);
        let waited: Duration = (1..MAX_RECEIVES).map(wait).sum();
        assert!(waited >= Duration::from_secs(RESEND_WITHIN_SECONDS.unsigned_abs()) + HIDDEN, "{waited:?}");
    }

    #[test]
    fn a_status_means_delivered_blocked_or_failed() {
        for (status, code) in [
            ("success", None),
            ("failed:user block", Some(FailureCode::UserBlocked)),
            ("failed: user block", Some(FailureCode::UserBlocked)),
            ("failed: system failed", Some(FailureCode::SystemFailed)),
            ("failed:something new", Some(FailureCode::SystemFailed)),
        ] {
            let (to, error) = parse_status(status);
            assert_eq!(error.map(|e| e.code), code, "{status}");
            assert_eq!(to == MessageStatus::Delivered, code.is_none(), "{status}");
        }
    }
}

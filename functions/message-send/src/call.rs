//! Asks WeChat to send one message, with the account's token and within the time that is left.

use std::time::Duration;

use serde_json::Value;
use shared::{
    deadline::Deadline,
    model::message::Channel,
    quota,
    secret::Secret,
    services::Services,
    tokens::{self, OnBehalfOf, RefreshReason},
    wechat::{ApiError, errcode::ErrcodeClass, transport::MAX_CALL_DURATION},
};

use crate::{
    account_context::{AccountContext, channel_api},
    retry_policy::{
        SendFailureAction, action_for_quota, action_out_of_time, action_without_token, failure_action,
    },
    work::Work,
};

/// The time that is kept for the records after the last call of a round.
const RECORD_TIME: Duration = Duration::from_millis(1_500);
/// The time that a round needs if all goes well: one call, and the records.
pub const ROUND_TIME: Duration =
    Duration::from_millis(MAX_CALL_DURATION.as_millis() as u64 + RECORD_TIME.as_millis() as u64);

/// Asks WeChat, and again with a new token where it refuses the old one, if there is time. Returns WeChat's
/// id of a template message, or what to do with a message that was not accepted.
pub async fn call_wechat(
    app: &Services,
    work: &Work,
    account: &AccountContext,
    channel: Channel,
    until: Deadline,
) -> Result<Option<String>, SendFailureAction> {
    if let Some(refusal) = account.quota_refusal(channel, app.clock.unix()) {
        return Err(action_for_quota(refusal));
    }
    let token = match &account.token {
        Some(Ok(token)) => token.clone(),
        Some(Err(error)) => return Err(action_without_token(error)),
        None => new_token(app, work, RefreshReason::Expired, until).await?,
    };
    check_time(app, until)?;
    let mut answer = send(app, work, channel, &token).await;
    if answer.as_ref().is_err_and(|error| error.class() == ErrcodeClass::Token) {
        let token = new_token(app, work, RefreshReason::Refused(&token), until).await?;
        check_time(app, until)?;
        answer = send(app, work, channel, &token).await;
    }
    let error = match answer {
        Ok(wechat_msg_id) => return Ok(wechat_msg_id),
        Err(error) => error,
    };
    let has_template = account.capabilities.template && work.template.is_some();
    Err(match quota::remember_refusal(app, &work.app_id, channel_api(channel), &error).await {
        Some(refusal) => action_for_quota(refusal),
        None => failure_action(channel, &error, has_template),
    })
}

fn check_time(app: &Services, until: Deadline) -> Result<(), SendFailureAction> {
    if until.allows(&*app.clock, ROUND_TIME) { Ok(()) } else { Err(action_out_of_time()) }
}

async fn new_token(
    app: &Services,
    work: &Work,
    why: RefreshReason<'_>,
    until: Deadline,
) -> Result<Secret, SendFailureAction> {
    let whose = OnBehalfOf::Tenant(&work.tenant_id);
    let token = tokens::authorizer_token(app, whose, &work.app_id, why, until.earlier_by(ROUND_TIME)).await;
    token.map_err(|error| action_without_token(&error))
}

async fn send(
    app: &Services,
    work: &Work,
    channel: Channel,
    token: &Secret,
) -> Result<Option<String>, ApiError> {
    const NOTHING: Value = Value::Null;
    match channel {
        Channel::CustomerService => {
            let content = work.content.as_ref().unwrap_or(&NOTHING);
            app.wechat.custom_send(token, &work.to, content).await.map(|()| None)
        }
        Channel::Template => {
            let template = work.template.as_ref().unwrap_or(&NOTHING);
            app.wechat.template_send(token, &work.to, template, &work.id).await.map(Some)
        }
    }
}

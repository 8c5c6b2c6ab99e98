//! WeChat's check before a full-network release: redeem the code in a test account's message, and reply with
//! the token that it gives. No tenant has that account.

use std::time::Duration;

use shared::{
    deadline::Deadline,
    error::Error,
    model::content::Content,
    secret::Secret,
    services::Services,
    tokens::{self, OnBehalfOf, RefreshReason},
    wechat::{ApiError, transport::MAX_CALL_DURATION},
};

use crate::states::JobEnd;

/// The wait before another try; the check allows little time.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// Tries; after these the check has failed in any case.
const MAX_RECEIVES: u32 = 4;
/// Tries to send the reply with one token, because the code is used up by then.
const MAX_SENDS: u32 = 3;

/// Answers the check.
pub async fn answer(
    app: &Services,
    app_id: &str,
    code: &Secret,
    open_id: &str,
    receives: u32,
    until: Deadline,
) -> JobEnd {
    match try_answer(app, app_id, code, open_id, until).await {
        Ok(()) => {
            tracing::info!("the release check was answered");
            JobEnd::Done
        }
        Err(error) => {
            tracing::warn!(%error, "the release check could not be answered: {error}");
            if receives < MAX_RECEIVES { JobEnd::Again(RETRY_WAIT, error.to_string()) } else { JobEnd::Done }
        }
    }
}

async fn try_answer(
    app: &Services,
    app_id: &str,
    code: &Secret,
    open_id: &str,
    until: Deadline,
) -> Result<(), Error> {
    let token = token(app, app_id, code, until.earlier_by(MAX_CALL_DURATION)).await?;
    let content = Content::text(&format!("{}_from_api", code.expose()));
    let mut tries = 0;
    loop {
        tries += 1;
        match app.wechat.custom_send(&token, open_id, content.as_json()).await {
            Ok(()) => return Ok(()),
            Err(error)
                if tries < MAX_SENDS
                    && may_send_again(&error)
                    && until.allows(&*app.clock, MAX_CALL_DURATION) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn may_send_again(error: &ApiError) -> bool {
    !error.may_have_happened() && error.class() == shared::wechat::errcode::ErrcodeClass::Retry
}

/// Returns the code's token or, if the code is used, the one that its authorization event stored.
async fn token(app: &Services, app_id: &str, code: &Secret, until: Deadline) -> Result<Secret, Error> {
    let component = &app.config.component.app_id;
    let given = tokens::with_component_until(app, until, |token| async move {
        app.wechat.query_auth(&token, component, code).await
    })
    .await;
    match given {
        Ok(authorization) => match authorization.tokens {
            Some(tokens) => Ok(tokens.access_token),
            None => stored_token(app, app_id, until).await,
        },
        Err(Error::WeChat(error)) if matches!(error.errcode(), Some(61009 | 61010)) => {
            stored_token(app, app_id, until).await
        }
        Err(error) => Err(error),
    }
}

/// The stored token of WeChat's test account, which no tenant has.
async fn stored_token(app: &Services, app_id: &str, until: Deadline) -> Result<Secret, Error> {
    let until = Deadline::after(&*app.clock, tokens::MAX_TOKEN_WAIT).min(until);
    tokens::authorizer_token(app, OnBehalfOf::Platform, app_id, RefreshReason::Expired, until).await
}

//! Quota memory: until when WeChat refuses each API of an account. A refused caller writes it and every caller reads it
//! first, so that a used-up quota costs one call and not one for each waiting job; all but the release check, whose account
//! no tenant has.

use jiff::Timestamp;

use crate::{
    error::Error,
    model::quota::QuotaRefusal,
    services::Services,
    wechat::{
        ApiError,
        errcode::{ErrcodeClass, QuotaWait, wait_until},
    },
};

/// An API with its own quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuotaApi {
    /// Customer-service messages.
    CustomSend,
    /// Template messages.
    TemplateSend,
    /// The list of followers.
    UserGet,
    /// Followers' details, in batches of a hundred and one by one.
    UserInfo,
}

impl QuotaApi {
    /// Its name in the store.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CustomSend => "custom_send",
            Self::TemplateSend => "template_send",
            Self::UserGet => "user_get",
            Self::UserInfo => "user_info",
        }
    }
}

/// The quota refusal that `error` reports at `now`; [`None`] where it reports none, or
/// where the sends of one fan's reply window are used up, which only that fan can renew.
#[must_use]
pub fn refusal_of_error(error: &ApiError, now: Timestamp) -> Option<QuotaRefusal> {
    match error.class() {
        ErrcodeClass::Quota(QuotaWait::Window) => None,
        ErrcodeClass::Quota(wait) => Some(QuotaRefusal {
            refused_until: wait_until(wait, now).as_second(),
            refused_at: now.as_second(),
            errcode: error.errcode()?,
        }),
        _ => None,
    }
}

/// Stores the quota refusal that `error` reports for an account's API, and returns it.
/// If it cannot be stored, the next call is refused once more; nothing else is lost.
pub async fn remember_refusal(
    app: &Services,
    app_id: &str,
    api: QuotaApi,
    error: &ApiError,
) -> Option<QuotaRefusal> {
    let refusal = refusal_of_error(error, app.clock.now())?;
    if let Err(error) = app.store.quotas().store_refusal(app_id, api.name(), &refusal).await {
        tracing::warn!(app_id, api = api.name(), %error, "a used-up quota could not be noted: {error}");
    }
    Some(refusal)
}

/// The refusal that is in force for an account's API; [`None`] where calls are allowed.
///
/// # Errors
/// [`Error::Store`].
pub async fn current_refusal(
    app: &Services,
    app_id: &str,
    api: QuotaApi,
) -> Result<Option<QuotaRefusal>, Error> {
    let found = app.store.quotas().refusal(app_id, api.name()).await?;
    Ok(found.filter(|refusal| refusal.refused_until > app.clock.unix()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_lasts_until_the_quota_is_back() {
        let now: Timestamp = "2026-03-01T10:00:30Z".parse().unwrap();
        for (what, errcode, until) in [
            ("the day's", 45009, Some("2026-03-01T16:00:00Z")),
            ("the minute's", 45011, Some("2026-03-01T10:01:00Z")),
            ("blocked for a while", 45102, Some("2026-03-01T11:00:30Z")),
            ("one fan's window", 45047, None),
            ("no quota", 40003, None),
            ("busy", -1, None),
        ] {
            let error = ApiError::Refused { errcode, errmsg: "no".into(), rid: None };
            let until = until.map(|t| t.parse::<Timestamp>().unwrap().as_second());
            assert_eq!(refusal_of_error(&error, now).map(|r| r.refused_until), until, "{what}");
        }
    }
}

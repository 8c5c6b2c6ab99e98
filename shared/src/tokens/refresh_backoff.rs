//! How long to wait after WeChat has refused a token, the platform's or an account's.
//!
//! Half a minute at first and up to ten; less where WeChat was busy or not
//! reached; until WeChat's day or minute ends where a quota is used up.

use jiff::Timestamp;

use crate::{
    error::Error,
    model::credentials::{LastRefusal, TokenRefusal},
    wechat::{
        ApiError,
        errcode::{ErrcodeClass, wait_until},
        transport::TransportError,
    },
};

/// The first pause after a refusal, seconds, and the longest.
const REFUSED_BACKOFF_SECONDS: (i64, i64) = (30, 600);
/// The same where WeChat was busy or not reached, which passes sooner.
const UNREACHABLE_BACKOFF_SECONDS: (i64, i64) = (2, 60);

/// When to ask again after `error`; `before` is the previous wait, seconds,
/// 0 for none. [`None`] where it is not a refusal, or a permanent one.
pub(super) fn backoff_after(error: &Error, before: i64, now: Timestamp) -> Option<TokenRefusal> {
    let (Error::Platform(refused) | Error::Account(refused)) = error else { return None };
    let errcode = refused.errcode();
    let (first, longest) = match refused.class() {
        ErrcodeClass::Quota(wait) => {
            let until = wait_until(wait, now).as_second();
            return Some(TokenRefusal { until, wait: before, errcode });
        }
        ErrcodeClass::Retry | ErrcodeClass::Unknown => UNREACHABLE_BACKOFF_SECONDS,
        _ => REFUSED_BACKOFF_SECONDS,
    };
    let wait = before.saturating_mul(2).clamp(first, longest);
    Some(TokenRefusal { until: now.as_second() + wait, wait, errcode })
}

/// The last refusal, while WeChat is not to be asked again.
pub(super) fn still_refused(lately: &LastRefusal, now: i64) -> Option<ApiError> {
    if now >= lately.refused_until {
        return None;
    }
    Some(match lately.refused_errcode {
        Some(errcode) => {
            let left = lately.refused_until - now;
            ApiError::Refused { errcode, errmsg: format!("lately; asked again in {left} s"), rid: None }
        }
        None => TransportError::NotSent("not a moment ago either".into()).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::StoreError,
        wechat::{ApiError, transport::TransportError},
    };

    #[test]
    fn what_is_refused_is_asked_for_less_and_less_often() {
        let now: Timestamp = "2026-03-01T15:00:00Z".parse().unwrap(); // an hour before Beijing's midnight
        let api = |errcode| ApiError::Refused { errcode, errmsg: "no".into(), rid: None };
        let unsent = || ApiError::Transport(TransportError::NotSent("no connection".into()));
        for (what, error, before, left, wait) in [
            ("a stale ticket", Error::Platform(api(61006)), 0, 30, 30),
            ("the same once more", Error::Platform(api(61006)), 30, 60, 60),
            ("a wrong secret for long", Error::Platform(api(40125)), 480, 600, 600),
            ("not reached", Error::Platform(unsent()), 0, 2, 2),
            ("not reached for long", Error::Account(unsent()), 60, 60, 60),
            ("busy after a refusal", Error::Account(api(-1)), 600, 60, 60),
            ("an account that is restricted", Error::Account(api(50002)), 0, 30, 30),
            ("a day's quota", Error::Account(api(45009)), 30, 3_600, 30),
        ] {
            let expected = TokenRefusal {
                until: now.as_second() + left,
                wait,
                errcode: match &error {
                    Error::Account(error) | Error::Platform(error) => error.errcode(),
                    _ => None,
                },
            };
            assert_eq!(backoff_after(&error, before, now), Some(expected), "{what}");
        }
        for error in [Error::RefreshRunning, StoreError::Throttled.into(), Error::NotAuthorized("wx1".into())]
        {
            assert_eq!(backoff_after(&error, 30, now), None, "{error}");
        }
    }
}

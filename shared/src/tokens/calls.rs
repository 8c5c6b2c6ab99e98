//! What a call with a token and a refresh have in common: how long they wait, and the second try.

use std::time::Duration;

use crate::{
    deadline::Deadline,
    error::Error,
    secret::Secret,
    services::Services,
    wechat::{ApiError, errcode::ErrcodeClass, transport::MAX_CALL_DURATION},
};

/// Interval at which a waiting caller checks whether the winner has stored the token.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long a caller waits for a token by default: half of a function's time.
pub const MAX_TOKEN_WAIT: Duration = Duration::from_secs(15);

/// Calls WeChat with `token`; where WeChat refuses it, once more with what `renew` makes of it. No call begins that could
/// end after `until`. Where the new one is refused too, `still_refused` says whose fault that is.
///
/// # Errors
/// Those of `renew`; [`Error::RefreshRunning`] without time for the call; [`Error::WeChat`].
pub(super) async fn call_with_token<T, F, N>(
    app: &Services,
    token: Secret,
    renew: impl FnOnce(Secret) -> N,
    until: Deadline,
    call: impl Fn(Secret) -> F,
    still_refused: fn(ApiError) -> Error,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, ApiError>>,
    N: Future<Output = Result<Secret, Error>>,
{
    ensure_time_for_call(app, until)?;
    match call(token.clone()).await {
        Err(error) if error.class() == ErrcodeClass::Token => {
            let token = renew(token).await?;
            ensure_time_for_call(app, until)?;
            call(token).await
        }
        other => other,
    }
    .map_err(|error| match error.class() {
        ErrcodeClass::Token => still_refused(error),
        _ => error.into(),
    })
}

fn ensure_time_for_call(app: &Services, until: Deadline) -> Result<(), Error> {
    until.allows(&*app.clock, MAX_CALL_DURATION).then_some(()).ok_or(Error::RefreshRunning)
}

/// A random owner of a lease.
pub(super) fn new_lease_owner(app: &Services) -> String {
    app.fresh_id("lse")
}

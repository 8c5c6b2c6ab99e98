//! Quota refusals of WeChat: stored when one comes, and looked up before each call.

use shared::{
    error::Error,
    quota::{self, QuotaApi},
    services::Services,
};

/// Calls WeChat, unless a refusal of this API still applies that is newer than `since`, in unix seconds: a
/// tenant that resumes an import by hand wants one more try in spite of an older refusal.
pub(crate) async fn call_unless_refused<T>(
    app: &Services,
    app_id: &str,
    api: QuotaApi,
    since: i64,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    if let Some(refusal) = quota::current_refusal(app, app_id, api).await?
        && refusal.refused_at > since
    {
        return Err(Error::RefusedBefore(refusal));
    }
    let answer = call.await;
    if let Err(Error::WeChat(error)) = &answer {
        quota::remember_refusal(app, app_id, api, error).await;
    }
    answer
}

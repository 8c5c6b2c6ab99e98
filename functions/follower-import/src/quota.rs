//! What WeChat refuses until when: noted when it refuses, read before it is asked.

use shared::{
    app::App,
    error::Error,
    quota::{self, Api},
    wechat::ApiError,
};

/// Asks WeChat, unless it refused the account's API until a time that is to come, and did so after `since` (unix
/// seconds): whoever resumes an import wants WeChat asked once more.
pub(crate) async fn ask<T>(
    app: &App,
    app_id: &str,
    api: Api,
    since: i64,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    if let Some(refusal) = quota::refused(app, app_id, api).await?
        && refusal.refused_at > since
    {
        let errmsg = "as it said before".to_owned();
        return Err(Error::WeChat(ApiError::Refused { errcode: refusal.errcode, errmsg, rid: None }));
    }
    let answer = call.await;
    if let Err(Error::WeChat(error)) = &answer {
        quota::note(app, app_id, api, error).await;
    }
    answer
}

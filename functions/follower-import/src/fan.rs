//! `FanV1`: somebody just followed; what the push did not say. The push's own status stands, whatever WeChat
//! answers by now: the details carry the push's time, and a status of that time or later wins.

use shared::{app::App, error::Error, model::account::AccountStatus};

use crate::{
    details,
    job::{Ids, Next},
};

pub(crate) async fn run(app: &App, ids: Ids<'_>, open_id: &str, at: i64) -> Result<Next, Error> {
    let account = app.store.account(ids.tenant, ids.app).await?;
    if account.is_some_and(|a| a.status == AccountStatus::Bound) {
        let infos = details::fetch(app, ids, &[open_id.to_owned()]).await?;
        details::store(app, ids, &infos, at, None).await?;
    }
    Ok(Next::none())
}

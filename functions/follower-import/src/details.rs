//! Details of followers: asked for by the hundred, one by one where that is refused or cannot be read, and stored with
//! one write each. Everybody who was asked for is answered: whom WeChat tells nothing about, or nothing that is JSON,
//! is stored as listed.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, TryStreamExt, stream};
use shared::{
    app::App,
    error::Error,
    store::fans::{Details, Fan, union_customer},
    tokens,
    wechat::user::UserInfo,
};

use crate::{
    job::Ids,
    trouble::{self, NoDetails},
};

/// Single questions at once, where the list was refused: 100 of them take about two seconds.
const SINGLES: usize = 10;
/// Fans that are written at once.
const UPDATES: usize = 25;

/// One [`UserInfo`] for each of `open_ids`.
pub(crate) async fn fetch(app: &App, ids: Ids<'_>, open_ids: &[String]) -> Result<Vec<UserInfo>, Error> {
    if let [open_id] = open_ids {
        return Ok(vec![single(app, ids, open_id).await?]);
    }
    let asked = tokens::with_authorizer(app, ids.tenant, ids.app, |token| async move {
        app.wechat.user_info_batch(&token, open_ids).await
    })
    .await;
    let mut told: HashMap<String, UserInfo> = match asked {
        Ok(list) => list.into_iter().map(|info| (info.openid.clone(), info)).collect(),
        Err(Error::WeChat(refused)) => match trouble::no_details(&refused) {
            Some(NoDetails::OfThese) => HashMap::new(),
            Some(NoDetails::OfAnybody) => return Ok(open_ids.iter().map(|id| listed(id)).collect()),
            None => return Err(refused.into()),
        },
        Err(error) => return Err(error),
    };
    let known: Vec<_> = open_ids.iter().map(|id| (id.clone(), told.remove(id))).collect();
    stream::iter(known)
        .map(|(id, info)| async move {
            match info {
                Some(info) => Ok(info),
                None => single(app, ids, &id).await,
            }
        })
        .buffer_unordered(SINGLES)
        .try_collect()
        .await
}

async fn single(app: &App, ids: Ids<'_>, open_id: &str) -> Result<UserInfo, Error> {
    match one(app, ids, open_id).await {
        Err(Error::WeChat(refused)) if trouble::no_details(&refused).is_some() => Ok(listed(open_id)),
        other => other,
    }
}

async fn one(app: &App, ids: Ids<'_>, open_id: &str) -> Result<UserInfo, Error> {
    let info =
        tokens::with_authorizer(app, ids.tenant, ids.app,
            |token| async move { app.wechat.user_info(&token, open_id).await },
        )
        .await?;
    Ok(UserInfo { openid: open_id.to_owned(), ..info })
}

fn listed(open_id: &str) -> UserInfo {
    UserInfo { openid: open_id.to_owned(), ..UserInfo::default() }
}

/// Stores `infos`: who is new with one write and no read, the others by what they are already. What an event
/// since `as_of` said of them stands.
pub(crate) async fn store(
    app: &App,
    ids: Ids<'_>,
    infos: &[UserInfo],
    as_of: i64,
    import_id: Option<&str>,
) -> Result<(), Error> {
    let details: Vec<_> = infos.iter().map(|info| Details { info, as_of, import_id }).collect();
    let new = app.store.insert_fans(ids.tenant, ids.app, &details).await?;
    let old: BTreeMap<_, _> =
        details.iter().zip(new).filter(|(_, new)| !new).map(|(d, _)| (d.info.openid.as_str(), d)).collect();
    if old.is_empty() {
        return Ok(());
    }
    let open_ids: Vec<_> = old.keys().copied().collect();
    let before = app.store.fans(ids.tenant, ids.app, &open_ids).await?;
    stream::iter(before)
        .map(|fan| {
            let details = old.get(fan.open_id.as_str()).copied();
            async move {
                match details {
                    Some(details) => update(app, &fan, details).await,
                    None => Ok(()),
                }
            }
        })
        .buffer_unordered(UPDATES)
        .try_collect()
        .await
}

/// A union id may make the fan another customer's. The word of that is left first: while the old customer has
/// fans nobody reads it, and a crash in between loses nothing.
async fn update(app: &App, fan: &Fan, details: &Details<'_>) -> Result<(), Error> {
    let union_id = details.info.unionid.as_str();
    if !union_id.is_empty() {
        let customer = union_customer(&fan.tenant_id, union_id);
        if customer != fan.customer_id {
            app.store.redirect_customer(&fan.tenant_id, &fan.customer_id, &customer).await?;
        }
    }
    app.store.update_fan(fan, details).await.map(drop)
}

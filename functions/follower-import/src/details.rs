//! Fetches followers' details by the hundred, or one by one where the batch is refused or unreadable, and
//! stores each with one write. Those without readable details are stored as listed. If time runs out, what
//! was fetched is stored, so that the next try has less to fetch.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicBool, Ordering},
};

use futures::{StreamExt, stream};
use shared::{
    app::App,
    deadline::Deadline,
    error::Error,
    quota::Api,
    store::fans::{Details, Fan, union_customer},
    tokens,
    wechat::user::UserInfo,
};

use crate::{
    job::Ids,
    quota,
    trouble::{self, NoDetails},
};

/// Concurrent calls for one follower each, where the batch was refused: 100 take about two seconds.
const SINGLES: usize = 10;
/// Fans written concurrently.
const UPDATES: usize = 25;

/// Details as far as they were fetched.
pub(crate) struct Told {
    /// One for each follower that WeChat answered for.
    pub infos: Vec<UserInfo>,
    /// Why the others are missing.
    pub left: Option<Error>,
}

impl From<Vec<UserInfo>> for Told {
    fn from(infos: Vec<UserInfo>) -> Self {
        Self { infos, left: None }
    }
}

/// Returns one [`UserInfo`] for each of `open_ids`, which must differ. Makes no call while a quota refusal
/// newer than `since`, in unix seconds, applies, and none that could end after `until`.
pub(crate) async fn fetch(
    app: &App,
    ids: Ids<'_>,
    open_ids: &[String],
    since: i64,
    until: Deadline,
) -> Result<Told, Error> {
    let asked = async {
        match open_ids {
            [alone] => single(app, ids, alone, until).await.map(|info| vec![info].into()),
            _ => several(app, ids, open_ids, until).await,
        }
    };
    let told = quota::ask(app, ids.app, Api::UserInfo, since, asked).await?;
    if let Some(Error::WeChat(error)) = &told.left {
        shared::quota::note(app, ids.app, Api::UserInfo, error).await;
    }
    Ok(told)
}

async fn several(app: &App, ids: Ids<'_>, open_ids: &[String], until: Deadline) -> Result<Told, Error> {
    let asked = tokens::with_authorizer(app, ids.tenant, ids.app, until, |token| async move {
        app.wechat.user_info_batch(&token, open_ids).await
    })
    .await;
    let mut told: HashMap<String, UserInfo> = match asked {
        Ok(list) => list.into_iter().map(|info| (info.openid.clone(), info)).collect(),
        Err(Error::WeChat(refused)) => match trouble::no_details(&refused) {
            Some(NoDetails::OfThese) => HashMap::new(),
            Some(NoDetails::OfAnybody) => {
                return Ok(open_ids.iter().map(|id| listed(id)).collect::<Vec<_>>().into());
            }
            None => return Err(refused.into()),
        },
        Err(error) => return Err(error),
    };
    let known: Vec<_> = open_ids.iter().map(|id| (id.clone(), told.remove(id))).collect();
    // no new call after a refusal, but running calls are awaited: one may be refreshing the token
    let refused = AtomicBool::new(false);
    let answers: Vec<_> = stream::iter(known)
        .map(|(id, info)| {
            let refused = &refused;
            async move {
                match info {
                    Some(info) => Some(Ok(info)),
                    None if refused.load(Ordering::Relaxed) => None,
                    None => {
                        let answer = single(app, ids, &id, until).await;
                        refused.fetch_or(answer.is_err(), Ordering::Relaxed);
                        Some(answer)
                    }
                }
            }
        })
        .buffer_unordered(SINGLES)
        .collect()
        .await;
    let (mut infos, mut left) = (Vec::with_capacity(answers.len()), None);
    for answer in answers.into_iter().flatten() {
        match answer {
            Ok(info) => infos.push(info),
            Err(error) => left = left.or(Some(error)),
        }
    }
    Ok(Told { infos, left })
}

async fn single(app: &App, ids: Ids<'_>, open_id: &str, until: Deadline) -> Result<UserInfo, Error> {
    let asked = tokens::with_authorizer(app, ids.tenant, ids.app, until, |token| async move {
        app.wechat.user_info(&token, open_id).await
    });
    match asked.await {
        Ok(info) => Ok(UserInfo { openid: open_id.to_owned(), ..info }),
        Err(Error::WeChat(refused)) if trouble::no_details(&refused).is_some() => Ok(listed(open_id)),
        Err(error) => Err(error),
    }
}

fn listed(open_id: &str) -> UserInfo {
    UserInfo { openid: open_id.to_owned(), ..UserInfo::default() }
}

/// Stores `details`: new fans with one write and no read, known ones by an update. A status from
/// an event newer than `as_of` is kept.
pub(crate) async fn store(app: &App, ids: Ids<'_>, details: &[Details<'_>]) -> Result<(), Error> {
    let new = app.store.insert_fans(ids.tenant, ids.app, details).await?;
    let old: BTreeMap<_, _> =
        details.iter().zip(new).filter(|(_, new)| !new).map(|(d, _)| (d.info.openid.as_str(), d)).collect();
    if old.is_empty() {
        return Ok(());
    }
    let open_ids: Vec<_> = old.keys().copied().collect();
    let before = app.store.fans(ids.tenant, ids.app, &open_ids).await?;
    let updated = stream::iter(before).map(|fan| {
        let details = old.get(fan.open_id.as_str()).copied();
        async move {
            match details {
                Some(details) => update(app, &fan, details).await,
                None => Ok(()),
            }
        }
    });
    // every update is awaited, even after one fails
    updated.buffer_unordered(UPDATES).collect::<Vec<_>>().await.into_iter().collect()
}

/// A union id may move the fan to another customer. The redirect is written first: it is followed only once
/// the old customer has no fans, so a crash in between is harmless.
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

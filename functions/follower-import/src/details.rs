//! Fetches followers' details by the hundred, or one by one where the batch is refused or unreadable, and
//! stores each with one write. Those without readable details are stored as listed. If time runs out, what
//! was fetched is stored, so that the next try has less to fetch.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicBool, Ordering},
};

use futures::{StreamExt, stream};
use shared::{
    deadline::Deadline,
    error::Error,
    model::fan::{Fan, unionid_customer_id},
    quota::{self, QuotaApi},
    services::Services,
    store::fans::FanDetails,
    tokens,
    wechat::user::UserInfo,
};

use crate::{
    failure_policy::{self, DetailsRefused},
    remembered_refusals,
    types::AccountRef,
};

/// Concurrent calls for one follower each, where the batch was refused: 100 take about two seconds.
const CONCURRENT_SINGLE_CALLS: usize = 10;
/// Fans written concurrently.
const CONCURRENT_UPDATES: usize = 25;

/// Details as far as they were fetched.
pub(crate) struct FetchedDetails {
    /// One for each follower that WeChat answered for.
    pub infos: Vec<UserInfo>,
    /// Why the others are missing.
    pub failure: Option<Error>,
}

impl From<Vec<UserInfo>> for FetchedDetails {
    fn from(infos: Vec<UserInfo>) -> Self {
        Self { infos, failure: None }
    }
}

/// Returns one [`UserInfo`] for each of `open_ids`, which must differ. Makes no call while a quota refusal
/// newer than `since`, in unix seconds, applies, and none that could end after `until`.
pub(crate) async fn fetch(
    app: &Services,
    account: AccountRef<'_>,
    open_ids: &[String],
    since: i64,
    until: Deadline,
) -> Result<FetchedDetails, Error> {
    let fetch = async {
        match open_ids {
            [alone] => fetch_one(app, account, alone, until).await.map(|info| vec![info].into()),
            _ => fetch_batch(app, account, open_ids, until).await,
        }
    };
    let fetched =
        remembered_refusals::call_unless_refused(app, account.app_id, QuotaApi::UserInfo, since, fetch)
            .await?;
    if let Some(Error::WeChat(error)) = &fetched.failure {
        quota::remember_refusal(app, account.app_id, QuotaApi::UserInfo, error).await;
    }
    Ok(fetched)
}

async fn fetch_batch(
    app: &Services,
    account: AccountRef<'_>,
    open_ids: &[String],
    until: Deadline,
) -> Result<FetchedDetails, Error> {
    let asked = tokens::with_authorizer(app, account.tenant_id, account.app_id, until, |token| async move {
        app.wechat.user_info_batch(&token, open_ids).await
    })
    .await;
    let mut received: HashMap<String, UserInfo> = match asked {
        Ok(list) => list.into_iter().map(|info| (info.openid.clone(), info)).collect(),
        Err(Error::WeChat(refused)) => match failure_policy::details_refused(&refused) {
            Some(DetailsRefused::ForThisList) => HashMap::new(),
            Some(DetailsRefused::ForAccount) => {
                return Ok(open_ids.iter().map(|id| without_details(id)).collect::<Vec<_>>().into());
            }
            None => return Err(refused.into()),
        },
        Err(error) => return Err(error),
    };
    let requested: Vec<_> = open_ids.iter().map(|id| (id.clone(), received.remove(id))).collect();
    // no new call after a refusal, but running calls are awaited: one may be refreshing the token
    let refused = AtomicBool::new(false);
    let answers: Vec<_> = stream::iter(requested)
        .map(|(id, info)| {
            let refused = &refused;
            async move {
                match info {
                    Some(info) => Some(Ok(info)),
                    None if refused.load(Ordering::Relaxed) => None,
                    None => {
                        let answer = fetch_one(app, account, &id, until).await;
                        refused.fetch_or(answer.is_err(), Ordering::Relaxed);
                        Some(answer)
                    }
                }
            }
        })
        .buffer_unordered(CONCURRENT_SINGLE_CALLS)
        .collect()
        .await;
    let (mut infos, mut failure) = (Vec::with_capacity(answers.len()), None);
    for answer in answers.into_iter().flatten() {
        match answer {
            Ok(info) => infos.push(info),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Ok(FetchedDetails { infos, failure })
}

async fn fetch_one(
    app: &Services,
    account: AccountRef<'_>,
    open_id: &str,
    until: Deadline,
) -> Result<UserInfo, Error> {
    let asked = tokens::with_authorizer(app, account.tenant_id, account.app_id, until, |token| async move {
        app.wechat.user_info(&token, open_id).await
    });
    match asked.await {
        Ok(info) => Ok(UserInfo { openid: open_id.to_owned(), ..info }),
        Err(Error::WeChat(refused)) if failure_policy::details_refused(&refused).is_some() => {
            Ok(without_details(open_id))
        }
        Err(error) => Err(error),
    }
}

fn without_details(open_id: &str) -> UserInfo {
    UserInfo { openid: open_id.to_owned(), ..UserInfo::default() }
}

/// Stores `details`: new fans with one write and no read, known ones by an update. A status from
/// an event newer than `as_of` is kept.
pub(crate) async fn store(
    app: &Services,
    account: AccountRef<'_>,
    details: &[FanDetails<'_>],
) -> Result<(), Error> {
    let new = app.store.fans().insert(account.tenant_id, account.app_id, details).await?;
    let old: BTreeMap<_, _> =
        details.iter().zip(new).filter(|(_, new)| !new).map(|(d, _)| (d.info.openid.as_str(), d)).collect();
    if old.is_empty() {
        return Ok(());
    }
    let open_ids: Vec<_> = old.keys().copied().collect();
    let before = app.store.fans().get_many(account.tenant_id, account.app_id, &open_ids).await?;
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
    updated.buffer_unordered(CONCURRENT_UPDATES).collect::<Vec<_>>().await.into_iter().collect()
}

/// A union id may move the fan to another customer. The redirect is written first: it is followed only once
/// the old customer has no fans, so a crash in between is harmless.
async fn update(app: &Services, fan: &Fan, details: &FanDetails<'_>) -> Result<(), Error> {
    let union_id = details.info.unionid.as_str();
    if !union_id.is_empty() {
        let customer = unionid_customer_id(&fan.tenant_id, union_id);
        if customer != fan.customer_id {
            app.store.customers().redirect(&fan.tenant_id, &fan.customer_id, &customer).await?;
        }
    }
    app.store.fans().update(fan, details).await.map(drop)
}

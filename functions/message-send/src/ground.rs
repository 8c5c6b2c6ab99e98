//! What a round needs to know about its accounts: read in one request, with a token for each that sends.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::future::join_all;
use shared::{
    app::App,
    error::Error,
    model::window::{self, Windows},
    quota::Api,
    secret::Secret,
    store::{
        context::{Context, Wanted},
        messages::Channel,
        quotas::QuotaRefusal,
        tenants::TenantStatus,
    },
    tokens::{self, For},
};

use crate::{
    decide::{Plan, Recipient, Standing, decide},
    work::Work,
};

/// The context of one account of one tenant.
#[derive(Debug, Default)]
pub struct Ground {
    /// What it may do.
    pub standing: Standing,
    recipients: HashMap<String, Recipient>,
    refusals: BTreeMap<Api, QuotaRefusal>,
    /// The token; [`None`] where nothing is to be sent, or where it must be refreshed first.
    pub token: Option<Result<Secret, Error>>,
    /// The token must be refreshed first, which takes time.
    pub wants_token: bool,
}

impl Ground {
    /// A fan's reply windows; an unknown fan has none open.
    pub fn windows(&self, open_id: &str) -> Windows {
        self.recipient(open_id).windows
    }

    fn recipient(&self, open_id: &str) -> Recipient {
        self.recipients.get(open_id).copied().unwrap_or_default()
    }

    /// The channel for a message that was never leased.
    pub fn plan(&self, work: &Work, counted: bool, now: i64) -> Plan {
        decide(self.standing, work.carries(), &self.recipient(&work.to), counted, now)
    }

    /// The quota refusal for `channel` that lasts beyond `now`, if there is one.
    pub fn refused(&self, channel: Channel, now: i64) -> Option<QuotaRefusal> {
        self.refusals.get(&api(channel)).copied().filter(|refusal| refusal.refused_until > now)
    }

    /// When the last of a fan's windows closes, unix seconds, if one is open.
    pub fn closes_at(&self, open_id: &str, now: i64) -> Option<i64> {
        window::closes_at(&self.windows(open_id), now)
    }
}

/// The API of a channel.
pub fn api(channel: Channel) -> Api {
    match channel {
        Channel::CustomerService => Api::CustomSend,
        Channel::Template => Api::TemplateSend,
    }
}

/// Tenant and account.
pub type Key<'a> = (&'a str, &'a str);

/// Reads what `works` need, in one request.
///
/// # Errors
/// [`Error::Store`].
pub async fn context(app: &App, works: &[Work]) -> Result<Context, Error> {
    let accounts: BTreeSet<&str> = works.iter().map(|w| w.app_id.as_str()).collect();
    let apis = [Api::CustomSend, Api::TemplateSend].map(Api::name);
    let quotas = accounts.iter().flat_map(|app_id| apis.map(|api| (*app_id, api))).collect();
    let known = works.iter().filter(|w| w.waited || w.receives > 1);
    let tenants: BTreeSet<&str> = works.iter().map(|w| w.tenant_id.as_str()).collect();
    let wanted = Wanted {
        tenants: tenants.into_iter().collect(),
        quotas,
        accounts: accounts.into_iter().collect(),
        fans: works.iter().map(Work::fan).collect(),
        lines: works.iter().flat_map(|work| work.channels().map(|channel| (work.fan(), channel))).collect(),
        messages: known.map(|w| w.id.as_str()).collect(),
    };
    app.store.send_context(&wanted).await
}

/// The context of every account in `works`, without tokens that must be refreshed first.
pub async fn all<'a>(
    app: &App,
    works: &'a [Work],
    context: &Context,
) -> BTreeMap<Key<'a>, Result<Ground, Error>> {
    let keys: BTreeSet<Key<'_>> = works.iter().map(Work::account).collect();
    let read = keys.into_iter().map(|key| async move {
        let of: Vec<&Work> = works.iter().filter(|w| w.account() == key).collect();
        (key, one(app, key, &of, context).await)
    });
    join_all(read).await.into_iter().collect()
}

async fn one(
    app: &App,
    (tenant, app_id): Key<'_>,
    works: &[&Work],
    context: &Context,
) -> Result<Ground, Error> {
    let suspended = context.tenant(tenant)?.is_some_and(|tenant| tenant.status != TenantStatus::Active);
    let standing = Standing { suspended, ..Standing::of(context.account(app_id)?.as_ref(), tenant) };
    let mut ground = Ground { standing, ..Ground::default() };
    for work in works {
        // an unreadable fan delays only the message to that fan
        if let Ok(Some(fan)) = context.fan(work.fan()) {
            ground.recipients.insert(work.to.clone(), Recipient::of(&fan));
        }
    }
    for api in [Api::CustomSend, Api::TemplateSend] {
        if let Some(refusal) = context.quota(app_id, api.name())? {
            ground.refusals.insert(api, refusal);
        }
    }
    let now = app.clock.unix();
    let sends =
        |w: &&Work| w.waited || w.receives > 1 || !matches!(ground.plan(w, false, now), Plan::Fail(_));
    if standing.bound && works.iter().any(sends) {
        let at_hand = tokens::at_hand(app, For::Tenant(tenant), app_id).await;
        ground.wants_token = matches!(at_hand, Ok(None));
        ground.token = at_hand.transpose();
    }
    Ok(ground)
}

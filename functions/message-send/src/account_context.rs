//! What a round needs to know about its accounts: read in one request, with a token for each that sends.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::future::join_all;
use shared::{
    error::Error,
    model::{
        message::Channel,
        quota::QuotaRefusal,
        tenant::TenantStatus,
        window::{self, Windows},
    },
    quota::QuotaApi,
    secret::Secret,
    services::Services,
    store::send_context::{SendContext, SendContextRequest},
    tokens::{self, OnBehalfOf},
};

use crate::{
    channel_choice::{AccountCapabilities, ChannelChoice, RecipientState, choose_channel},
    work::{AccountKey, Work},
};

/// The context of one account of one tenant.
#[derive(Debug, Default)]
pub struct AccountContext {
    /// What it may do.
    pub capabilities: AccountCapabilities,
    recipients: HashMap<String, RecipientState>,
    quota_refusals: BTreeMap<QuotaApi, QuotaRefusal>,
    /// The token; [`None`] where nothing is to be sent, or where it must be refreshed first.
    pub token: Option<Result<Secret, Error>>,
    /// The token must be refreshed first, which takes time.
    pub needs_token_refresh: bool,
}

impl AccountContext {
    /// A fan's reply windows; an unknown fan has none open.
    pub fn windows(&self, open_id: &str) -> Windows {
        self.recipient(open_id).windows
    }

    fn recipient(&self, open_id: &str) -> RecipientState {
        self.recipients.get(open_id).copied().unwrap_or_default()
    }

    /// The channel for a message that was never leased.
    pub fn choose_channel(&self, work: &Work, window_counted: bool, now: i64) -> ChannelChoice {
        choose_channel(self.capabilities, work.payload(), &self.recipient(&work.to), window_counted, now)
    }

    /// The quota refusal for `channel` that lasts beyond `now`, if there is one.
    pub fn quota_refusal(&self, channel: Channel, now: i64) -> Option<QuotaRefusal> {
        self.quota_refusals.get(&channel_api(channel)).copied().filter(|refusal| refusal.refused_until > now)
    }

    /// When the last of a fan's windows closes, unix seconds, if one is open.
    pub fn closes_at(&self, open_id: &str, now: i64) -> Option<i64> {
        window::closes_at(&self.windows(open_id), now)
    }
}

/// The API of a channel.
pub fn channel_api(channel: Channel) -> QuotaApi {
    match channel {
        Channel::CustomerService => QuotaApi::CustomSend,
        Channel::Template => QuotaApi::TemplateSend,
    }
}

/// Reads what `works` need, in one request.
///
/// # Errors
/// [`Error::Store`].
pub async fn read_send_context(app: &Services, works: &[Work]) -> Result<SendContext, Error> {
    let accounts: BTreeSet<&str> = works.iter().map(|w| w.app_id.as_str()).collect();
    let apis = [QuotaApi::CustomSend, QuotaApi::TemplateSend].map(QuotaApi::name);
    let quotas = accounts.iter().flat_map(|app_id| apis.map(|api| (*app_id, api))).collect();
    let known = works.iter().filter(|w| w.waited || w.receive_count > 1);
    let tenants: BTreeSet<&str> = works.iter().map(|w| w.tenant_id.as_str()).collect();
    let wanted = SendContextRequest {
        tenants: tenants.into_iter().collect(),
        quotas,
        accounts: accounts.into_iter().collect(),
        fans: works.iter().map(Work::fan).collect(),
        waiting_lines: works
            .iter()
            .flat_map(|work| work.channels().map(|channel| (work.fan(), channel)))
            .collect(),
        messages: known.map(|w| w.id.as_str()).collect(),
    };
    app.store.send_contexts().read(&wanted).await
}

/// The context of every account in `works`, without tokens that must be refreshed first.
pub async fn account_contexts<'a>(
    app: &Services,
    works: &'a [Work],
    context: &SendContext,
) -> BTreeMap<AccountKey<'a>, Result<AccountContext, Error>> {
    let keys: BTreeSet<AccountKey<'_>> = works.iter().map(Work::account_key).collect();
    let read = keys.into_iter().map(|key| async move {
        let of: Vec<&Work> = works.iter().filter(|w| w.account_key() == key).collect();
        (key, account_context(app, key, &of, context).await)
    });
    join_all(read).await.into_iter().collect()
}

async fn account_context(
    app: &Services,
    (tenant, app_id): AccountKey<'_>,
    works: &[&Work],
    context: &SendContext,
) -> Result<AccountContext, Error> {
    let suspended = context.tenant(tenant)?.is_some_and(|tenant| tenant.status != TenantStatus::Active);
    let capabilities = AccountCapabilities {
        suspended,
        ..AccountCapabilities::of(context.account(app_id)?.as_ref(), tenant)
    };
    let mut account = AccountContext { capabilities, ..AccountContext::default() };
    for work in works {
        // an unreadable fan delays only the message to that fan
        if let Ok(Some(fan)) = context.fan(work.fan()) {
            account.recipients.insert(work.to.clone(), RecipientState::of(&fan));
        }
    }
    for api in [QuotaApi::CustomSend, QuotaApi::TemplateSend] {
        if let Some(refusal) = context.quota(app_id, api.name())? {
            account.quota_refusals.insert(api, refusal);
        }
    }
    let now = app.clock.unix();
    let sends = |w: &&Work| {
        w.waited
            || w.receive_count > 1
            || !matches!(account.choose_channel(w, false, now), ChannelChoice::Refuse(_))
    };
    if capabilities.bound && works.iter().any(sends) {
        let at_hand = tokens::authorizer_token_if_valid(app, OnBehalfOf::Tenant(tenant), app_id).await;
        account.needs_token_refresh = matches!(at_hand, Ok(None));
        account.token = at_hand.transpose();
    }
    Ok(account)
}

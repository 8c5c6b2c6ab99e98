//! What a round's decisions stand on, read once for each account: its standing, its fans' windows, its token.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::future::{join_all, try_join};
use shared::{
    app::App,
    error::Error,
    model::window::Windows,
    secret::Secret,
    tokens::{self, For, Why},
};

use crate::{
    decide::{Plan, Refusal, Standing, decide},
    send::{Work, until},
};

/// Of one account of one tenant.
#[derive(Debug, Default)]
pub struct Ground {
    /// What it may do.
    pub standing: Standing,
    windows: HashMap<String, Windows>,
    /// To send with; none where nothing is to be sent.
    pub token: Option<Result<Secret, Error>>,
}

impl Ground {
    /// A fan's windows; one who is not stored here has opened none.
    pub fn windows(&self, open_id: &str) -> Windows {
        self.windows.get(open_id).copied().unwrap_or_default()
    }

    /// How a message that nobody took before goes out.
    pub fn plan(&self, work: &Work, counted: bool, now: i64) -> Plan {
        decide(self.standing, work.carries(), &self.windows(&work.to), counted, now)
    }
}

/// Tenant and account.
pub type Key<'a> = (&'a str, &'a str);

/// Reads the ground of every account in `works`.
pub async fn all<'a>(app: &App, works: &'a [Work]) -> BTreeMap<Key<'a>, Result<Ground, Error>> {
    let keys: BTreeSet<Key<'_>> = works.iter().map(Work::account).collect();
    let read = keys.into_iter().map(|key| async move {
        let of: Vec<&Work> = works.iter().filter(|w| w.account() == key).collect();
        (key, one(app, key, &of).await)
    });
    join_all(read).await.into_iter().collect()
}

async fn one(app: &App, (tenant, app_id): Key<'_>, works: &[&Work]) -> Result<Ground, Error> {
    let open_ids: Vec<&str> = works.iter().map(|w| w.to.as_str()).collect();
    let (entry, fans) =
        try_join(app.store.account_entry(app_id), app.store.fans(tenant, app_id, &open_ids)).await?;
    let standing = Standing::of(entry.as_deref().map(|e| &e.account), tenant);
    let windows = fans.into_iter().map(|fan| (fan.open_id.clone(), fan.windows())).collect();
    let mut ground = Ground { standing, windows, token: None };
    let now = app.clock.unix();
    let by_account = |w: &Work| {
        let plan = ground.plan(w, false, now);
        matches!(plan, Plan::Fail(Refusal::AccountNotBound | Refusal::CapabilityMissing))
    };
    if works.iter().any(|w| by_account(w)) {
        // what fails for good fails by what stands in the database, not by what was remembered
        let entry = app.store.account_entry_now(app_id).await?;
        ground.standing = Standing::of(entry.as_deref().map(|e| &e.account), tenant);
    }
    let sends = |w: &&Work| w.receives > 1 || !matches!(ground.plan(w, false, now), Plan::Fail(_));
    if ground.standing.bound && works.iter().any(sends) {
        ground.token = Some(tokens::authorizer(app, For::Tenant(tenant), app_id, Why::Use, until(app)).await);
    }
    Ok(ground)
}

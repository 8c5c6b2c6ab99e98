//! Random histories of consents alone: two tenants, two accounts and one that may not be bound, links for any
//! account and for one, pages that stay open, browsers that return to the wrong page, codes without a refresh
//! token, refresh tokens that die, events that are lost, late, doubled or out of order, tenants that are
//! suspended meanwhile, and the other faults of the simulation.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use oahub_harness::{
    api::OpenedBindingPage,
    deployment::SimulatedDeployment,
    faults::{Fault, FaultRates},
    rare_states::RareState,
    settings::ADMIN_KEY,
};
use rand::{RngExt as _, SeedableRng, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use shared::{
    deadline::Deadline,
    secret::Secret,
    tokens::{self, OnBehalfOf, RefreshReason},
};
use wechat_simulator::{NewAccount, OwnerConsent};

use crate::{
    check,
    histories::{Scenario, assert_all_hold},
    on_paused_time,
    ops::random_faults,
    reached, suspended,
};

/// One of so many histories is one of consents.
const ONE_IN: u64 = 5;
/// What enough histories reach.
const RARE_STATES: [RareState; 2] = [RareState::TokenRefreshRefused, RareState::WriteRepeatedBySdk];
const TENANTS: usize = 2;
const ACCOUNTS: usize = 3;
/// The account that is not verified.
const UNVERIFIED: usize = 2;
/// WeChat's error for tokens of an account whose owner changed the password.
const PASSWORD_CHANGED: i64 = 42007;

/// What can happen.
#[derive(Debug, Clone)]
enum ConsentOp {
    /// An administrator opens the page of a new binding, for any account or for one.
    Open {
        tenant: usize,
        only: Option<usize>,
    },
    /// Another browser opens a page.
    Reopen {
        page: usize,
    },
    /// An administrator consents on WeChat's page, reached from a page of the hub.
    Consent {
        page: usize,
        account: usize,
        event: bool,
        refresh_token: bool,
    },
    /// A browser returns from WeChat, with the cookie of the page or without.
    Return {
        consent: usize,
        cookie: bool,
    },
    /// An administrator authorizes, or changes permissions, on WeChat's own pages.
    Authorize {
        account: usize,
        event: bool,
        refresh_token: bool,
    },
    Withdraw {
        account: usize,
        event: bool,
    },
    /// The owner changes the password: WeChat refuses the account's tokens until it is authorized again.
    ChangePassword {
        account: usize,
    },
    Delete {
        tenant: usize,
        account: usize,
    },
    ProcessBatches {
        batches: u32,
    },
    RedeliverBatches,
    RedeliverPushes,
    Tick,
    DropWarmInstances,
    Advance {
        seconds: i64,
    },
    /// Each fault has this rate from now on.
    SetFaults(FaultRates),
    /// The operator suspends a tenant or reactivates it.
    Suspend {
        tenant: usize,
    },
}

fn generate_ops(seed: u64) -> Vec<ConsentOp> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 13);
    (0..rng.random_range(8..40)).map(|_| random_op(&mut rng)).collect()
}

fn random_op(rng: &mut ChaCha8Rng) -> ConsentOp {
    // prefer one account and the newest pages, so that operations overlap
    let account = *[0, 0, 0, 0, 1, 1, UNVERIFIED].choose(rng).unwrap();
    let tenant = rng.random_range(0..TENANTS);
    let newest = *[0, 0, 1, 1, 2, 4].choose(rng).unwrap();
    let event = rng.random_range(0..5) > 0;
    let refresh_token = rng.random_range(0..4) > 0;
    let only = *[None, None, None, Some(0), Some(1)].choose(rng).unwrap();
    match rng.random_range(0..100) {
        0..13 => ConsentOp::Open { tenant, only },
        13..16 => ConsentOp::Reopen { page: newest },
        16..38 => ConsentOp::Consent { page: newest, account, event, refresh_token },
        38..50 => ConsentOp::Return { consent: newest, cookie: rng.random_range(0..5) > 0 },
        50..56 => ConsentOp::Authorize { account, event, refresh_token },
        56..65 => ConsentOp::Withdraw { account, event },
        65..67 => ConsentOp::ChangePassword { account },
        67..73 => ConsentOp::Delete { tenant, account },
        73..83 => ConsentOp::ProcessBatches { batches: rng.random_range(1..3) },
        83..85 => ConsentOp::RedeliverBatches,
        85..89 => ConsentOp::RedeliverPushes,
        89..90 => ConsentOp::Tick,
        90..91 => ConsentOp::DropWarmInstances,
        91..96 => {
            let seconds = [1, 30, 61, 300, 900, 4000, 26 * 3600];
            ConsentOp::Advance { seconds: *seconds.choose(rng).unwrap() }
        }
        96..98 => ConsentOp::SetFaults(random_faults(rng)),
        _ => ConsentOp::Suspend { tenant },
    }
}

/// A deployment with a history of consents running in it.
pub struct ConsentRun {
    pub world: Arc<SimulatedDeployment>,
    pub apps: [String; ACCOUNTS],
    pub keys: Vec<String>,
    pub tenants: Vec<String>,
    /// Newest first.
    pages: Vec<OpenedBindingPage>,
    /// Redirect URLs of consents, with the page that led to each; newest first.
    redirects: Vec<(String, OpenedBindingPage)>,
    /// Since when a tenant has certainly been suspended, unix seconds.
    suspended_since: [Option<i64>; TENANTS],
    /// Past suspensions: tenant, from and until.
    suspensions: Vec<(usize, i64, i64)>,
    /// Accounts whose owner changed the password since their last authorization.
    password_changed: [bool; ACCOUNTS],
}

impl ConsentRun {
    pub async fn new(seed: u64) -> Self {
        let world = SimulatedDeployment::new(seed);
        world.create_tables().await;
        let apps: [String; ACCOUNTS] = std::array::from_fn(|n| format!("wx000000000000000{n}"));
        for (n, app) in apps.iter().enumerate() {
            let verify_type = (n == UNVERIFIED).then_some(-1);
            let app_id = Some(app.clone());
            let new = NewAccount { app_id, verify_type, followers: 1, ..NewAccount::default() };
            world.sim().add_account(new).unwrap();
            world.backends.binding_changed_at.lock().unwrap().insert(app.clone(), world.now());
        }
        world.sim().push_ticket().await;
        world.mark_ticked();
        let (mut keys, mut tenants) = (Vec::new(), Vec::new());
        for name in ["one", "other"] {
            let made = world.api(ADMIN_KEY, "POST", "/v1/tenants", Some(json!({"name": name})), None).await;
            let (_, made) = made.unwrap();
            keys.push(made["api_key"].as_str().unwrap().to_owned());
            tenants.push(made["id"].as_str().unwrap().to_owned());
        }
        Self {
            world,
            apps,
            keys,
            tenants,
            pages: Vec::new(),
            redirects: Vec::new(),
            suspended_since: [None; TENANTS],
            suspensions: Vec::new(),
            password_changed: [false; ACCOUNTS],
        }
    }

    async fn step(&mut self, op: &ConsentOp) {
        let world = Arc::clone(&self.world);
        match op {
            ConsentOp::Open { tenant, only } => {
                let only = only.map(|n| self.apps[n].as_str());
                let opened =
                    world.open_page_for(&self.keys[*tenant], only).await.filter(|page| page.status == 200);
                self.pages.splice(0..0, opened);
            }
            ConsentOp::Reopen { page } => {
                let Some(page) = self.pages.get(*page).cloned() else { return };
                let opened =
                    world.reopen_page(&page.key, &page.binding_id).await.filter(|page| page.status == 200);
                self.pages.splice(0..0, opened);
            }
            ConsentOp::Consent { page, account, event, refresh_token } => {
                let Some(page) = self.pages.get(*page).filter(|page| !page.pre_auth_code.is_empty()) else {
                    return;
                };
                let page = page.clone();
                let back = world.consent(&page, &self.apps[*account], *event, *refresh_token);
                if let Some(back) = back {
                    self.record_reauthorization(*account);
                    self.redirects.insert(0, (back, page));
                }
            }
            ConsentOp::Return { consent, cookie } => {
                let Some((back, page)) = self.redirects.get(*consent) else { return };
                let cookies = if *cookie { page.cookies.as_slice() } else { &[] };
                world.browse(back, cookies).await;
            }
            ConsentOp::Authorize { account, event, refresh_token } => {
                let grant = OwnerConsent {
                    app_id: self.apps[*account].clone(),
                    without_event: !event,
                    without_refresh_token: !refresh_token,
                    ..OwnerConsent::default()
                };
                world.sim().authorize(grant).unwrap();
                self.record_reauthorization(*account);
            }
            ConsentOp::Withdraw { account, event } => world.withdraw(&self.apps[*account], *event),
            ConsentOp::ChangePassword { account } => {
                let app = self.apps[*account].as_str();
                world.sim().invalidate_tokens(Some(app));
                if !std::mem::replace(&mut self.password_changed[*account], true) {
                    world.sim().fail_refreshes(app, PASSWORD_CHANGED);
                    // the hub may find out at any time from now on
                    world.withdrawals.lock().unwrap().push((app.to_owned(), i64::MAX));
                }
            }
            ConsentOp::Delete { tenant, account } => {
                let path = format!("/v1/accounts/{}", self.apps[*account]);
                world.api(&self.keys[*tenant], "DELETE", &path, None, None).await;
            }
            ConsentOp::ProcessBatches { batches } => {
                world.sim().deliver_pending().await;
                world.process_batches(*batches).await;
            }
            ConsentOp::RedeliverBatches => world.redeliver_batches().await,
            ConsentOp::RedeliverPushes => world.redeliver_pushes().await,
            ConsentOp::Tick => world.tick().await,
            ConsentOp::DropWarmInstances => world.drop_warm_instances(),
            ConsentOp::Advance { seconds } => world.advance(*seconds).await,
            ConsentOp::SetFaults(rates) => world.backends.faults.set_rates(rates.clone()),
            ConsentOp::Suspend { tenant } if self.suspended_since[*tenant].is_some() => {
                self.activate(*tenant).await
            }
            ConsentOp::Suspend { tenant } => {
                if suspended::set_tenant_status(&world, &self.tenants[*tenant], "suspended").await {
                    self.suspended_since[*tenant] = Some(world.now());
                }
            }
        }
    }

    async fn activate(&mut self, tenant: usize) {
        if let Some(since) = self.suspended_since[tenant].take() {
            self.suspensions.push((tenant, since, self.world.now()));
        }
        suspended::set_tenant_status(&self.world, &self.tenants[tenant], "active").await;
    }

    /// Nothing is newly bound to a suspended tenant; an existing binding may be renewed.
    fn nothing_was_bound_while_suspended(&self) {
        let changes = self.world.backends.binding_changes();
        for change in changes.iter().filter(|c| c.after["status"] == "bound") {
            let tenant = self.tenants.iter().position(|id| change.after["tenant_id"] == **id).unwrap();
            let renewed = change
                .before
                .as_ref()
                .is_some_and(|was| was["status"] == "bound" && was["tenant_id"] == change.after["tenant_id"]);
            let while_suspended = |(of, from, until): &(usize, i64, i64)| {
                *of == tenant && *from < change.at && change.at < *until
            };
            assert!(
                renewed || !self.suspensions.iter().any(while_suspended),
                "promise 13: bound to a suspended tenant: {change:?}, {:?}",
                self.suspensions
            );
        }
    }

    /// Records a new authorization: until now at the latest the hub could find the old tokens dead.
    fn record_reauthorization(&mut self, account: usize) {
        if !std::mem::replace(&mut self.password_changed[account], false) {
            return;
        }
        let sim = self.world.sim();
        sim.clear_faults();
        for (app, _) in self.apps.iter().zip(self.password_changed).filter(|(_, changed)| *changed) {
            sim.fail_refreshes(app, PASSWORD_CHANGED);
        }
        for (app, at) in self.world.withdrawals.lock().unwrap().iter_mut() {
            if *app == self.apps[account] && *at == i64::MAX {
                *at = self.world.now();
            }
        }
    }

    /// Stops all faults, delivers late events, and checks the promises.
    async fn heal_and_check(&mut self) {
        let world = Arc::clone(&self.world);
        world.backends.faults.clear();
        world.redeliver_pushes().await;
        world.redeliver_batches().await;
        world.run_until_idle().await;
        world.tick().await; // unbinds accounts that must be authorized again
        world.run_until_idle().await;
        for tenant in 0..TENANTS {
            self.activate(tenant).await;
        }
        self.nothing_was_bound_while_suspended();
        check::consent_decides(&world, &self.keys, &self.tenants);
        let refused = world.backends.iam_monitor.refused.lock().unwrap().clone();
        assert!(refused.is_empty(), "template.yaml gives too little: {refused:?}");
        self.tokens_belong_to_bound_accounts().await;
        self.bound_accounts_can_be_used().await;
        self.a_good_consent_binds().await;
        self.bound_accounts_can_be_used().await;
    }

    /// Refreshed tokens belong to a bound account, and a bound account's tokens to its tenant.
    async fn tokens_belong_to_bound_accounts(&self) {
        let store = &self.world.services().store;
        for app in &self.apps {
            let account =
                store.accounts().of_any_tenant(app).await.unwrap().filter(|a| a.for_consent().bound);
            let tokens = store.authorizers().get(app).await.unwrap();
            match (account, tokens) {
                (Some(account), Some(tokens)) => {
                    assert_eq!(tokens.tenant_id, account.tenant_id, "promise 13: tokens of {app}");
                    assert!(tokens.due.is_some(), "promise 4: nobody refreshes the tokens of {app}");
                }
                (Some(_), None) => panic!("promise 4: {app} is bound and has no tokens"),
                (None, Some(tokens)) => {
                    assert!(tokens.due.is_none(), "{app} is refreshed for nobody");
                }
                (None, None) => {}
            }
        }
    }

    /// A bound and authorized account has a token that WeChat accepts.
    pub async fn bound_accounts_can_be_used(&self) {
        let app = self.world.services();
        for (app_id, changed) in self.apps.iter().zip(self.password_changed) {
            let account =
                app.store.accounts().of_any_tenant(app_id).await.unwrap().filter(|a| a.for_consent().bound);
            let granted = self.world.sim().account(app_id).unwrap().authorization.is_some() && !changed;
            let Some(account) = account.filter(|_| granted) else { continue };
            let until = Deadline::after(&*app.clock, Duration::from_secs(15));
            let whose = OnBehalfOf::Tenant(&account.tenant_id);
            let mut token =
                tokens::authorizer_token(&app, whose, app_id, RefreshReason::Expired, until).await.unwrap();
            if !self.is_accepted(&token).await {
                token = tokens::authorizer_token(&app, whose, app_id, RefreshReason::Refused(&token), until)
                    .await
                    .unwrap();
            }
            assert!(self.is_accepted(&token).await, "promise 4: the token of {app_id} is not WeChat's");
        }
    }

    async fn is_accepted(&self, token: &Secret) -> bool {
        let path = format!("/cgi-bin/user/get?access_token={}", token.expose());
        self.world.sim().request("GET", &path, "").await.unwrap().body.contains("\"total\"")
    }

    /// Whatever happened before, the entitled tenant can bind the account through a newly opened page.
    async fn a_good_consent_binds(&mut self) {
        // WeChat's times are in seconds: a consent in the second of an unbinding is not known to be later.
        // And for some minutes the hub does not repeat a request that WeChat has just refused.
        self.world.advance(20 * 60).await;
        for (n, app) in self.apps.clone().iter().enumerate() {
            let store = &self.world.services().store;
            let account =
                store.accounts().of_any_tenant(app).await.unwrap().filter(|account| !account.deleted);
            let tenant =
                account.and_then(|a| self.tenants.iter().position(|t| *t == a.tenant_id)).unwrap_or(0);
            self.world.bind(&self.keys[tenant], app, false, true).await;
            self.record_reauthorization(n);
            self.world.run_until_idle().await;
            let account = store.accounts().get(&self.tenants[tenant], app).await.unwrap();
            let bound = account.is_some_and(|account| account.for_consent().bound);
            assert_eq!(
                bound,
                n != UNVERIFIED,
                "promise 13: a good consent binds {app} where it may be bound"
            );
        }
        check::consent_decides(&self.world, &self.keys, &self.tenants);
    }
}

struct Consents;

impl Scenario for Consents {
    type Op = ConsentOp;
    const TEST: &'static str = "consent_decides_in_every_history";

    fn ops(seed: u64) -> Vec<ConsentOp> {
        generate_ops(seed)
    }

    fn run(seed: u64, ops: &[ConsentOp], faults: &[Fault], prints: bool) -> BTreeSet<RareState> {
        on_paused_time(async {
            let mut run = ConsentRun::new(seed).await;
            run.world.backends.faults.allow_only(faults);
            for op in ops {
                if prints {
                    println!("{} {op:?}", run.world.now());
                }
                run.step(op).await;
            }
            run.heal_and_check().await;
            reached::note_refused_refreshes(&run.world);
            run.world.backends.rare_states.all()
        })
    }
}

#[test]
fn consent_decides_in_every_history() {
    assert_all_hold::<Consents>(ONE_IN, &RARE_STATES);
}

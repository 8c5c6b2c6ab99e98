//! Every write of the store, by handle and function, with the items it needs and its result as text.

mod accounts;
mod bindings;
mod fans;
mod imports;
mod messages;
mod requests;
mod tenants;
mod tokens;

use futures::FutureExt;
use oahub_tests::fixtures::{
    APP_ID, NEW_YEAR_2025, TENANT_ID, account, binding, fan, import, message, user_info,
};
use shared::{
    model::{consent::ConsentPage, credentials::AccessToken, push_decision::FanActivity, token::Due},
    secret::Secret,
    store::{Store, fans::FanDetails, token_leases::TOKEN_LEASE_SECONDS},
};

const OTHER_APP_ID: &str = "wx5a1b2c3d4e5f6072";

/// When tokens are due.
const DUE: Due = Due::Wheel { slot: 7 };

/// The function (after a comma, the row's special case), and a text that only the write's request contains.
pub fn writes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = [
        tenants::WRITES,
        accounts::WRITES,
        bindings::WRITES,
        tokens::WRITES,
        fans::WRITES,
        imports::WRITES,
        messages::WRITES,
        requests::WRITES,
    ];
    all.into_iter().flatten().copied()
}

/// Stores what must exist before every write.
pub async fn prepare(store: &Store) {
    store.component().store_ticket(&Secret::new("ticket@@@1"), NEW_YEAR_2025).await.unwrap();
    for app_id in [APP_ID, OTHER_APP_ID] {
        store
            .authorizers()
            .store_authorization(app_id, "c1", Some(&token("t1")), &Secret::new("r1"))
            .await
            .unwrap();
    }
    store.accounts().bind(account(APP_ID), Some(consent_page()), DUE).await.unwrap();
    store.bindings().create(&binding("bnd_0")).await.unwrap();
    store.bindings().store_pre_auth_code(&binding("bnd_0"), "code@@@0", NEW_YEAR_2025 + 600).await.unwrap();
    store.fans().record_activity(fan("o1"), &FanActivity::Message, NEW_YEAR_2025, "M0").await.unwrap();
    store
        .fans()
        .insert(
            TENANT_ID,
            APP_ID,
            &[FanDetails { info: &user_info("o2"), as_of: NEW_YEAR_2025, import_id: None }],
        )
        .await
        .unwrap();
    store.imports().start(&import("imp_0", APP_ID, NEW_YEAR_2025)).await.unwrap();
    for id in ["msg_0", "msg_1"] {
        store.messages().create(&message(id)).await.unwrap();
    }
}

/// Performs one write; returns its result as text. In parts, since one large future overflows a test's stack.
pub async fn perform(what: &str, store: &Store) -> String {
    let name = what.split(',').next().unwrap();
    let parts = [
        tenants::perform(name, what, store).boxed_local(),
        accounts::perform(name, what, store).boxed_local(),
        bindings::perform(name, what, store).boxed_local(),
        tokens::perform(name, what, store).boxed_local(),
        fans::perform(name, what, store).boxed_local(),
        imports::perform(name, what, store).boxed_local(),
        messages::perform(name, what, store).boxed_local(),
        requests::perform(name, what, store).boxed_local(),
    ];
    for part in parts {
        if let Some(seen) = part.await {
            return seen;
        }
    }
    panic!("{what} is nothing that the store does")
}

fn token(text: &str) -> AccessToken {
    AccessToken { token: Secret::new(text), issued_at: NEW_YEAR_2025, expires_in: 7200 + TOKEN_LEASE_SECONDS }
}

/// The page of every consent in these rows.
fn consent_page() -> ConsentPage<'static> {
    ConsentPage { tenant: TENANT_ID, opened_at: NEW_YEAR_2025, expires_at: NEW_YEAR_2025 + 600 }
}

fn insert_result(done: bool) -> String {
    if done { "done" } else { "refused" }.to_owned()
}

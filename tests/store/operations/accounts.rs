//! Accounts and their rules.

use oahub_tests::fixtures::{APP_ID, NEW_YEAR_2025, TENANT_ID, account};
use serde_json::json;
use shared::{
    model::{account::AccountRecord, reply_rules::ReplyRules},
    store::Store,
};

use super::{DUE, OTHER_APP_ID, consent_page, insert_result};

pub const WRITES: &[(&str, &str)] = &[
    ("Accounts::bind", "TransactItems"),
    ("Accounts::bind, again", "TransactItems"),
    ("Accounts::transfer", "TransactItems"),
    ("Accounts::unbind", "TransactItems"),
    ("Accounts::delete", "\"Delete\""),
    ("Accounts::release", "\"Delete\""),
    ("RuleSets::replace", "\"Item\""),
];

pub async fn perform(name: &str, what: &str, store: &Store) -> Option<String> {
    Some(match name {
        "Accounts::bind" => {
            let app = if what.contains("again") { APP_ID } else { OTHER_APP_ID };
            let bound = store.accounts().bind(account(app), Some(consent_page()), DUE).await.unwrap();
            format!("{bound:?}, {} bound", store.accounts().count_bound().await.unwrap())
        }
        "Accounts::transfer" => {
            let owner = store.accounts().of_any_tenant(APP_ID).await.unwrap().unwrap();
            let new = AccountRecord { tenant_id: "ten_9".into(), ..account(APP_ID) };
            let done = store.accounts().transfer(&owner, new, DUE).await.unwrap();
            let (theirs, _) = store.accounts().list(TENANT_ID, 10, None).await.unwrap();
            let (ours, _) = store.accounts().list("ten_9", 10, None).await.unwrap();
            let bound = store.accounts().count_bound().await.unwrap();
            format!("{done}, {} and {}, {bound} bound", theirs.len(), ours.len())
        }
        "Accounts::unbind" => {
            let changed = store
                .accounts()
                .unbind(APP_ID, NEW_YEAR_2025 + 10_000, NEW_YEAR_2025 + 10_000)
                .await
                .unwrap();
            format!("{changed}, {} bound", store.accounts().count_bound().await.unwrap())
        }
        "Accounts::delete" => {
            store.accounts().unbind(APP_ID, NEW_YEAR_2025 + 10_000, NEW_YEAR_2025 + 10_000).await.unwrap();
            format!("{:?}", store.accounts().delete(TENANT_ID, APP_ID).await.unwrap())
        }
        "Accounts::release" => {
            store.accounts().unbind(APP_ID, NEW_YEAR_2025 + 10_000, NEW_YEAR_2025 + 10_000).await.unwrap();
            format!("{:?}", store.accounts().release(APP_ID).await.unwrap())
        }
        "RuleSets::replace" => {
            let rules = json!({"on_subscribe": null, "keywords": [], "default": {"msgtype": "text", "text": {"content": "Hello"}}});
            assert!(
                store
                    .reply_rules()
                    .replace(TENANT_ID, APP_ID, &ReplyRules::parse(rules).unwrap())
                    .await
                    .unwrap()
            );
            insert_result(store.reply_rules().get(TENANT_ID, APP_ID).await.unwrap().default.is_some())
        }
        _ => return None,
    })
}

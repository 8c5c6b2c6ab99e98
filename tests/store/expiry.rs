//! DynamoDB deletes what has expired days later, and an item whose `ttl` is more than five years past never. So
//! whatever must not be taken for valid until then has its time compared by code.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, future::LocalBoxFuture};
use oahub_harness::{backends::Backends, deployment::SimulatedDeployment, dynamo};
use oahub_tests::fixtures::{APP_ID, TENANT_ID};
use shared::{
    model::{authorization::code_fingerprint, binding::BindingStatus},
    quota::{self, QuotaApi},
    secret::Secret,
    services::Services,
    store::{account_entries::Addressee, audit::AuditFilter, idempotency::IdempotencyCheck},
};

use crate::{on_paused_time, operations};

const TABLES: [&str; 5] =
    ["PlatformTable", "CredentialsTable", "CustomersTable", "TimelineTable", "WorkTable"];

/// What becomes of an item that has expired and is still there.
#[derive(Clone, Copy)]
enum Expired {
    /// Code compares the time: this tells whether it takes the item for gone.
    IsGone(for<'a> fn(&'a Services) -> LocalBoxFuture<'a, bool>),
    /// It may be read for some days more, for this reason.
    DoesNoHarm(#[expect(dead_code, reason = "for who reads the row")] &'static str),
}

/// Each family that has a `ttl`, a write of [`operations`] that stores it, and what becomes of it.
const FAMILIES: [(&str, &str, Expired); 17] = [
    (
        "PlatformTable ACCOUNT CONSENT",
        "Consents::mark_binding_in_progress",
        Expired::IsGone(|app| {
            async move {
                let later = app.clock.unix() + 10_000;
                app.store.accounts().unbind(APP_ID, later, later).await.unwrap(); // a bound one asks for no consent
                !matches!(app.store.accounts().addressee(APP_ID).await.unwrap(), Addressee::BeingBound(_))
            }
            .boxed_local()
        }),
    ),
    (
        "PlatformTable EVENT EVENT",
        "ComponentEvents::mark_seen",
        Expired::IsGone(|app| {
            async move { app.store.component_events().seen_at("e").await.unwrap().is_none() }.boxed_local()
        }),
    ),
    (
        "PlatformTable BINDING BINDING",
        "Bindings::create",
        Expired::IsGone(|app| {
            async move {
                let binding = app.store.bindings().get(TENANT_ID, "bnd_1").await.unwrap().unwrap();
                binding.status_at(app.clock.now()) == BindingStatus::Expired
            }
            .boxed_local()
        }),
    ),
    (
        "PlatformTable PREAUTH PREAUTH",
        "Bindings::store_pre_auth_code",
        Expired::IsGone(|app| {
            async move {
                let page = app.store.consents().page(&code_fingerprint("code@@@1")).await.unwrap().unwrap();
                !page.for_consent().may_have_asked_at(app.clock.unix())
            }
            .boxed_local()
        }),
    ),
    (
        "WorkTable AUDIT",
        "AuditTrail::begin",
        Expired::IsGone(|app| {
            async move {
                let filter = AuditFilter::default();
                app.store.audit().list(TENANT_ID, filter, 10, None).await.unwrap().0.is_empty()
            }
            .boxed_local()
        }),
    ),
    (
        "WorkTable IDEMPOTENCY IDEMPOTENCY",
        "IdempotencyRecords::end",
        Expired::IsGone(|app| {
            async move {
                let (route, salt) = ("POST /v1/bindings", Secret::new("salt"));
                let begun =
                    app.store.idempotency().begin(TENANT_ID, route, "key-1", "fingerprint", &salt).await;
                matches!(begun.unwrap(), IdempotencyCheck::Proceed(_))
            }
            .boxed_local()
        }),
    ),
    (
        "WorkTable QUOTA QUOTA",
        "Quotas::store_refusal",
        Expired::IsGone(|app| {
            async move { quota::current_refusal(app, APP_ID, QuotaApi::UserGet).await.unwrap().is_none() }
                .boxed_local()
        }),
    ),
    (
        "PlatformTable TENANT KEY",
        "ApiKeys::revoke",
        Expired::DoesNoHarm("it says that its key was revoked, which stays true, and nothing else"),
    ),
    (
        "CredentialsTable AUTHORIZER AUTHORIZER",
        "Accounts::unbind",
        Expired::DoesNoHarm(
            "nobody uses tokens of an account that is not bound, and who binds it again compares them with what \
             WeChat says, however old they are",
        ),
    ),
    (
        "TimelineTable",
        "Timeline::insert_once",
        Expired::DoesNoHarm("a few days more of the past are shown, and its push comes again within seconds"),
    ),
    (
        "WorkTable FAILED FAILED",
        "JobFailures::record",
        Expired::DoesNoHarm("it is looked up for a dead letter, which its queue has deleted a day before"),
    ),
    (
        "WorkTable LINE",
        "WaitingLines::join",
        Expired::DoesNoHarm(
            "who comes to a line that nobody ended waits until its time or for a minute, and then ends it; `until` \
             is compared in functions/message-send/src/park.rs, with a table of its own",
        ),
    ),
    (
        "WorkTable MESSAGE MESSAGE",
        "Messages::create",
        Expired::DoesNoHarm("it is found by its own id, and its job ended 76 days before"),
    ),
    (
        "WorkTable WECHAT MESSAGE",
        "Messages::store_ended",
        Expired::DoesNoHarm("it leads to that message by an id that WeChat gives once"),
    ),
    (
        "WorkTable PAGES LIST",
        "ImportProgress::store_page",
        Expired::DoesNoHarm("it is of one import, which ended long before"),
    ),
    (
        "WorkTable PAGES DONE",
        "ImportProgress::store_receipt",
        Expired::DoesNoHarm("it is of one import, which ended long before"),
    ),
    (
        "WorkTable RATE",
        "RequestCounts::add",
        Expired::DoesNoHarm("its window's number is in its key, and no window comes twice"),
    ),
];

/// The latest `ttl` of each family in the tables, unix seconds. A family is a table, the first word of its
/// partition key, and that of its sort key where it is one of the hub's.
fn expiries(backends: &Backends) -> BTreeMap<String, i64> {
    let word = |key: &str| key.split('#').next().unwrap().to_owned();
    let is_of_the_hub = |word: &str| word.bytes().all(|letter| letter.is_ascii_uppercase() || letter == b'_');
    let mut latest = BTreeMap::new();
    for table in TABLES {
        for ((pk, sk), item) in dynamo::scan(&backends.db, table) {
            let Some(ttl) = item["ttl"].as_i64() else { continue };
            let family = match (table, word(&sk)) {
                ("TimelineTable", _) => table.to_owned(), // identities of pushes
                (_, sk) if is_of_the_hub(&sk) => format!("{table} {} {sk}", word(&pk)),
                _ => format!("{table} {}", word(&pk)),
            };
            let kept = latest.entry(family).or_insert(ttl);
            *kept = ttl.max(*kept);
        }
    }
    latest
}

/// A deployment in which a write of [`operations`] was performed, and its services.
async fn after_write(write: &str) -> (Arc<SimulatedDeployment>, Arc<Services>) {
    let world = SimulatedDeployment::new(1);
    world.create_tables().await;
    let app = world.services();
    operations::prepare(&app.store).await;
    operations::perform(write, &app.store).await;
    (world, app)
}

#[test]
fn what_expired_and_is_still_there_is_taken_for_gone_or_does_no_harm() {
    for (family, write, expired) in FAMILIES {
        on_paused_time(async {
            let (world, app) = after_write(write).await;
            let Some(expiry) = expiries(&world.backends).get(family).copied() else {
                panic!("{write} stores no {family} that expires")
            };
            let Expired::IsGone(is_gone) = expired else { return };
            assert!(!is_gone(&app).await, "{family} is not read as valid before its time is over");
            let left = u64::try_from(expiry + 1 - world.now()).unwrap();
            tokio::time::advance(Duration::from_secs(left)).await;
            assert_eq!(expiries(&world.backends).get(family), Some(&expiry), "{family} is still there");
            assert!(is_gone(&app).await, "{family} is taken for valid though its time is over");
        });
    }
}

/// A new family with a `ttl` needs a row: whether somebody relies on its deletion cannot be seen by reading it.
#[test]
fn every_family_that_expires_is_looked_at() {
    let mut found = BTreeSet::new();
    for (write, _) in operations::writes() {
        on_paused_time(async {
            let (world, _) = after_write(write).await;
            found.extend(expiries(&world.backends).into_keys());
        });
    }
    let looked_at: BTreeSet<_> = FAMILIES.iter().map(|(family, ..)| (*family).to_owned()).collect();
    assert_eq!(found, looked_at, "FAMILIES in tests/store/expiry.rs has a row for each");
}

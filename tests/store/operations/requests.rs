//! Requests, jobs and the audit trail.

use oahub_tests::fixtures::{APP_ID, NEW_YEAR_2025, TENANT_ID};
use shared::{
    model::{
        audit::{self, Actor, AuditEntry},
        job_failure::JobFailure,
        quota::QuotaRefusal,
        timer::StoredTimer,
    },
    secret::Secret,
    store::{Store, audit::AuditFilter, idempotency::IdempotencyCheck},
    timers,
};

use super::insert_result;

pub const WRITES: &[(&str, &str)] = &[
    ("IdempotencyRecords::begin", "attribute_not_exists(pk)"),
    ("IdempotencyRecords::begin, whose first died", "in_flight_until = :seen"),
    ("IdempotencyRecords::end", "answer"),
    ("IdempotencyRecords::abandon", "SET #in_flight_until"),
    ("Timers::create", "\"Item\""),
    ("Timers::delete", "DeleteRequest"),
    ("Timers::lease_shard", "lease_until"),
    ("Timers::release_shard", "REMOVE #lease_until"),
    ("Quotas::store_refusal", "refused_until"),
    ("JobFailures::record", "FAILED"),
    ("RequestCounts::add", "requests"),
    ("AuditTrail::begin", "attribute_not_exists(pk)"),
    ("AuditTrail::end", "SET #outcome"),
];

pub async fn perform(name: &str, what: &str, store: &Store) -> Option<String> {
    Some(match name {
        "IdempotencyRecords::begin" => {
            let salt = salt();
            let begin =
                || store.idempotency().begin(TENANT_ID, "POST /v1/bindings", "key-1", "fingerprint", &salt);
            if what.contains("died") {
                begin().await.unwrap();
                store.idempotency().abandon(TENANT_ID, "POST /v1/bindings", "key-1").await.unwrap();
            }
            let (first, second) = (begin().await.unwrap(), begin().await.unwrap());
            format!("{}, {}", idempotency_result(&first), idempotency_result(&second))
        }
        "IdempotencyRecords::end" => {
            let (route, key) = ("POST /v1/bindings", "key-1");
            store.idempotency().begin(TENANT_ID, route, key, "fingerprint", &salt()).await.unwrap();
            store.idempotency().end(TENANT_ID, route, key, 201, "{}").await.unwrap();
            idempotency_result(
                &store.idempotency().begin(TENANT_ID, route, key, "fingerprint", &salt()).await.unwrap(),
            )
            .to_owned()
        }
        "IdempotencyRecords::abandon" => {
            let (route, key) = ("POST /v1/bindings", "key-1");
            store.idempotency().begin(TENANT_ID, route, key, "fingerprint", &salt()).await.unwrap();
            store.idempotency().abandon(TENANT_ID, route, key).await.unwrap();
            idempotency_result(
                &store.idempotency().begin(TENANT_ID, route, key, "fingerprint", &salt()).await.unwrap(),
            )
            .to_owned()
        }
        "Timers::create" | "Timers::delete" => {
            let timer = StoredTimer {
                queue: "import".into(),
                body: "{}".into(),
                group: TENANT_ID.into(),
                once: "once".into(),
            };
            for id in ["one", "two", "three"] {
                store.timers().create("line", NEW_YEAR_2025 * 1000, id, &timer).await.unwrap();
            }
            let mut due = 0;
            for shard in timers::all_shards() {
                let page = store.timers().due(shard, NEW_YEAR_2025 * 1000, 10, None).await.unwrap();
                if what == "Timers::delete" {
                    store.timers().delete(&page.timers).await.unwrap();
                }
                due += store.timers().due(shard, NEW_YEAR_2025 * 1000, 10, None).await.unwrap().timers.len();
            }
            format!("{due} due")
        }
        "Timers::lease_shard" => {
            let ours = store.timers().lease_shard(3, "swp_1").await.unwrap();
            format!("{ours}, {}", store.timers().lease_shard(3, "swp_2").await.unwrap())
        }
        "Timers::release_shard" => {
            store.timers().lease_shard(3, "swp_1").await.unwrap();
            store.timers().release_shard(3, "swp_1").await.unwrap();
            insert_result(store.timers().lease_shard(3, "swp_2").await.unwrap())
        }
        "Quotas::store_refusal" => {
            let refusal = QuotaRefusal {
                refused_until: NEW_YEAR_2025 + 3600,
                refused_at: NEW_YEAR_2025,
                errcode: 45009,
            };
            store.quotas().store_refusal(APP_ID, "user_get", &refusal).await.unwrap();
            format!("{:?}", store.quotas().refusal(APP_ID, "user_get").await.unwrap())
        }
        "JobFailures::record" => {
            let failure = JobFailure { job: "f1".into(), why: "no".into(), at: NEW_YEAR_2025, receives: 40 };
            store.job_failures().record(&failure).await.unwrap();
            format!("{:?}", store.job_failures().get_many(&["f1"]).await.unwrap())
        }
        "RequestCounts::add" => {
            store.request_counts().add(TENANT_ID, "read", (NEW_YEAR_2025 / 5, 5), 10).await.unwrap();
            "counted".to_owned() // a lost response may count twice, a small part of one window
        }
        "AuditTrail::begin" | "AuditTrail::end" => {
            let entry = AuditEntry {
                id: shared::ids::derived_at(audit::AUDIT_ID_PREFIX, NEW_YEAR_2025 * 1000, &["1"]),
                at: NEW_YEAR_2025 * 1000,
                actor: Actor::operator("operator"),
                operation: "tenant.created".into(),
                target: TENANT_ID.into(),
                outcome: audit::STARTED.into(),
            };
            store.audit().begin(TENANT_ID, &entry).await.unwrap();
            if what == "AuditTrail::end" {
                store.audit().end(TENANT_ID, &entry, audit::SUCCEEDED).await.unwrap();
            }
            let (entries, _) = store.audit().list(TENANT_ID, AuditFilter::default(), 10, None).await.unwrap();
            entries.into_iter().map(|entry| entry.outcome).collect()
        }
        _ => return None,
    })
}

fn salt() -> Secret {
    Secret::new("salt")
}

fn idempotency_result(begun: &IdempotencyCheck) -> &'static str {
    match begun {
        IdempotencyCheck::Proceed { .. } => "first",
        IdempotencyCheck::Replay { .. } => "answered",
        IdempotencyCheck::InProgress => "in progress",
        IdempotencyCheck::KeyReused => "reused",
    }
}

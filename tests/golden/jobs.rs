//! Jobs queued by any release can still be read: queues outlive deployments.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use shared::{
    queue::jobs::{
        AuthorizationJob, FollowerImportJob, FollowerJob, ImportJob, ImportRef, RefreshJob, SendJob,
    },
    secret::Secret,
};

use crate::{UNRELEASED, compare_with_golden, releases};

/// One job of each variant.
fn examples() -> Value {
    let (app_id, tenant_id, import_id) = ("wx5a1b2c3d4e5f6071", "ten_1", "imp_1");
    let s = str::to_owned;
    let import = |job: ImportJob| serde_json::to_value(job).unwrap();
    let send = |job: SendJob| serde_json::to_value(job).unwrap();
    let (a, t) = (|| s(app_id), || s(tenant_id));
    let of = || ImportRef { import_id: s(import_id), app_id: a(), tenant_id: t() };
    json!({
        "authorization": [
            AuthorizationJob::AuthorizedV1 {
                app_id: a(), code: Secret::new("queryauthcode@@@1"), pre_auth_code: Secret::new("preauthcode@@@1"),
            },
            AuthorizationJob::AuthorizedV2 {
                app_id: a(), code: Secret::new("queryauthcode@@@1"), pre_auth_code: Secret::new("preauthcode@@@1"),
                at: 1_735_689_600,
            },
            AuthorizationJob::DeletedV1 { app_id: a() },
            AuthorizationJob::UnauthorizedV1 { app_id: a(), at: 1_735_689_600 },
        ],
        "refresh": [
            RefreshJob::AuthorizersV1 { app_ids: vec![a(), s("wx5a1b2c3d4e5f6072")] },
            RefreshJob::AuthorizersAgainV1 { app_ids: vec![a()], since: 1_735_689_600 },
            RefreshJob::TimersV1 { shards: vec![0, 15] },
        ],
        "import": [
            import(ImportJob::PageV1 { import: of(), page: 1, cursor: s("o9") }),
            import(ImportJob::ChunkV1 {
                import: of(), page: 1, chunk: 2, chunks: 3,
                started_at: 1_735_689_600, open_ids: vec![s("o1"), s("o2")],
            }),
            import(ImportJob::ReconcileV1 {
                import: of(), shard: 4, cursor: Some(s("cus_1")),
            }),
            import(ImportJob::ReconcileV1 { import: of(), shard: 4, cursor: None }),
            import(ImportJob::FanOutV1 { import: of(), page: 1 }),
            import(ImportJob::ResumeV1 { import: of() }),
            import(ImportJob::TakeUpV1 { import: of() }),
            serde_json::to_value(FollowerJob::FanV1 { app_id: a(), tenant_id: t(), open_id: s("o1"), at: 1_735_689_600 }).unwrap(),
        ],
        "send": [
            send(SendJob::MessageV1 {
                message_id: s("msg_1"), tenant_id: t(), app_id: a(), to: s("o1"),
                content: Some(json!({"msgtype": "text", "text": {"content": "Hello"}})),
                template: Some(json!({"template_id": "T1", "data": {"first": {"value": "1"}}})),
                created_at: 1_735_689_600_000,
            }),
            send(SendJob::MessageV1 {
                message_id: s("msg_2"), tenant_id: t(), app_id: a(), to: s("o1"), content: None, template: None,
                created_at: 1_735_689_600_000,
            }),
            send(SendJob::WaitedV1 {
                message_id: s("msg_1"), tenant_id: t(), app_id: a(), to: s("o1"), created_at: 1_735_689_600_000,
            }),
            send(SendJob::TemplateResultV1 {
                tenant_id: t(), app_id: a(), wechat_msg_id: s("200163836"), status: s("success"),
            }),
            send(SendJob::ReleaseCheckV1 { app_id: a(), code: Secret::new("queryauthcode@@@2"), open_id: s("o1") }),
        ],
    })
}

/// The job `type`s of a queue, taken from serde's error about an unknown one.
fn variants<T: DeserializeOwned>() -> Vec<String> {
    let error = serde_json::from_value::<T>(json!({ "type": "?" })).err().unwrap().to_string();
    let named = error.split_once("expected").unwrap().1;
    let found: Vec<_> = named.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(!found.is_empty() && found.iter().all(|name| name.contains("_v")), "{error}");
    found
}

fn check<T: Serialize + DeserializeOwned>(queue: &str, variants: &[String]) {
    for (release, examples) in releases("jobs") {
        let jobs = examples[queue].as_array().unwrap_or_else(|| panic!("{release} has no jobs of {queue}"));
        for job in jobs {
            let read: T = serde_json::from_value(job.clone()).unwrap_or_else(|error| {
                panic!("a job that {release} queued is not understood: {error}: {job}")
            });
            if release == UNRELEASED {
                assert_eq!(
                    &serde_json::to_value(read).unwrap(),
                    job,
                    "it is queued otherwise than it was read"
                );
            } else {
                let (now, member) = (serde_json::to_value(read).unwrap(), job.as_object().unwrap());
                for (name, value) in member {
                    assert_eq!(&now[name], value, "{release}: {name} of {job} got lost on the way");
                }
            }
        }
        if release == UNRELEASED {
            for variant in variants {
                let known = jobs.iter().any(|job| job["type"] == variant.as_str());
                assert!(known, "{variant} of {queue} has no example: add one in tests/golden/jobs.rs");
            }
        }
    }
}

#[test]
fn every_job_that_a_release_queued_is_understood() {
    compare_with_golden("jobs", &examples());
    check::<AuthorizationJob>("authorization", &variants::<AuthorizationJob>());
    check::<RefreshJob>("refresh", &variants::<RefreshJob>());
    check::<FollowerImportJob>("import", &[variants::<ImportJob>(), variants::<FollowerJob>()].concat());
    check::<SendJob>("send", &variants::<SendJob>());
}

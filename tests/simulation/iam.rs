//! IAM rights both ways: functions use only what `template.yaml` allows, and each of their rights is used.
//!
//! The uses come from random histories, with crashes, quotas and returns, and from calls of the whole API. A
//! missing right is refused as on AWS, so it also breaks the history itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use local::{
    iam::permission::Permission,
    template::{self, EventSpec},
};
use oahub_harness::{deployment::SimulatedDeployment, faults::Fault, settings::ADMIN_KEY};
use serde_json::{Value, json};
use shared::queue::jobs::SendJob;
use wechat_simulator::{FaultKind, InjectedFault};

use crate::{
    dead_letters, on_paused_time,
    ops::{self, FanOp, FanOpKind, History, Op},
    run::Run,
    suspended,
};

/// Enough to reach all rare paths; the seeds are fixed, so the result is always the same.
const HISTORIES: u64 = 120;
/// What Lambda itself does with a queue that is mapped to a function, with the function's rights.
const MAPPING_ACTIONS: [&str; 3] = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];

type UsedRights = BTreeMap<String, BTreeSet<Permission>>;

#[test]
fn every_function_has_the_rights_that_it_uses_and_no_other() {
    let mut used = UsedRights::new();
    std::thread::scope(|scope| {
        let half = |first| {
            move || {
                (first..HISTORIES)
                    .step_by(2)
                    .map(|seed| on_paused_time(rights_used_by_history(seed)))
                    .collect()
            }
        };
        let halves: [_; 2] = std::array::from_fn(|n| scope.spawn(half(n as u64)));
        let histories: Vec<Vec<UsedRights>> = halves.map(|half| half.join().unwrap()).into();
        for (function, rights) in
            histories.into_iter().flatten().chain([on_paused_time(rare_paths())]).flatten()
        {
            used.entry(function).or_default().extend(rights);
        }
    });
    let template = template::parse(template::TEMPLATE).unwrap();
    let (mut missing, mut surplus) = (Vec::new(), Vec::new());
    for function in &template.functions {
        let used = used.entry(function.name.clone()).or_default();
        for event in &function.events {
            if let EventSpec::Sqs { queue, .. } = event {
                used.extend(MAPPING_ACTIONS.map(|action| Permission::new(action, queue)));
            }
        }
        missing.extend(used.difference(&function.permissions.0).map(|r| format!("{}: {r}", function.name)));
        surplus
            .extend(unused(&function.permissions.0, used).map(|what| format!("{}: {what}", function.name)));
        let whole = function.permissions.0.iter().filter(|right| right.keys.is_none());
        let whole = whole.filter(|right| tables_by_keys(&function.name).contains(&right.resource.as_str()));
        surplus.extend(whole.map(|right| format!("{}: {right}, whatever the key", function.name)));
    }
    assert!(missing.is_empty(), "template.yaml gives too little: {missing:#?}");
    assert!(surplus.is_empty(), "template.yaml gives what nothing here uses: {surplus:#?}");
}

/// Tables of which a function may have some families of keys alone. tenant-api needs nearly all of both.
fn tables_by_keys(function: &str) -> &'static [&'static str] {
    if function == "TenantApi" { &[] } else { &["PlatformTable", "WorkTable"] }
}

/// Actions on a table that a function never takes, and keys of a table that it never names. Not each action with each
/// key: that would take a statement for each action.
fn unused<'a>(
    granted: &'a BTreeSet<Permission>,
    used: &'a BTreeSet<Permission>,
) -> impl Iterator<Item = String> + use<'a> {
    let parts = |rights: &'a BTreeSet<Permission>| {
        let keys =
            |right: &Permission| right.keys.as_ref().map(|keys| format!("{keys} of {}", right.resource));
        let actions = rights.iter().map(|right| format!("{} on {}", right.action, right.resource));
        actions.chain(rights.iter().filter_map(keys)).collect::<BTreeSet<_>>()
    };
    let used = parts(used);
    parts(granted).into_iter().filter(move |part| !used.contains(part))
}

async fn rights_used_by_history(seed: u64) -> UsedRights {
    let history = ops::generate(seed);
    let mut run = Run::new(seed, &history).await;
    for op in &history.ops {
        run.step(op).await;
    }
    let world = &run.world;
    world.backends.faults.clear();
    world.sim().clear_faults();
    world.redeliver_pushes().await;
    world.redeliver_batches().await;
    world.run_until_idle().await;
    call_the_api(&run).await;
    world.backends.iam_monitor.used.lock().unwrap().clone()
}

/// Paths that histories of this length do not reach.
async fn rare_paths() -> UsedRights {
    let history = History { followers: [9, 2, 2], bound: [true, true, true], ops: Vec::new() };
    let mut run = Run::new(1, &history).await;
    let world = Arc::clone(&run.world);
    let (sim, app) = (world.sim(), run.apps[0].clone());
    world.run_until_idle().await;
    // one message waits for a quota, and another behind it
    sim.inject_fault(InjectedFault::once(
        "/cgi-bin/message/template/send",
        FaultKind::Error { errcode: 45009 },
    ));
    let send = Op::Send { account: 0, fan: 1, content: false, template: true, keyed: false, times: 2 };
    run.step(&send).await;
    world.run_until_idle().await;
    // one tenant's messages delay the queue, and the hub asks whether others may wait behind them
    for n in 0..30 {
        let template =
            Op::Send { account: 0, fan: n % 2, content: false, template: true, keyed: false, times: 1 };
        run.step(&template).await;
    }
    world.advance(3).await;
    for _ in 0..30 {
        world.process_batches(1).await;
    }
    world.run_until_idle().await;
    // a follower left and the push was lost: the next import finds out
    sim.inject_fault(InjectedFault::once("push/message", FaultKind::DropPush).times(3));
    run.step(&Op::Act(FanOp { account: 0, fan: 0, kind: FanOpKind::Unfollow })).await;
    sim.clear_faults();
    world.advance(120).await;
    run.step(&Op::Import { account: 0 }).await;
    world.run_until_idle().await;
    // the details of a new follower fail: WeChat is busy, our address is not listed, the quota is used up
    for errcode in [-1, 40164, 45009] {
        sim.inject_fault(InjectedFault::once("/cgi-bin/user/info", FaultKind::Error { errcode }));
        run.step(&Op::Act(FanOp { account: 0, fan: 0, kind: FanOpKind::Follow })).await;
        world.run_until_idle().await;
    }
    world.advance(24 * 3600).await;
    // the first job of an import is lost, and the tick restarts it
    world.backends.faults.inject_next("page_v1", Fault::Lost);
    run.step(&Op::Import { account: 0 }).await;
    world.advance(1_200).await;
    world.run_until_idle().await;
    // an account moves to another tenant while its import waits for a quota: the binding ends that import or,
    // if it died before that, the next request for an import does
    for (from, to, dies) in [(0, 1, false), (1, 0, true)] {
        sim.inject_fault(
            InjectedFault::once("/cgi-bin/user/get", FaultKind::Error { errcode: 45009 }).times(50),
        );
        let imports = format!("/v1/accounts/{app}/imports");
        world.api(&run.keys[from], "POST", &imports, None, None).await.unwrap();
        for _ in 0..3 {
            world.process_batches(2).await;
        }
        world.tick().await;
        world.withdraw(&app, true);
        sim.deliver_pending().await;
        world.process_batches(2).await;
        // another tenant's binding is refused until the account is deleted, and its tokens are deleted
        world.bind(&run.keys[to], &app, true, false).await;
        let gone = world.api(&run.keys[from], "DELETE", &format!("/v1/accounts/{app}"), None, None).await;
        assert_eq!(gone.unwrap().0, 204);
        if dies {
            world.backends.faults.inject_next("pages_done", Fault::Lost);
        }
        world.bind(&run.keys[to], &app, true, false).await;
        world.advance(120).await;
        world.api(&run.keys[to], "POST", &imports, None, None).await.unwrap();
        sim.clear_faults();
        world.run_until_idle().await;
    }
    // the operator suspends a tenant and reactivates it
    for status in ["suspended", "active"] {
        assert!(suspended::set_tenant_status(&world, &run.tenants[0], status).await);
    }
    // the operator looks at dead letters and moves them back
    for (name, queue, job) in dead_letters::harmless_jobs() {
        dead_letters::add_dead_letter(&world, queue, &job, 1).await;
        let path = format!("/v1/platform/queues/{name}/redrive");
        assert_eq!(operator(&world, "POST", &path).await, json!({"moved": 1}));
    }
    for queue in operator(&world, "GET", "/v1/platform/queues").await["data"].as_array().unwrap() {
        let name = queue["name"].as_str().unwrap();
        dead_letters::add_dead_letter(&world, &capitalized(name), &json!({}), 2).await;
        operator(&world, "GET", &format!("/v1/platform/queues/{name}/dead-letters")).await;
    }
    // WeChat reports the result of a template message that another system sent
    let result = SendJob::TemplateResultV1 {
        tenant_id: run.tenants[0].clone(),
        app_id: app.clone(),
        wechat_msg_id: "404".into(),
        status: "success".into(),
    };
    world.services().queues.result(&result, &run.tenants[0]).await.unwrap();
    world.run_until_idle().await;
    // an authorization was withdrawn and the push was lost: the refresher finds out
    run.step(&Op::Unauthorize { account: 1, event: false }).await;
    world.advance(3 * 3600).await;
    assert!(!world.is_bound(&run.apps[1]), "nobody found out");
    // each function gives a job up, and writes down why
    dead_letters::give_unknown_jobs_up(&world).await;
    world.backends.iam_monitor.used.lock().unwrap().clone()
}

async fn operator(world: &SimulatedDeployment, method: &str, path: &str) -> Value {
    let body = (method == "POST").then(|| json!({}));
    world.api(ADMIN_KEY, method, path, body, None).await.unwrap().1
}

/// The prefix of a queue's logical id.
fn capitalized(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    format!("{}{rest}", first.to_uppercase())
}

/// API calls that histories do not make.
async fn call_the_api(run: &Run) {
    let (world, key, app) = (&run.world, &run.keys[0], &run.apps[0]);
    let get = async |path: String| world.api(key, "GET", &path, None, None).await.unwrap().1;
    world.api(ADMIN_KEY, "GET", "/v1/platform", None, None).await.unwrap();
    let binding = world.api(key, "POST", "/v1/bindings", Some(json!({})), Some("once")).await.unwrap().1;
    get(format!("/v1/bindings/{}", binding["id"].as_str().unwrap())).await;
    get("/v1/accounts".into()).await;
    get(format!("/v1/accounts/{app}/reply-rules")).await;
    get(format!("/v1/accounts/{app}/imports")).await;
    let customers = get("/v1/customers".into()).await;
    if let Some(customer) = customers["data"].as_array().and_then(|all| all.first()) {
        let id = customer["id"].as_str().unwrap();
        get(format!("/v1/customers/{id}")).await;
        get(format!("/v1/customers/{id}/timeline")).await;
    }
    get(format!("/v1/customers?app_id={app}&open_id={}", run.fans[0][0])).await;
}

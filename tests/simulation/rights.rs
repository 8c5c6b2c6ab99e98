//! IAM rights both ways: functions use only what `template.yaml` allows, and each of their rights is used.
//!
//! The uses come from random histories, with crashes, quotas and returns, and from calls of the whole API. A
//! missing right is refused as on AWS, so it also breaks the history itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use local::{
    rights::Right,
    template::{self, EventSpec},
};
use serde_json::{Value, json};
use shared::queue::jobs::SendJob;
use wechat_simulator::{Fault, FaultKind};

use crate::{
    dead_letters, on_paused_time,
    ops::{self, Deed, History, Op, What},
    run::Run,
    suspended,
    world::{ADMIN_KEY, World, chaos::Fate},
};

/// Enough to reach all rare paths; the seeds are fixed, so the result is always the same.
const HISTORIES: u64 = 120;
/// What Lambda itself does with a queue that is mapped to a function, with the function's rights.
const MAPPING: [&str; 3] = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];

type Used = BTreeMap<String, BTreeSet<Right>>;

#[test]
fn every_function_has_the_rights_that_it_uses_and_no_other() {
    let mut used = Used::new();
    std::thread::scope(|scope| {
        let half = |first| {
            move || (first..HISTORIES).step_by(2).map(|seed| on_paused_time(use_of_a_history(seed))).collect()
        };
        let halves: [_; 2] = std::array::from_fn(|n| scope.spawn(half(n as u64)));
        let histories: Vec<Vec<Used>> = halves.map(|half| half.join().unwrap()).into();
        for (function, rights) in histories.into_iter().flatten().chain([on_paused_time(seldom())]).flatten()
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
                used.extend(MAPPING.map(|action| Right { action: action.into(), resource: queue.clone() }));
            }
        }
        missing.extend(used.difference(&function.rights.0).map(|r| format!("{}: {r}", function.name)));
        surplus.extend(function.rights.0.difference(used).map(|r| format!("{}: {r}", function.name)));
    }
    assert!(missing.is_empty(), "template.yaml gives too little: {missing:#?}");
    assert!(surplus.is_empty(), "template.yaml gives what nothing here uses: {surplus:#?}");
}

async fn use_of_a_history(seed: u64) -> Used {
    let history = ops::history(seed);
    let mut run = Run::new(seed, &history).await;
    for op in &history.ops {
        run.step(op).await;
    }
    let world = &run.world;
    world.base.chaos.calm();
    world.sim().clear_faults();
    world.push_late().await;
    world.replay().await;
    world.quiet().await;
    walk(&run).await;
    world.base.usage.used.lock().unwrap().clone()
}

/// Paths that histories of this length do not reach.
async fn seldom() -> Used {
    let history = History { followers: [9, 2, 2], bound: [true, true, true], ops: Vec::new() };
    let mut run = Run::new(1, &history).await;
    let world = Arc::clone(&run.world);
    let (sim, app) = (world.sim(), run.apps[0].clone());
    world.quiet().await;
    // one message waits for a quota, and another behind it
    sim.fault(Fault::once("/cgi-bin/message/template/send", FaultKind::Error { errcode: 45009 }));
    let send = Op::Send { account: 0, fan: 1, content: false, template: true, keyed: false, times: 2 };
    run.step(&send).await;
    world.quiet().await;
    // one tenant's messages delay the queue, and the hub asks whether others may wait behind them
    for n in 0..30 {
        let template =
            Op::Send { account: 0, fan: n % 2, content: false, template: true, keyed: false, times: 1 };
        run.step(&template).await;
    }
    world.advance(3).await;
    for _ in 0..30 {
        world.work(1).await;
    }
    world.quiet().await;
    // a follower left and the push was lost: the next import finds out
    sim.fault(Fault::once("push/message", FaultKind::DropPush).times(3));
    run.step(&Op::Do(Deed { account: 0, fan: 0, what: What::Unfollow })).await;
    sim.clear_faults();
    world.advance(120).await;
    run.step(&Op::Import { account: 0 }).await;
    world.quiet().await;
    // the details of a new follower fail: WeChat is busy, our address is not listed, the quota is used up
    for errcode in [-1, 40164, 45009] {
        sim.fault(Fault::once("/cgi-bin/user/info", FaultKind::Error { errcode }));
        run.step(&Op::Do(Deed { account: 0, fan: 0, what: What::Follow })).await;
        world.quiet().await;
    }
    world.advance(24 * 3600).await;
    // the first job of an import is lost, and the tick restarts it
    world.base.chaos.strike("page_v1", Fate::Lost);
    run.step(&Op::Import { account: 0 }).await;
    world.advance(1_200).await;
    world.quiet().await;
    // an account moves to another tenant while its import waits for a quota: the binding ends that import or,
    // if it died before that, the next request for an import does
    for (from, to, dies) in [(0, 1, false), (1, 0, true)] {
        sim.fault(Fault::once("/cgi-bin/user/get", FaultKind::Error { errcode: 45009 }).times(50));
        let imports = format!("/v1/accounts/{app}/imports");
        world.api(&run.keys[from], "POST", &imports, None, None).await.unwrap();
        for _ in 0..3 {
            world.work(2).await;
        }
        world.tick().await;
        world.withdraw(&app, true);
        sim.deliver_pending().await;
        world.work(2).await;
        // another tenant's binding is refused until the account is deleted, and its tokens are deleted
        world.bind(&run.keys[to], &app, true, false).await;
        let gone = world.api(&run.keys[from], "DELETE", &format!("/v1/accounts/{app}"), None, None).await;
        assert_eq!(gone.unwrap().0, 204);
        if dies {
            world.base.chaos.strike("pages_done", Fate::Lost);
        }
        world.bind(&run.keys[to], &app, true, false).await;
        world.advance(120).await;
        world.api(&run.keys[to], "POST", &imports, None, None).await.unwrap();
        sim.clear_faults();
        world.quiet().await;
    }
    // the operator suspends a tenant and reactivates it
    for status in ["suspended", "active"] {
        assert!(suspended::change(&world, &run.tenants[0], status).await);
    }
    // the operator looks at dead letters and moves them back
    for (name, queue, job) in dead_letters::harmless() {
        dead_letters::give_up(&world, queue, &job, 1).await;
        let path = format!("/v1/platform/queues/{name}/redrive");
        assert_eq!(operator(&world, "POST", &path).await, json!({"moved": 1}));
    }
    for queue in operator(&world, "GET", "/v1/platform/queues").await["data"].as_array().unwrap() {
        let name = queue["name"].as_str().unwrap();
        dead_letters::give_up(&world, &capital(name), &json!({}), 2).await;
        operator(&world, "GET", &format!("/v1/platform/queues/{name}/dead-letters")).await;
    }
    // WeChat reports the result of a template message that another system sent
    let result = SendJob::TemplateResultV1 {
        tenant_id: run.tenants[0].clone(),
        app_id: app.clone(),
        wechat_msg_id: "404".into(),
        status: "success".into(),
    };
    world.app().queues.result(&result, &run.tenants[0]).await.unwrap();
    world.quiet().await;
    // an authorization was withdrawn and the push was lost: the refresher finds out
    run.step(&Op::Unauthorize { account: 1, event: false }).await;
    world.advance(3 * 3600).await;
    assert!(!world.bound(&run.apps[1]), "nobody found out");
    world.base.usage.used.lock().unwrap().clone()
}

async fn operator(world: &World, method: &str, path: &str) -> Value {
    let body = (method == "POST").then(|| json!({}));
    world.api(ADMIN_KEY, method, path, body, None).await.unwrap().1
}

/// The prefix of a queue's logical id.
fn capital(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    format!("{}{rest}", first.to_uppercase())
}

/// API calls that histories do not make.
async fn walk(run: &Run) {
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

use serde_json::json;
use wechat_simulator::{FaultKind, InjectedFault, NoResponse};

use crate::support::{BIG, SERVICE, SimulatorFixture, errcode};

const LIST: &str = "/cgi-bin/user/get";

#[tokio::test(start_paused = true)]
async fn answers_go_wrong_as_asked_and_then_right_again() {
    let world = SimulatorFixture::new().await;
    let (token, refresh) = world.bind(SERVICE).await;
    let target = format!("{LIST}?access_token={token}");
    for (kind, expected) in
        [(FaultKind::Error { errcode: -1 }, -1), (FaultKind::Error { errcode: 45009 }, 45009)]
    {
        world.simulator.inject_fault(InjectedFault::once(LIST, kind));
        assert_eq!(errcode(&world.get(&target).await), expected);
    }
    world.simulator.inject_fault(InjectedFault::once(LIST, FaultKind::Http { status: 502 }));
    let answer = world.simulator.request("GET", &target, "").await.unwrap();
    assert_eq!((answer.status, answer.content_type), (502, "text/html"));
    world.simulator.inject_fault(InjectedFault::once(LIST, FaultKind::Timeout));
    assert_eq!(world.simulator.request("GET", &target, "").await, Err(NoResponse));
    assert_eq!(errcode(&world.get(&target).await), 0);
    let counter = world.simulator.calls(LIST);
    assert_eq!((counter.calls, counter.ok), (5, 1));

    let path = "/cgi-bin/component/api_authorizer_token";
    world.simulator.inject_fault(InjectedFault::once(path, FaultKind::LostResponse));
    let before = world.simulator.tokens_issued(Some(SERVICE));
    let body = json!({"component_appid": crate::support::COMPONENT, "authorizer_appid": SERVICE, "authorizer_refresh_token": refresh});
    let target = format!("{path}?component_access_token={}", world.component_token);
    assert_eq!(world.simulator.request("POST", &target, &body.to_string()).await, Err(NoResponse));
    assert_eq!(world.simulator.tokens_issued(Some(SERVICE)), before + 1, "it had its effect");
}

#[tokio::test]
async fn pages_of_followers_go_wrong_as_asked() {
    let world = SimulatorFixture::new().await;
    let (token, _) = world.bind(BIG).await;
    let first = world.get(&format!("{LIST}?access_token={token}")).await;
    let next = first["next_openid"].as_str().unwrap().to_owned();
    let page = async |kind: FaultKind| {
        world.simulator.inject_fault(InjectedFault::once(LIST, kind).for_account(BIG));
        world.get(&format!("{LIST}?access_token={token}&next_openid={next}")).await
    };
    assert_eq!(page(FaultKind::DuplicatePage).await["data"], first["data"]);
    assert_eq!(page(FaultKind::EmptyData).await["data"], json!({"openid": []}));
    assert_eq!(page(FaultKind::CountMismatch).await["count"], 10_007);
    assert_eq!(page(FaultKind::NullList).await["data"], json!({"openid": null}));
    assert_eq!(page(FaultKind::StuckCursor).await["next_openid"], next.as_str());
}

#[tokio::test]
async fn tokens_can_be_made_to_expire_or_to_be_unknown() {
    let world = SimulatorFixture::new().await;
    let (token, _) = world.bind(SERVICE).await;
    let target = format!("{LIST}?access_token={token}");
    world.simulator.expire_tokens(Some(SERVICE));
    assert_eq!(errcode(&world.get(&target).await), 42001);
    world.simulator.invalidate_tokens(Some(SERVICE));
    assert_eq!(errcode(&world.get(&target).await), 40001);
}

const REFRESH: &str = "/cgi-bin/component/api_authorizer_token";

#[tokio::test]
async fn one_accounts_refreshes_fail_and_its_neighbours_do_not() {
    let world = SimulatorFixture::new().await;
    let (_, refresh) = world.bind(SERVICE).await;
    let (_, neighbours) = world.bind(BIG).await;
    world.simulator.fail_refreshes(SERVICE, 50002);
    let body = |app: &str, token: &str| json!({"authorizer_appid": app, "authorizer_refresh_token": token});
    for _ in 0..3 {
        assert_eq!(errcode(&world.component("api_authorizer_token", body(SERVICE, &refresh)).await), 50002);
        assert_eq!(errcode(&world.component("api_authorizer_token", body(BIG, &neighbours)).await), 0);
    }
    world.simulator.clear_faults();
    assert_eq!(errcode(&world.component("api_authorizer_token", body(SERVICE, &refresh)).await), 0);
}

#[tokio::test]
async fn an_exchange_of_one_accounts_code_can_fail() {
    let world = SimulatorFixture::new().await;
    let path = "/cgi-bin/component/api_query_auth";
    world
        .simulator
        .inject_fault(InjectedFault::once(path, FaultKind::Error { errcode: -1 }).for_account(SERVICE));
    world.bind(BIG).await;
    let code = |app: &str| {
        let grant = wechat_simulator::OwnerConsent { app_id: app.into(), ..Default::default() };
        world.simulator.authorize(grant).unwrap().auth_code
    };
    let asked = json!({"authorization_code": code(SERVICE)});
    assert_eq!(errcode(&world.component("api_query_auth", asked.clone()).await), -1);
    assert_eq!(errcode(&world.component("api_query_auth", asked).await), 0);
}

#[tokio::test(start_paused = true)]
async fn one_api_is_slower_than_the_others() {
    let world = SimulatorFixture::new().await;
    let (_, refresh) = world.bind(SERVICE).await;
    world.simulator.slow_down(REFRESH, 700);
    let took = async |endpoint: &str, body| {
        let start = tokio::time::Instant::now();
        world.component(endpoint, body).await;
        start.elapsed().as_millis()
    };
    let body = json!({"authorizer_appid": SERVICE, "authorizer_refresh_token": refresh});
    assert_eq!(took("api_authorizer_token", body).await, 700);
    assert_eq!(took("api_create_preauthcode", json!({})).await, 0);
}

#[tokio::test]
async fn an_event_can_be_withheld_and_the_tickets_still_come() {
    let world = SimulatorFixture::new().await;
    world.simulator.withhold_event(SERVICE);
    world.bind(SERVICE).await;
    world.bind(BIG).await;
    let delivered = world.simulator.deliver_pending().await;
    let sent: Vec<_> = delivered.iter().map(|d| (d.kind.as_str(), d.attempts.len())).collect();
    assert_eq!(sent, [("authorized", 0), ("authorized", 1)]);
    assert_eq!(world.simulator.push_ticket().await.attempts.len(), 1);
}

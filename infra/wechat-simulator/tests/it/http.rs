//! Over TCP, as a hub and a browser meet it.

use serde_json::{Value, json};
use wechat_simulator::{
    FaultKind, FollowerAction, HttpHub, InjectedFault, PushOutcome, PushOverrides, Simulator, serve,
};

use crate::support::{BIG, SERVICE, SimulatorFixture};

async fn serve_on_free_port(simulator: &Simulator) -> (String, tokio::sync::oneshot::Sender<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    tokio::spawn(serve(listener, simulator.clone(), shutdown));
    (url, stop)
}

fn client() -> reqwest::Client {
    HttpHub::new().unwrap();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn the_control_api_works_over_http() {
    let world = SimulatorFixture::new().await;
    world.bind(SERVICE).await;
    let (url, stop) = serve_on_free_port(&world.simulator).await;
    let client = client();
    let get = async |path: &str| {
        client.get(format!("{url}{path}")).send().await.unwrap().json::<Value>().await.unwrap()
    };
    let post = async |path: &str, body: Value| {
        let answer = client.post(format!("{url}{path}")).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default())
    };
    assert_eq!(get("/_sim/accounts").await["accounts"].as_array().unwrap().len(), 5);
    let (_, made) =
        post("/_sim/accounts", json!({"name": "New", "kind": "subscription", "followers": 7})).await;
    assert_eq!((&made["followers"], &made["service_type"]), (&json!(7), &json!(0)));
    let people = get(&format!("/_sim/accounts/{SERVICE}/followers?limit=2")).await;
    let openid = people["followers"][0]["openid"].as_str().unwrap().to_owned();
    let base = format!("/_sim/accounts/{SERVICE}/followers/{openid}");
    let (status, delivery) =
        post(&format!("{base}/act"), json!({"action": "text", "content": "hi", "msg_id": 5})).await;
    assert_eq!((status, &delivery["outcome"]), (200, &json!("accepted")), "{delivery}");
    assert!(delivery["plaintext"].as_str().unwrap().contains("<MsgId>5</MsgId>"));
    let chat = get(&format!("{base}/messages")).await;
    assert_eq!(chat["window"]["sends_left"], 5);
    let (_, faults) = post("/_sim/faults", json!({"path": "/cgi-bin/user/get", "kind": "timeout"})).await;
    assert_eq!(faults["faults"].as_array().unwrap().len(), 1);
    let settings =
        client.patch(format!("{url}/_sim/settings")).json(&json!({"latency_ms": 3})).send().await.unwrap();
    assert_eq!(settings.json::<Value>().await.unwrap()["latency_ms"], 3);
    let (status, _) = post("/_sim/accounts/wx0/followers/o/act", json!({"action": "unfollow"})).await;
    assert_eq!(status, 422);
    let (_, pushed) =
        post("/_sim/push", json!({"to": "component", "xml": "<xml><InfoType>x</InfoType></xml>"})).await;
    assert_eq!((&pushed["kind"], &pushed["outcome"]), (&json!("x"), &json!("accepted")));
    assert_eq!(post("/_sim/unauthorize", json!({"app_id": SERVICE})).await.0, 200);
    assert!(get("/_sim/calls").await["tokens_issued"]["component"].as_u64().unwrap() >= 1);
    drop(stop);
}

#[tokio::test]
async fn a_lost_response_breaks_the_connection() {
    let world = SimulatorFixture::new().await;
    let (url, _stop) = serve_on_free_port(&world.simulator).await;
    world.simulator.inject_fault(InjectedFault::once("/cgi-bin/getcallbackip", FaultKind::LostResponse));
    let target = format!("{url}/cgi-bin/getcallbackip?access_token={}", world.component_token);
    let broken = client().get(&target).send().await;
    let text = match broken {
        Ok(answer) => answer.text().await,
        Err(error) => Err(error),
    };
    assert!(text.is_err());
    assert!(client().get(&target).send().await.unwrap().text().await.unwrap().contains("ip_list"));
}

#[tokio::test]
async fn the_server_pushes_tickets_and_queued_events_by_itself() {
    let world = SimulatorFixture::new().await;
    let before = world.hub.requests.lock().unwrap().len();
    let (_url, _stop) = serve_on_free_port(&world.simulator).await;
    world
        .simulator
        .authorize(wechat_simulator::OwnerConsent { app_id: BIG.into(), ..Default::default() })
        .unwrap();
    for _ in 0..200 {
        if world.hub.requests.lock().unwrap().len() >= before + 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let opened = world.hub.decrypted_pushes().join("\n");
    assert!(opened.contains("component_verify_ticket") && opened.contains("authorized"), "{opened}");
}

#[tokio::test]
async fn a_snapshot_brings_everything_back() {
    let world = SimulatorFixture::new().await;
    let (token, refresh) = world.bind(SERVICE).await;
    let person = world.simulator.add_follower(SERVICE, None, Some("Zoe".into()), None).unwrap();
    world
        .simulator
        .act(
            SERVICE,
            &person.openid,
            FollowerAction::Follow { scene: Some("x".into()) },
            PushOverrides::default(),
        )
        .await
        .unwrap();
    let path = std::env::temp_dir().join(format!("wechat-simulator-{}.json", std::process::id()));
    world.simulator.save(&path).unwrap();
    let again = SimulatorFixture::new().await;
    again.simulator.persist_to(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let list = again.get(&format!("/cgi-bin/user/get?access_token={token}")).await;
    assert_eq!(list["total"], 4);
    assert_eq!(again.simulator.account(SERVICE).unwrap().authorization.unwrap().refresh_token, refresh);
    let delivery = again
        .simulator
        .act(SERVICE, &person.openid, FollowerAction::Unfollow, PushOverrides::default())
        .await
        .unwrap();
    assert_eq!(delivery.outcome, PushOutcome::Accepted);
    assert_eq!(again.simulator.chat(SERVICE, &person.openid).len(), 2);
    let kinds: Vec<_> = again.simulator.deliveries().into_iter().map(|d| d.kind).collect();
    assert!(kinds.contains(&"subscribe".to_owned()), "what was on the wire: {kinds:?}");
}

#[tokio::test]
async fn it_answers_to_its_own_names_and_takes_nothing_from_other_sites_pages() {
    let world = SimulatorFixture::new().await;
    let (url, _stop) = serve_on_free_port(&world.simulator).await;
    let host = url.trim_start_matches("http://").to_owned();
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = client().post(format!("{url}{path}")).body("{}");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status().as_u16()
    };
    for path in ["/_sim/ticket", "/_sim/consent", "/_sim/faults"] {
        assert_eq!(ask(path, &[("sec-fetch-site", "cross-site")]).await, 403, "{path}");
        assert_eq!(ask(path, &[("origin", "http://evil.example")]).await, 403, "{path}");
        assert_eq!(ask(path, &[("host", "evil.example")]).await, 421, "{path}");
    }
    assert_eq!(ask("/_sim/ticket", &[("sec-fetch-site", "same-origin"), ("origin", &url)]).await, 200);
    assert_eq!(ask("/_sim/ticket", &[("host", &host.replace("127.0.0.1", "localhost"))]).await, 200);
    assert_eq!(ask("/cgi-bin/component/api_component_token", &[("host", "evil.example")]).await, 421);
}

#[tokio::test]
async fn a_snapshot_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = SimulatorFixture::new().await;
    let path = std::env::temp_dir().join(format!("wechat-simulator-private-{}.json", std::process::id()));
    world.simulator.save(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(mode & 0o777, 0o600);
}

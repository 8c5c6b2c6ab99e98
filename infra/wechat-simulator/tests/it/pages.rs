//! The pages, as a browser gets them.

use axum::body::Body;
use http::{Request, StatusCode, header};
use serde_json::json;
use tower::ServiceExt;
use wechat_simulator::router;

use crate::support::{COMPONENT, SERVICE, SimulatorFixture};

async fn open(world: &SimulatorFixture, request: Request<Body>) -> (StatusCode, Option<String>, String) {
    let answer = router(world.simulator.clone()).oneshot(request).await.unwrap();
    let location = answer.headers().get(header::LOCATION).map(|l| l.to_str().unwrap().to_owned());
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, location, String::from_utf8(body.to_vec()).unwrap())
}

fn get(target: &str) -> Request<Body> {
    Request::get(target).body(Body::empty()).unwrap()
}

async fn pre_auth_code(world: &SimulatorFixture) -> String {
    world.component("api_create_preauthcode", json!({})).await["pre_auth_code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_owner_consents_on_the_page_and_comes_back_with_a_code() {
    let world = SimulatorFixture::new().await;
    let code = pre_auth_code(&world).await;
    let back = "https%3A%2F%2Fhub.example%2Fbind%2Fcallback%3Fbinding%3Db1";
    for path in ["/cgi-bin/componentloginpage", "/safe/bindcomponent", "/wxaopen/safe/bindcomponent"] {
        let target = format!(
            "{path}?component_appid={COMPONENT}&pre_auth_code={code}&redirect_uri={back}&auth_type=1"
        );
        let (status, _, page) = open(&world, get(&target)).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(
            page.contains("Harbour Coffee") && !page.contains("Harbour Orders"),
            "{path}: Official Accounts only"
        );
    }
    let form = format!(
        "pre_auth_code={code}&redirect_uri={back}&app_id={SERVICE}&func_ids=1&func_ids=2&decision=grant"
    );
    let request = Request::post("/_sim/consent")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    let (status, location, _) = open(&world, request).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert!(location.unwrap().starts_with("https://hub.example/bind/callback?binding=b1&auth_code="));
    let granted = world.simulator.account(SERVICE).unwrap().authorization.unwrap().funcs;
    assert_eq!(granted.into_iter().collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn a_bad_link_is_refused_and_what_it_says_is_escaped() {
    let world = SimulatorFixture::new().await;
    let code = pre_auth_code(&world).await;
    for (what, query) in [
        (
            "another platform",
            format!("component_appid=wx1&pre_auth_code={code}&redirect_uri=https://a.example"),
        ),
        (
            "an unknown code",
            format!("component_appid={COMPONENT}&pre_auth_code=x&redirect_uri=https://a.example"),
        ),
        (
            "a script to return to",
            format!("component_appid={COMPONENT}&pre_auth_code={code}&redirect_uri=javascript:alert(1)"),
        ),
    ] {
        let (status, ..) = open(&world, get(&format!("/cgi-bin/componentloginpage?{query}"))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{what}");
    }
    world
        .simulator
        .change_account(SERVICE, |account| account.name = "<script>alert(1)</script>".into())
        .unwrap();
    let query = format!(
        "component_appid={COMPONENT}&pre_auth_code={code}&redirect_uri=https://a.example/%22%3E%3Cu%3E"
    );
    let (_, _, page) = open(&world, get(&format!("/cgi-bin/componentloginpage?{query}"))).await;
    assert!(!page.contains("<script>alert") && !page.contains("\"><u>"), "{page}");
}

#[tokio::test]
async fn the_simulators_page_needs_nothing_from_elsewhere() {
    let world = SimulatorFixture::new().await;
    let (status, _, page) = open(&world, get("/")).await;
    assert_eq!(status, StatusCode::OK);
    for part in page.split(['"', '\'']).filter(|part| part.ends_with(".css") || part.ends_with(".js")) {
        let (status, _, body) = open(&world, get(part)).await;
        assert_eq!(status, StatusCode::OK, "{part}");
        assert!(!body.contains("innerHTML") && !body.contains("@import"), "{part}");
    }
}

#[tokio::test]
async fn a_browser_that_was_closed_does_not_come_back() {
    let world = SimulatorFixture::new().await;
    world.simulator.withhold_return(SERVICE);
    let consent = async |code: String| {
        let form = format!(
            "pre_auth_code={code}&redirect_uri=https://hub.example/&app_id={SERVICE}&func_ids=1&decision=grant"
        );
        let request = Request::post("/_sim/consent")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form))
            .unwrap();
        open(&world, request).await.1
    };
    assert_eq!(consent(pre_auth_code(&world).await).await, None);
    assert!(world.simulator.account(SERVICE).unwrap().authorization.is_some(), "the consent stands");
    assert!(consent(pre_auth_code(&world).await).await.is_some(), "the next one comes back");
}

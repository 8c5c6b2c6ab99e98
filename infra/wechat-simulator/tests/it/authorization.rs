use serde_json::json;
use wechat_simulator::OwnerConsent;
use wechat_simulator::xml::XmlDocument;

use crate::support::{AES_KEY, BIG, COMPONENT, MINI, SECRET, SERVICE, SimulatorFixture, errcode};

const TOKEN_PATH: &str = "/cgi-bin/component/api_component_token";

#[tokio::test]
async fn the_component_token_needs_the_right_secret_and_a_live_ticket() {
    let world = SimulatorFixture::new().await;
    let ticket = XmlDocument::parse(&world.simulator.push_ticket().await.plaintext).unwrap();
    let ticket = ticket.get("ComponentVerifyTicket").unwrap();
    assert!(ticket.starts_with("ticket@@@") && ticket.len() == 96, "{ticket}");
    let body = |app: &str, secret: &str, ticket: &str| json!({"component_appid": app, "component_appsecret": secret, "component_verify_ticket": ticket});
    for (what, body, code) in [
        ("another app id", body("wx1", SECRET, ticket), 40013),
        ("a wrong secret", body(COMPONENT, "nope", ticket), 40125),
        ("a made-up ticket", body(COMPONENT, SECRET, "ticket@@@x"), 61006),
        ("no ticket", body(COMPONENT, SECRET, ""), 41020),
        ("all right", body(COMPONENT, SECRET, ticket), 0),
    ] {
        assert_eq!(errcode(&world.post(TOKEN_PATH, &body).await), code, "{what}");
    }
    world.clock.advance(12 * 3600);
    assert_eq!(
        errcode(&world.post(TOKEN_PATH, &body(COMPONENT, SECRET, ticket)).await),
        61005,
        "after 12 hours"
    );
}

#[tokio::test]
async fn a_binding_goes_through_and_its_code_is_taken_once() {
    let world = SimulatorFixture::new().await;
    let answer = world.component("api_create_preauthcode", json!({})).await;
    let pre_auth_code = answer["pre_auth_code"].as_str().unwrap().to_owned();
    assert_eq!(answer["expires_in"], 600);
    let grant = OwnerConsent {
        app_id: SERVICE.into(),
        pre_auth_code: Some(pre_auth_code.clone()),
        redirect_uri: Some("https://hub.example/bind/callback?binding=b1".into()),
        func_ids: Some(vec![1, 2, 15]),
        without_event: false,
        without_refresh_token: false,
    };
    let granted = world.simulator.authorize(grant.clone()).unwrap();
    let url = granted.redirect_url.unwrap();
    assert!(
        url.starts_with("https://hub.example/bind/callback?binding=b1&auth_code=queryauthcode%40%40%40"),
        "{url}"
    );
    assert!(url.ends_with("&expires_in=600"), "{url}");
    assert_eq!(world.simulator.authorize(grant).unwrap_err().errcode, 61009, "the pre_auth_code again");

    let pushed = world.simulator.deliver_pending().await;
    let event = XmlDocument::parse(&pushed.first().unwrap().plaintext).unwrap();
    for (name, value) in [
        ("InfoType", "authorized"),
        ("AppId", COMPONENT),
        ("AuthorizerAppid", SERVICE),
        ("AuthorizationCode", &granted.auth_code),
        ("PreAuthCode", &pre_auth_code),
    ] {
        assert_eq!(event.get(name), Some(value), "{name}");
    }
    assert!(world.hub.decrypted_pushes().last().unwrap().contains("authorized"));

    let body = json!({"authorization_code": granted.auth_code});
    let info = world.component("api_query_auth", body.clone()).await;
    let ids: Vec<_> = info["authorization_info"]["func_info"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["funcscope_category"]["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [1, 2, 15]);
    assert_eq!(errcode(&world.component("api_query_auth", body).await), 61009, "the code again");
}

#[tokio::test]
async fn a_refresh_token_that_the_code_does_not_give_is_in_the_details() {
    let world = SimulatorFixture::new().await;
    let grant =
        OwnerConsent { app_id: SERVICE.into(), without_refresh_token: true, ..OwnerConsent::default() };
    let code = world.simulator.authorize(grant).unwrap().auth_code;
    let given = world.component("api_query_auth", json!({"authorization_code": code})).await;
    let given = &given["authorization_info"];
    assert!(given["authorizer_access_token"].is_string(), "{given}");
    assert_eq!(given["authorizer_refresh_token"], "", "{given}");
    let details = world.component("api_get_authorizer_info", json!({"authorizer_appid": SERVICE})).await;
    let token = details["authorization_info"]["authorizer_refresh_token"].as_str().unwrap();
    assert!(token.starts_with("refreshtoken@@@"), "{details}");
}

#[tokio::test]
async fn codes_expire() {
    let world = SimulatorFixture::new().await;
    let code = world
        .simulator
        .authorize(OwnerConsent { app_id: SERVICE.into(), ..OwnerConsent::default() })
        .unwrap()
        .auth_code;
    let pre = world.component("api_create_preauthcode", json!({})).await["pre_auth_code"]
        .as_str()
        .unwrap()
        .to_owned();
    world.clock.advance(600);
    assert_eq!(errcode(&world.component("api_query_auth", json!({"authorization_code": code})).await), 61010);
    let grant = OwnerConsent { app_id: BIG.into(), pre_auth_code: Some(pre), ..OwnerConsent::default() };
    assert_eq!(world.simulator.authorize(grant).unwrap_err().errcode, 61010);
}

#[tokio::test]
async fn tokens_are_told_apart_and_expire() {
    let world = SimulatorFixture::new().await;
    let (token, refresh) = world.bind(SERVICE).await;
    let get = |token: &str| format!("/cgi-bin/user/get?access_token={token}");
    let pre = |token: &str| format!("/cgi-bin/component/api_create_preauthcode?access_token={token}");
    assert_eq!(errcode(&world.get("/cgi-bin/user/get").await), 41001, "no token");
    assert_eq!(errcode(&world.get(&get("x")).await), 40001, "an unknown token");
    assert_eq!(errcode(&world.get(&get(&world.component_token)).await), 61015, "the component's token");
    let body = json!({"component_appid": COMPONENT});
    assert_eq!(errcode(&world.post(&pre(&token), &body).await), 61014, "an account's token");
    assert_eq!(errcode(&world.post(&pre(""), &body).await), 41021, "no component token");
    assert_eq!(
        errcode(&world.post(&pre(&world.component_token), &body).await),
        0,
        "the token's name of today"
    );

    world.clock.advance(100);
    let again = world
        .component(
            "api_authorizer_token",
            json!({"authorizer_appid": SERVICE, "authorizer_refresh_token": refresh}),
        )
        .await;
    assert_eq!(again["authorizer_refresh_token"], refresh.as_str(), "it stays, unless set otherwise");
    let fresh = again["authorizer_access_token"].as_str().unwrap();
    world.clock.advance(299);
    assert_eq!(errcode(&world.get(&get(&token)).await), 0, "the old one, within five minutes");
    world.clock.advance(1);
    assert_eq!(errcode(&world.get(&get(&token)).await), 42001, "the old one, after them");
    assert_eq!(errcode(&world.get(&get(fresh)).await), 0);
    world.clock.advance(7200);
    assert_eq!(errcode(&world.get(&get(fresh)).await), 42001, "after two hours");
    assert_eq!(errcode(&world.component("api_create_preauthcode", json!({})).await), 42001);
}

#[tokio::test]
async fn refresh_tokens_turn_when_set_and_the_list_tells_them() {
    let world = SimulatorFixture::new().await;
    world.simulator.configure(|s| s.rotate_refresh_tokens = true);
    let (_, first) = world.bind(SERVICE).await;
    let refresh = async |token: &str| {
        let body = json!({"authorizer_appid": SERVICE, "authorizer_refresh_token": token});
        world.component("api_authorizer_token", body).await
    };
    let second = refresh(&first).await["authorizer_refresh_token"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    assert_eq!(errcode(&refresh(&first).await), 0, "the old one, within five minutes");
    world.clock.advance(301);
    assert_eq!(errcode(&refresh(&first).await), 61023, "the old one, after them");
    let list = world.component("api_get_authorizer_list", json!({"offset": 0, "count": 500})).await;
    assert_eq!(list["total_count"], 1);
    let known = list["list"][0]["refresh_token"].as_str().unwrap();
    assert_eq!(errcode(&refresh(known).await), 0, "the one from the list");
}

#[tokio::test]
async fn a_revocation_voids_everything_and_is_told() {
    let world = SimulatorFixture::new().await;
    let (token, refresh) = world.bind(SERVICE).await;
    world.simulator.deliver_pending().await;
    world.simulator.unauthorize(SERVICE, true).unwrap();
    assert_eq!(errcode(&world.get(&format!("/cgi-bin/user/get?access_token={token}")).await), 40001);
    let body = json!({"authorizer_appid": SERVICE, "authorizer_refresh_token": refresh});
    assert_eq!(errcode(&world.component("api_authorizer_token", body).await), 61023);
    assert_eq!(
        errcode(&world.component("api_get_authorizer_info", json!({"authorizer_appid": SERVICE})).await),
        61003
    );
    let event = world.simulator.deliver_pending().await;
    assert!(event.first().unwrap().plaintext.contains("unauthorized"));
    let (_, new) = world.bind(SERVICE).await;
    assert_ne!(new, refresh, "another grant has another refresh token");
}

#[tokio::test]
async fn authorizer_info_tells_kinds_apart() {
    let world = SimulatorFixture::new().await;
    for (app, service, verify, mini) in [
        (SERVICE, 2, 0, false),
        (crate::support::SUBSCRIPTION, 0, 0, false),
        (crate::support::UNVERIFIED, 2, -1, false),
        (MINI, 0, 0, true),
    ] {
        world.bind(app).await;
        let info = world.component("api_get_authorizer_info", json!({"authorizer_appid": app})).await;
        let info = &info["authorizer_info"];
        assert_eq!(info["service_type_info"]["id"], service, "{app}");
        assert_eq!(info["verify_type_info"]["id"], verify, "{app}");
        assert_eq!(info.get("MiniProgramInfo").is_some(), mini, "{app}");
    }
    assert_eq!(AES_KEY.len(), 43);
}

#[tokio::test]
async fn options_need_their_permission_set() {
    let world = SimulatorFixture::new().await;
    world.bind_with(SERVICE, Some(vec![1, 2])).await;
    let set = async |name: &str, value: &str| {
        let body = json!({"authorizer_appid": SERVICE, "option_name": name, "option_value": value});
        errcode(&world.component("api_set_authorizer_option", body).await)
    };
    assert_eq!(set("location_report", "1").await, 0);
    assert_eq!(set("location_report", "9").await, 61013);
    assert_eq!(set("customer_service", "1").await, 61007);
    assert_eq!(set("nothing", "1").await, 61012);
    let body = json!({"authorizer_appid": SERVICE, "option_name": "location_report"});
    assert_eq!(world.component("api_get_authorizer_option", body).await["option_value"], "1");
}

//! Against the samples of WeChat's answers.

use serde_json::json;

use super::*;
use crate::{
    model::binding_refusal::BindingRefusal,
    wechat::fake::{FakeTransport, sample},
};

fn secret(text: &str) -> Secret {
    Secret::new(text)
}

#[tokio::test]
async fn the_platforms_own_chain_sends_what_is_documented() {
    let (client, fake) = FakeTransport::client(&[&sample("api_start_push_ticket_response")]);
    client.start_push_ticket("wxc", &secret("s")).await.unwrap();
    let body = json!({ "component_appid": "wxc", "component_secret": "s" });
    assert_eq!(fake.single_request(), ("Post /cgi-bin/component/api_start_push_ticket".into(), body));

    let (client, fake) = FakeTransport::client(&[&sample("api_component_token_response")]);
    let request: serde_json::Value = serde_json::from_str(&sample("api_component_token_request")).unwrap();
    let [app_id, key, ticket] = ["component_appid", "component_appsecret", "component_verify_ticket"]
        .map(|name| request[name].as_str().unwrap());
    let token = client.component_token(app_id, &secret(key), &secret(ticket)).await.unwrap();
    assert_eq!(fake.single_request(), ("Post /cgi-bin/component/api_component_token".into(), request));
    assert_eq!((token.token.expose(), token.expires_in), ("61_invented_component_token", 7200));

    let (client, fake) = FakeTransport::client(&[&sample("api_create_preauthcode_response")]);
    let code = client.create_preauthcode(&secret("t&1"), "wxc").await.unwrap();
    let url = "Post /cgi-bin/component/api_create_preauthcode?component_access_token=t%261";
    assert_eq!(fake.single_request(), (url.into(), json!({ "component_appid": "wxc" })));
    assert_eq!((code.code.expose(), code.expires_in), ("preauthcode@@@invented0001", 600));
}

#[tokio::test]
async fn an_authorization_gives_tokens_and_permission_sets() {
    let (client, fake) = FakeTransport::client(&[&sample("api_query_auth_response")]);
    let got = client.query_auth(&secret("t"), "wxc", &secret("code")).await.unwrap();
    let body = json!({ "component_appid": "wxc", "authorization_code": "code" });
    let url = "Post /cgi-bin/component/api_query_auth?component_access_token=t";
    assert_eq!(fake.single_request(), (url.into(), body));
    assert_eq!((got.app_id.as_str(), got.granted), ("wx5a1b2c3d4e5f6071", vec![1, 15, 4, 7, 2, 3, 11, 8]));
    let tokens = got.tokens.unwrap();
    assert_eq!(tokens.access_token.expose(), "61_invented_authorizer_token");
    assert_eq!(tokens.refresh_token.unwrap().expose(), "refreshtoken@@@invented0001");

    let without = r#"{"authorization_info":{"authorizer_appid":"wx5","func_info":null}}"#;
    let got =
        FakeTransport::client(&[without]).0.query_auth(&secret("t"), "wxc", &secret("code")).await.unwrap();
    assert_eq!(got, AuthorizationInfo { app_id: "wx5".into(), tokens: None, granted: vec![] });
}

#[tokio::test]
async fn a_refresh_gives_both_tokens_or_says_why_not() {
    let refreshed = sample("api_authorizer_token_response");
    let (client, fake) = FakeTransport::client(&[&refreshed]);
    let got = client.authorizer_token(&secret("t"), "wxc", "wxa", &secret("r")).await.unwrap();
    let body = json!({
        "component_appid": "wxc", "authorizer_appid": "wxa", "authorizer_refresh_token": "r"
    });
    assert_eq!(fake.single_request().1, body);
    assert_eq!((got.access_token.expose(), got.expires_in), ("61_invented_authorizer_token_2", 7200));

    for (what, answer, errcode) in [
        ("a revoked refresh token", sample("api_authorizer_token_error_61023"), Some(61023)),
        ("no token", r#"{"expires_in":7200}"#.into(), None),
        ("an empty token", refreshed.replace("61_invented_authorizer_token_2", ""), None),
        ("a token without a lifetime", refreshed.replace("7200", "0"), None),
    ] {
        let call = FakeTransport::client(&[&answer]).0;
        let why = call.authorizer_token(&secret("t"), "wxc", "wxa", &secret("r")).await.unwrap_err();
        assert_eq!(why.errcode(), errcode, "{what}");
    }
    let text = refreshed.replace("7200", "\"7200\"");
    let got =
        FakeTransport::client(&[&text]).0.authorizer_token(&secret("t"), "wxc", "wxa", &secret("r")).await;
    assert_eq!(got.unwrap().expires_in, 7200, "a lifetime in quotes");
}

#[tokio::test]
async fn an_accounts_kind_is_read_from_its_details() {
    for (name, service_type, verify_type, status, is_mini_program, refusal) in [
        ("service_verified", 2, 0, 1, false, None),
        ("subscription_verified", 0, 0, 1, false, None),
        ("subscription_unverified", 0, -1, 1, false, Some(BindingRefusal::UnverifiedAccount)),
        ("weibo_only", 1, 1, 1, false, Some(BindingRefusal::UnverifiedAccount)),
        ("frozen", 2, 0, 19, false, None),
        ("miniprogram", 0, -1, 1, true, Some(BindingRefusal::NotAnOfficialAccount)),
    ] {
        let (client, _) = FakeTransport::client(&[&sample(&format!("api_get_authorizer_info_{name}"))]);
        let got = client.get_authorizer_info(&secret("t"), "wxc", "wx5a1b2c3d4e5f6071").await.unwrap();
        assert_eq!(
            (got.service_type, got.verify_type, got.account_status, got.is_mini_program),
            (Some(service_type), Some(verify_type), Some(status), is_mini_program),
            "{name}"
        );
        assert_eq!((got.user_name.as_str(), got.alias.as_str()), ("gh_7b1c9d2e4f60", "inventedcafe"));
        let refused = BindingRefusal::of_account(got.is_mini_program, got.service_type, got.verify_type);
        assert_eq!(refused, refusal, "{name}");
        assert_eq!((got.granted.len(), got.refresh_token.is_some()), (8, true), "{name}");
    }
    let (client, _) = FakeTransport::client(&[r#"{"authorizer_info":{"service_type_info":null}}"#]);
    let got = client.get_authorizer_info(&secret("t"), "wxc", "wxa").await.unwrap();
    assert_eq!((got.service_type, got.granted), (None, vec![]), "an answer with next to nothing");
}

#[tokio::test]
async fn the_list_shows_where_a_refresh_token_is_missing() {
    let (client, fake) = FakeTransport::client(&[&sample("api_get_authorizer_list_response")]);
    let page = client.get_authorizer_list(&secret("t"), "wxc", 0, 9999).await.unwrap();
    assert_eq!(fake.single_request().1, json!({ "component_appid": "wxc", "offset": 0, "count": 500 }));
    assert_eq!(page.total_count, 2);
    let have: Vec<bool> = page.list.iter().map(|entry| entry.refresh_token.is_some()).collect();
    assert_eq!(have, [true, false]);
    let empty = FakeTransport::client(&[r#"{"total_count":0}"#]).0;
    assert!(empty.get_authorizer_list(&secret("t"), "wxc", 0, 1).await.unwrap().list.is_empty());
}

#[tokio::test]
async fn an_account_is_read_whatever_is_null_in_its_details() {
    let usual = sample("api_get_authorizer_info_service_verified");
    let list = |functions: &str| {
        let mut answer: serde_json::Value = serde_json::from_str(&usual).unwrap();
        answer["authorization_info"]["func_info"] = serde_json::from_str(functions).unwrap();
        answer.to_string()
    };
    let null = |of: &str, member: &str| {
        let mut answer: serde_json::Value = serde_json::from_str(&usual).unwrap();
        answer[of][member] = serde_json::Value::Null;
        answer.to_string()
    };
    for (what, answer, granted) in [
        ("a null among the permissions", list(r#"[null,{"funcscope_category":{"id":1}}]"#), vec![1]),
        (
            "a permission that is null",
            list(r#"[{"funcscope_category":null},{"funcscope_category":{"id":2}}]"#),
            vec![2],
        ),
        ("a bare number", list(r#"[{"funcscope_category":3},{"funcscope_category":{"id":"4"}}]"#), vec![4]),
        ("no list", list("null"), vec![]),
        ("an object in its place", list(r#"{"id":1}"#), vec![]),
        ("a null alias", null("authorizer_info", "alias"), vec![1, 15, 4, 7, 2, 3, 11, 8]),
        ("a null picture", null("authorizer_info", "head_img"), vec![1, 15, 4, 7, 2, 3, 11, 8]),
        (
            "no mini program, spelled out",
            null("authorizer_info", "MiniProgramInfo"),
            vec![1, 15, 4, 7, 2, 3, 11, 8],
        ),
        (
            "no refresh token",
            null("authorization_info", "authorizer_refresh_token"),
            vec![1, 15, 4, 7, 2, 3, 11, 8],
        ),
    ] {
        let (client, _) = FakeTransport::client(&[&answer]);
        let got = client.get_authorizer_info(&secret("t"), "wxc", "wxa").await;
        let got = got.unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_eq!((got.granted, got.is_mini_program, got.service_type), (granted, false, Some(2)), "{what}");
    }
    let entry = r#"{"total_count":2,"list":[null,{"authorizer_appid":"wx1","refresh_token":"r"}]}"#;
    let list =
        FakeTransport::client(&[entry]).0.get_authorizer_list(&secret("t"), "wxc", 0, 10).await.unwrap().list;
    assert_eq!(list.len(), 1, "a null in the list of accounts");
    let code = r#"{"authorization_info":{"authorizer_appid":"wx5","authorizer_access_token":"t","expires_in":7200,
        "authorizer_refresh_token":"","func_info":[null]}}"#;
    let got =
        FakeTransport::client(&[code]).0.query_auth(&secret("t"), "wxc", &secret("code")).await.unwrap();
    assert!(got.tokens.unwrap().refresh_token.is_none() && got.granted.is_empty(), "an empty refresh token");
}

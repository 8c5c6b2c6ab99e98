use serde_json::{Value, json};

use crate::support::{BIG, SERVICE, SUBSCRIPTION, SimulatorFixture, UNVERIFIED, errcode};

fn openids(page: &Value) -> Vec<String> {
    page["data"]["openid"].as_array().unwrap().iter().map(|o| o.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_end_as_wechat_ends_them() {
    let world = SimulatorFixture::new().await;
    let (token, _) = world.bind(BIG).await;
    let (mut next, mut counts, mut all) = (String::new(), Vec::new(), std::collections::BTreeSet::new());
    for _ in 0..3 {
        let page = world.get(&format!("/cgi-bin/user/get?access_token={token}&next_openid={next}")).await;
        assert_eq!(page["total"], 25_000);
        let ids = openids(&page);
        assert_eq!(page["count"].as_u64().unwrap() as usize, ids.len());
        assert_eq!(page["next_openid"], ids.last().unwrap().as_str(), "also on the last page");
        counts.push(ids.len());
        next = ids.last().unwrap().clone();
        all.extend(ids);
    }
    assert_eq!(counts, [10_000, 10_000, 5000]);
    assert_eq!(all.len(), 25_000);
    let end = world.get(&format!("/cgi-bin/user/get?access_token={token}&next_openid={next}")).await;
    assert_eq!(end, json!({"total": 25_000, "count": 0, "next_openid": ""}), "no `data` at all");
    let wrong = world.get(&format!("/cgi-bin/user/get?access_token={token}&next_openid=nobody")).await;
    assert_eq!(errcode(&wrong), 40003);
}

#[tokio::test]
async fn a_million_followers_are_listed_soon() {
    let world = SimulatorFixture::new().await;
    let new = wechat_simulator::NewAccount { followers: 1_000_000, ..Default::default() };
    let account = world.simulator.add_account(new).unwrap();
    let (token, _) = world.bind(&account.app_id).await;
    let (mut next, mut count) = (String::new(), 0);
    loop {
        let page = world.get(&format!("/cgi-bin/user/get?access_token={token}&next_openid={next}")).await;
        count += page["count"].as_u64().unwrap();
        next = page["next_openid"].as_str().unwrap().to_owned();
        if next.is_empty() {
            break;
        }
    }
    assert_eq!(count, 1_000_000);
}

#[tokio::test]
async fn what_a_follower_typed_may_spoil_an_answer() {
    let world = SimulatorFixture::new().await;
    let (token, _) = world.bind(BIG).await;
    let ids = openids(&world.get(&format!("/cgi-bin/user/get?access_token={token}")).await);
    let target = format!("/cgi-bin/user/info?access_token={token}&openid={}", ids[0]);
    let typed = r#"a"b\'\ud83d"#;
    world
        .simulator
        .change_account(BIG, |account| account.followers.update(&ids[0], |f| f.unescaped = typed.into()))
        .unwrap();
    let body = world.simulator.request("GET", &target, "").await.unwrap().body;
    assert!(body.contains(&format!(r#""remark":"{typed}""#)), "{body}");
    let list = json!({"user_list": [{"openid": ids[1]}, {"openid": ids[0]}]}).to_string();
    let target = format!("/cgi-bin/user/info/batchget?access_token={token}");
    let body = world.simulator.request("POST", &target, &list).await.unwrap().body;
    assert!(body.contains(typed) && serde_json::from_str::<Value>(&body).is_err(), "{body}");
}

#[tokio::test]
async fn details_come_a_hundred_at_a_time() {
    let world = SimulatorFixture::new().await;
    let (token, _) = world.bind(BIG).await;
    let ids = openids(&world.get(&format!("/cgi-bin/user/get?access_token={token}")).await);
    let ask = async |ids: Vec<&str>| {
        let list: Vec<_> = ids.iter().map(|id| json!({"openid": id, "lang": "en"})).collect();
        world
            .post(&format!("/cgi-bin/user/info/batchget?access_token={token}"), &json!({"user_list": list}))
            .await
    };
    let hundred: Vec<_> = ids.iter().take(100).map(String::as_str).collect();
    let answer = ask(hundred.clone()).await;
    let infos = answer["user_info_list"].as_array().unwrap();
    assert_eq!(infos.len(), 100);
    assert_eq!(
        (&infos[0]["subscribe"], &infos[0]["language"], &infos[0]["nickname"]),
        (&json!(1), &json!("en"), &json!(""))
    );
    assert!(infos[0]["unionid"].as_str().is_some());
    let too_many: Vec<_> = ids.iter().take(101).map(String::as_str).collect();
    assert_eq!(errcode(&ask(too_many).await), 40032);
    assert_eq!(errcode(&ask(vec![]).await), 40032);
    assert_eq!(errcode(&ask(vec!["nobody"]).await), 40031);
    let body = json!({"list": 1});
    assert_eq!(
        errcode(&world.post(&format!("/cgi-bin/user/info/batchget?access_token={token}"), &body).await),
        40031
    );
}

#[tokio::test]
async fn who_left_has_no_details() {
    let world = SimulatorFixture::new().await;
    let (token, _) = world.bind(SERVICE).await;
    let ids = openids(&world.get(&format!("/cgi-bin/user/get?access_token={token}")).await);
    world
        .simulator
        .act(SERVICE, &ids[0], wechat_simulator::FollowerAction::Unfollow, Default::default())
        .await
        .unwrap();
    let info = world.get(&format!("/cgi-bin/user/info?access_token={token}&openid={}", ids[0])).await;
    assert_eq!(info["subscribe"], 0);
    assert_eq!(info.get("subscribe_time"), None);
    assert_eq!(openids(&world.get(&format!("/cgi-bin/user/get?access_token={token}")).await), ids[1..]);
}

#[tokio::test]
async fn what_the_account_may_not_do_is_refused() {
    let world = SimulatorFixture::new().await;
    let (unverified, _) = world.bind(UNVERIFIED).await;
    let (limited, _) = world.bind_with(SERVICE, Some(vec![1])).await;
    let (subscription, _) = world.bind(SUBSCRIPTION).await;
    let list = |token: &str| format!("/cgi-bin/user/get?access_token={token}");
    assert_eq!(errcode(&world.get(&list(&unverified)).await), 48001, "not verified");
    assert_eq!(errcode(&world.get(&list(&limited)).await), 61007, "user management not granted");
    assert_eq!(errcode(&world.get(&list(&subscription)).await), 0);
    let templates = format!("/cgi-bin/template/get_all_private_template?access_token={subscription}");
    assert_eq!(errcode(&world.get(&templates).await), 48001, "template messages are for service accounts");
    let refused = world.get(&list(&limited)).await;
    assert!(refused["errmsg"].as_str().unwrap().contains(" rid: "), "{refused}");
    assert_eq!(
        errcode(&world.post(&list(&subscription), &json!({})).await),
        43001,
        "POST where GET is right"
    );
    let answer = world.simulator.request("GET", "/cgi-bin/nothing", "").await.unwrap();
    assert_eq!((answer.status, answer.body.contains("40066")), (404, true));
}

#[tokio::test]
async fn the_daily_quota_ends_at_beijing_midnight_or_by_a_reset() {
    let world = SimulatorFixture::new().await;
    let (token, _) = world.bind(SERVICE).await;
    let list = format!("/cgi-bin/user/get?access_token={token}");
    world.simulator.set_quota_used(SERVICE, "/cgi-bin/user/get", 499);
    assert_eq!(errcode(&world.get(&list).await), 0);
    assert_eq!(errcode(&world.get(&list).await), 45009);
    let ask = json!({"cgi_path": "/cgi-bin/user/get"});
    let quota = world.post(&format!("/cgi-bin/openapi/quota/get?access_token={token}"), &ask).await;
    assert_eq!(quota["quota"], json!({"daily_limit": 500, "used": 500, "remain": 0}));
    let clear = format!("/cgi-bin/clear_quota?access_token={token}");
    assert_eq!(errcode(&world.post(&clear, &json!({"appid": SERVICE})).await), 0);
    assert_eq!(errcode(&world.get(&list).await), 0);
    for n in 2..=11 {
        let code = errcode(&world.post(&clear, &json!({"appid": SERVICE})).await);
        assert_eq!(code, if n <= 10 { 0 } else { 48006 }, "reset {n} of the month");
    }
    world.simulator.limit_quota("*", "/cgi-bin/user/get", 0);
    assert_eq!(errcode(&world.get(&list).await), 45009);
}

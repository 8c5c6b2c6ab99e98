//! WeChat's automatic check before a full-network release: ten accounts of WeChat's, not bound here.
//!
//! Source: WeChat "Full-network release".

use oahub_tests::{
    hub,
    push::{ENVELOPE, event_members, now, open_reply, push_xml, text_members, unique_number},
    run,
    wait::until,
};
use wechat_simulator::{AccountKind, FollowerAction, NewAccount, OwnerConsent, PushOutcome, PushOverrides};

const OFFICIAL_ACCOUNTS: [(&str, &str); 5] = [
    ("wx570bc396a51b8ff8", "gh_3c884a361561"),
    ("wx9252c5e0bb1836fc", "gh_c0f28a78b318"),
    ("wx8e1097c5bc82cde9", "gh_3f222ed8d140"),
    ("wx14550af28c71a144", "gh_26128078e9ab"),
    ("wxa35b9c23cfe664eb", "gh_2b3713f184a6"),
];
const MINI_PROGRAMS: [(&str, &str); 5] = [
    ("wxd101a85aa106f53e", "gh_8dad206e9538"),
    ("wxc39235c15087f6f3", "gh_905ae9d01059"),
    ("wx7720d01d4b2a4500", "gh_393666f1fdf4"),
    ("wx05d483572dcd5d8b", "gh_39abb5d4e1b7"),
    ("wx5910277cae6fd970", "gh_7818dcb60240"),
];

#[test]
fn wechats_check_passes_on_all_ten_accounts() {
    run(async {
        let hub = hub::shared().await;
        let kinds = [(AccountKind::Service, OFFICIAL_ACCOUNTS), (AccountKind::MiniProgram, MINI_PROGRAMS)];
        for (kind, (app_id, original_id)) in
            kinds.into_iter().flat_map(|(kind, ids)| ids.map(|id| (kind, id)))
        {
            let account = hub.add_account(NewAccount {
                app_id: Some(app_id.into()),
                original_id: Some(original_id.into()),
                kind: Some(kind),
                ..NewAccount::default()
            });
            let grant = || OwnerConsent { app_id: app_id.into(), ..OwnerConsent::default() };
            hub.wechat.authorize(grant()).unwrap();
            for (what, rest, expected) in [
                (
                    "a text",
                    text_members("TESTCOMPONENT_MSG_TYPE_TEXT", unique_number()),
                    "TESTCOMPONENT_MSG_TYPE_TEXT_callback",
                ),
                ("an event", event_members("LOCATION", "<Latitude>31.2</Latitude>"), "LOCATIONfrom_callback"),
                ("another event", event_members("CLICK", "<EventKey>K</EventKey>"), "CLICKfrom_callback"),
            ] {
                let answer = hub.push(app_id, &push_xml(original_id, "oTester", now(), &rest)).await;
                let reply = open_reply(&ENVELOPE, &answer);
                for part in [
                    format!("<Content><![CDATA[{expected}]]></Content>"),
                    "<ToUserName><![CDATA[oTester]]></ToUserName>".to_owned(),
                    format!("<FromUserName><![CDATA[{original_id}]]></FromUserName>"),
                ] {
                    assert!(reply.contains(&part), "{what} of {app_id}: {reply}");
                }
            }
            let tester = hub.wechat.add_follower(app_id, None, None, None).unwrap().openid;
            hub.wechat
                .act(app_id, &tester, FollowerAction::Follow { scene: None }, PushOverrides::default())
                .await
                .unwrap();
            let code = hub.wechat.authorize(grant()).unwrap().auth_code;
            let asked = hub.say(&account, &tester, &format!("QUERY_AUTH_CODE:{code}")).await;
            assert_eq!(
                (asked.outcome, asked.attempts.len()),
                (PushOutcome::Accepted, 1),
                "{app_id}: {asked:?}"
            );
            let expected = format!("{code}_from_api");
            until(format!("the API's message to {app_id}'s tester"), async || {
                let seen = hub.wechat.received(app_id, &tester).pop()?;
                (seen.channel == "customer_service" && seen.text == expected).then_some(())
            })
            .await;
            let _ = hub.wechat.unauthorize(app_id, true);
        }
    });
}

#[test]
fn the_checks_words_mean_nothing_on_a_tenants_account() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        tenant.bind(&account).await;
        let open_id = hub.newest_follower(&account).openid;
        for words in ["TESTCOMPONENT_MSG_TYPE_TEXT", "QUERY_AUTH_CODE:queryauthcode@@@x"] {
            assert_eq!(hub.say(&account, &open_id, words).await.reply, None, "{words}");
        }
        assert_eq!(tenant.timeline(&account.app_id, &open_id).await.len(), 2);
    });
}

//! Hostile input: refused quickly, stored nowhere, and nothing crashes.

use oahub_tests::{
    api::HttpResponse,
    hub::{self, COMPONENT_APP_ID, VERIFICATION_TOKEN, component},
    push::{ENVELOPE, event_members, now, open_reply, push_xml, seal_push, text_members, unique_number},
    run,
};
use reqwest::Method;
use serde_json::json;
use shared::{
    config::PlatformCredentials,
    envelope::{CallbackQuery, Envelope, signature},
    secret::Secret,
};

use crate::logs::assert_lines_are_short;

/// Maximum growth in memory, bytes: bodies are small, and none may be kept or expanded.
const MAX_MEMORY_BYTES: u64 = 96 * 1024 * 1024;

/// Maximum bytes that API Gateway reads.
const GATEWAY_MAX_BYTES: usize = 6 * 1024 * 1024;

/// A valid signature for any ciphertext: an attacker may know the token but not the AES key.
fn signed(encrypted: &str) -> CallbackQuery {
    let (time, nonce) = (now().to_string(), unique_number().to_string());
    CallbackQuery {
        signature: Some(signature::sign(&[VERIFICATION_TOKEN, &time, &nonce])),
        msg_signature: Some(signature::sign(&[VERIFICATION_TOKEN, &time, &nonce, encrypted])),
        timestamp: Some(time),
        nonce: Some(nonce),
        encrypt_type: Some("aes".into()),
        ..CallbackQuery::default()
    }
}

fn envelope_of(encrypted: &str) -> (CallbackQuery, String) {
    let body = format!("<xml><ToUserName>gh_1</ToUserName><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>");
    (signed(encrypted), body)
}

/// A valid push whose ciphertext was altered, signed again.
fn altered_push(plaintext: &str, change: impl Fn(&str) -> String) -> (CallbackQuery, String) {
    let (_, body) = seal_push(&ENVELOPE, plaintext);
    let encrypted = body.split_once("<Encrypt><![CDATA[").unwrap().1.split_once("]]>").unwrap().0;
    envelope_of(&change(encrypted))
}

fn entity_bomb() -> String {
    let mut dtd = "<!ENTITY a \"aaaaaaaaaa\">".to_owned();
    for pair in ["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"] {
        let (from, to) = pair.split_at(1);
        dtd.push_str(&format!("<!ENTITY {to} \"{}\">", format!("&{from};").repeat(10)));
    }
    dtd
}

/// What to push, and whether it is a body or a plaintext.
fn attacks(original_id: &str) -> Vec<(&'static str, CallbackQuery, Vec<u8>)> {
    let right = push_xml(original_id, "oMallory", now(), &text_members("hello", unique_number()));
    let key = |component: PlatformCredentials| Envelope::new(&component).unwrap();
    let other_key = Secret::new("ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ");
    let of = |(query, body): (CallbackQuery, String)| (query, body.into_bytes());
    let raw = |body: &str| (signed(""), body.as_bytes().to_vec());
    let inside = |plaintext: &str| of(seal_push(&ENVELOPE, plaintext));
    let deep = format!("{}{}", "<a>".repeat(20_000), "</a>".repeat(20_000));
    let xxe = "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>";
    let bomb = format!("<!DOCTYPE x [{}]>", entity_bomb());
    let mallory = |content: &str| right.replace("<![CDATA[hello]]>", content);
    let (mut unsigned, body) = of(seal_push(&ENVELOPE, &right));
    unsigned.msg_signature = Some("0".repeat(40));
    let mut no_signature = unsigned.clone();
    no_signature.msg_signature = None;
    let other_time = {
        let mut query = seal_push(&ENVELOPE, &right).0;
        query.timestamp = Some("1".into());
        query
    };
    vec![
        ("a wrong signature", (unsigned, body.clone())),
        ("no signature", (no_signature, body.clone())),
        ("nothing but a body", (CallbackQuery::default(), body.clone())),
        ("a signature of another time", (other_time, body)),
        (
            "another key",
            of(seal_push(&key(PlatformCredentials { aes_key: other_key, ..component() }), &right)),
        ),
        (
            "another app id",
            of(seal_push(
                &key(PlatformCredentials { app_id: "wx00c0ffee00c0ffef".into(), ..component() }),
                &right,
            )),
        ),
        ("no ciphertext", of(envelope_of(""))),
        ("no base64", of(envelope_of("!!!!"))),
        ("a ciphertext cut in a block", of(altered_push(&right, |e| e[..40].to_owned()))),
        ("a ciphertext cut behind a block", of(altered_push(&right, |e| e[..128].to_owned()))),
        (
            "a ciphertext that is changed",
            of(altered_push(&right, |e| format!("{}{}", &e[64..128], &e[..64]))),
        ),
        ("an envelope that is cut", {
            let (query, body) = seal_push(&ENVELOPE, &right);
            (query, body.as_bytes()[..body.len() / 2].to_vec())
        }),
        ("nothing", raw("")),
        ("no XML", raw("hello")),
        ("NUL", (signed(""), vec![0; 1000])),
        ("what is no UTF-8", (signed(""), vec![0xff; 1000])),
        ("a file", raw(&format!("{xxe}<xml><Encrypt>&e;</Encrypt></xml>"))),
        ("a bomb", raw(&format!("{bomb}<xml><Encrypt>&i;</Encrypt></xml>"))),
        ("depth", raw(&deep)),
        ("a file inside", inside(&format!("{xxe}{}", mallory("&e;")))),
        ("a bomb inside", inside(&format!("{bomb}{}", mallory("&i;")))),
        ("depth inside", inside(&mallory(&deep))),
        ("nothing inside", inside("")),
        ("no XML inside", inside("hello")),
        ("no sender inside", inside(&right.replace("oMallory", ""))),
        ("a push that is cut inside", inside(&right[..right.len() / 2])),
        (
            "a time that is none inside",
            inside(&push_xml(original_id, "oMallory", -5, &text_members("x", unique_number()))),
        ),
    ]
    .into_iter()
    .map(|(what, (query, body))| (what, query, body))
    .collect()
}

#[test]
fn hostile_bytes_are_refused_and_leave_nothing_behind() {
    run(async {
        let hub = hub::Hub::exclusive().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(1);
        tenant.bind(&account).await;
        let path = format!("/wechat/accounts/{}", account.app_id);
        let before = hub.process().memory();
        for (what, query, body) in attacks(&account.original_id) {
            for path in [path.as_str(), "/wechat/component"] {
                let answer = hub.push_sealed(path, &query, body.clone()).await;
                assert!(answer.status.is_client_error(), "{what} to {path}: {answer:?}");
                assert!(
                    answer.text.len() < 100 && !answer.text.contains('\n'),
                    "{what} to {path}: {answer:?}"
                );
                assert!(
                    !answer.text.contains("padding") && !answer.text.contains(COMPONENT_APP_ID),
                    "{what}: {answer:?}"
                );
            }
        }
        assert_eq!(tenant.customer(&account.app_id, "oMallory").await, None);
        assert_eq!(tenant.api.list_all("/v1/customers").await.len(), 1);
        assert_eq!(hub.anonymous().get("/healthz").await.expect(200), json!({"status": "ok"}));
        if let (Some(before), Some(after)) = (before, hub.process().memory()) {
            assert!(after < before + MAX_MEMORY_BYTES, "{before} bytes before, {after} after");
        }
        // and what is WeChat's still arrives
        hub.say(&account, &hub.newest_follower(&account).openid, "still there?").await;
        assert_lines_are_short(&hub.log());
    });
}

#[test]
fn a_body_beyond_the_limit_is_413() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(0);
        tenant.bind(&account).await;
        let (operator, account) = (hub.operator(), format!("/wechat/accounts/{}", account.app_id));
        for size in [300 * 1024, 2 * 1024 * 1024, 7 * 1024 * 1024] {
            for path in [account.as_str(), "/wechat/component", "/v1/tenants"] {
                // a client of its own, so that no other request gets the broken connection
                let post = operator.request(Method::POST, path).header("Connection", "close");
                let post = post.query(&signed("x").pairs()).body(vec![b'x'; size]);
                match HttpResponse::send(post).await {
                    Ok(answer) => assert_eq!(answer.status, 413, "{size} bytes to {path}"),
                    // the server may close the connection before this client has read the response
                    Err(_) => assert!(size > GATEWAY_MAX_BYTES, "{size} bytes to {path}: no answer"),
                }
            }
        }
        assert_eq!(hub.anonymous().get("/healthz").await.status, 200);
    });
}

/// A follower's text, and what the rule `contains` finds in it.
#[test]
fn a_text_is_whole_on_the_timeline_and_answered_whatever_it_holds() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(0);
        tenant.bind(&account).await;
        tenant
            .set_reply_rules(&account.app_id, &json!({"default": oahub_tests::tenant::text_content("here")}))
            .await;
        let whole = push_xml(&account.original_id, "oOther", 1, &text_members("hi", 1));
        let controls = format!("a{}b", "\u{1}\u{0}\u{8}\u{fffe}");
        for (n, words) in [
            "<a><![CDATA[b]]></a>",
            "x]]> <br> y",
            "if (a[b[0]]>1) stop",
            &whole,
            "a]]></Content><MsgId>1</MsgId><MsgType>event</MsgType><Content><![CDATA[b",
            "a]]></Content><FromUserName><![CDATA[oOther]]></FromUserName><Content><![CDATA[b",
            "]]></Content><!-- ",
            "]]></Content></xml>",
            "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>&e;",
            &controls,
        ]
        .into_iter()
        .enumerate()
        {
            let sender = format!("oTyped{n}");
            let push = push_xml(&account.original_id, &sender, now(), &text_members(words, unique_number()));
            for _ in 0..2 {
                assert!(
                    open_reply(&ENVELOPE, &hub.push(&account.app_id, &push).await).contains("here"),
                    "{words}"
                );
            }
            let timeline = tenant.timeline(&account.app_id, &sender).await;
            assert_eq!(timeline.len(), 2, "{words}: {timeline:?}");
            assert_eq!(timeline[1]["detail"]["Content"], words.trim());
            assert_eq!(timeline[1]["type"], "message_received");
        }
        assert_eq!(tenant.customer(&account.app_id, "oOther").await, None, "a sender was forged");
    });
}

/// Odd but genuine pushes: stored as far as readable, or refused, but never a server error.
#[test]
fn an_odd_push_is_stored_with_what_can_be_read_or_refused_but_never_fails() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.create_tenant().await;
        let account = hub.add_service_account(0);
        tenant.bind(&account).await;
        let mut number = 0;
        let mut of = |at: i64, rest: &str| {
            number += 1;
            let sender = format!("oOdd{number}");
            (sender.clone(), push_xml(&account.original_id, &sender, at, rest).into_bytes())
        };
        let text = text_members("hello", unique_number());
        let named = |name: &str| event_members(name, "<Later>1</Later>");
        let long = "x".repeat(100_000);
        let (sender, mut raw) = of(now(), &text_members("a?b", unique_number()));
        let at = raw.windows(3).position(|three| three == b"a?b").unwrap() + 1;
        raw[at] = 0xff;
        let bytes = (sender, raw);
        let lonely =
            |from: &str| (from.to_owned(), push_xml(&account.original_id, from, now(), &text).into_bytes());
        for (what, (sender, push), status, kind) in [
            ("a sender of 100 kB", lonely(&format!("o{long}")), 413, ""),
            ("a sender of 201 bytes", lonely(&"o".repeat(201)), 413, ""),
            ("a sender of 200 bytes", lonely(&"o".repeat(200)), 200, "message_received"),
            ("a sender in Chinese", lonely("o你好"), 200, "message_received"),
            ("no sender", lonely(""), 400, ""),
            (
                "control characters",
                of(now(), &text_members(&"\u{1}".repeat(100_000), unique_number())),
                200,
                "message_received",
            ),
            ("a text of 100 kB", of(now(), &text_members(&long, unique_number())), 200, "message_received"),
            ("bytes that are no UTF-8", bytes, 200, "message_received"),
            (
                "stray text",
                of(now(), &format!("{} // or not <Later>1</Later>", event_members("new", ""))),
                200,
                "new",
            ),
            ("an event that is new", of(now(), &named("BrandNew_2030")), 200, "brand_new_2030"),
            ("an event with a long name", of(now(), &named(&long)), 200, &"x".repeat(64)),
            ("an event in Chinese", of(now(), &named("新")), 200, "_"),
            ("an event without a name", of(now(), &named("")), 200, "unknown_event"),
            (
                "a message of a new kind",
                of(now(), "<MsgType>poll</MsgType><MsgId>1</MsgId>"),
                200,
                "message_received",
            ),
            (
                "a message of a kind with a long name",
                of(now(), &format!("<MsgType>{long}</MsgType><MsgId>1</MsgId>")),
                200,
                "message_received",
            ),
            (
                "a follow by a long scene",
                of(now(), &event_members("SCAN", &format!("<EventKey>{long}</EventKey>"))),
                200,
                "qr_scanned",
            ),
            (
                "a result of a message with a long id",
                of(
                    now(),
                    &event_members(
                        "TEMPLATESENDJOBFINISH",
                        &format!("<MsgID>{long}</MsgID><Status>{}</Status>", "s".repeat(40_000)),
                    ),
                ),
                200,
                "template_delivered",
            ),
            (
                "an id that is no number",
                of(now(), "<MsgType>text</MsgType><MsgId>x</MsgId>"),
                200,
                "message_received",
            ),
            (
                "a member with a long name",
                of(now(), &format!("{text}<{0}>1</{0}>", "n".repeat(60_000))),
                200,
                "message_received",
            ),
            ("the year 1970", of(0, &text), 200, "message_received"),
            ("the year 9999", of(253_402_300_799, &text), 200, "message_received"),
            ("a time after that", of(253_402_300_800, &text), 400, ""),
            ("milliseconds", of(1_735_689_600_000, &text), 400, ""),
            ("a time before 1970", of(-1, &text), 400, ""),
        ] {
            let answer = hub.push_bytes(&account.app_id, &push).await;
            assert_eq!(answer.status.as_u16(), status, "{what}: {answer:?}");
            if status != 200 {
                continue;
            }
            assert_eq!(answer.text, "success", "{what}");
            let timeline = tenant.timeline(&account.app_id, &sender).await;
            assert_eq!(timeline.len(), 1, "{what}: {timeline:?}");
            assert_eq!(timeline[0]["type"], kind, "{what}");
            let detail = timeline[0]["detail"].to_string();
            assert!(detail.len() < 32 * 1024, "{what}: {} bytes", detail.len());
            let cut = push.len() > 32 * 1024;
            assert_eq!(detail.contains("… [cut]"), cut, "{what}: {detail}");
        }
        // a push dated 9999 does not keep later ones from opening the window
        let (sender, odd) = of(253_402_300_799, &text_members("then", unique_number()));
        assert_eq!(hub.push_bytes(&account.app_id, &odd).await.text, "success");
        let sent = tenant
            .send_and_await(
                &account.app_id,
                &json!({"to": sender, "content": oahub_tests::tenant::text_content("hi")}),
            )
            .await;
        assert_ne!(sent["error"]["code"], "outside_reply_window", "{sent}");
        assert_eq!(hub.anonymous().get("/healthz").await.status, 200);
        assert_lines_are_short(&hub.log());
    });
}

#[test]
fn every_answer_says_what_a_browser_may_do_with_it() {
    run(async {
        let hub = hub::shared().await;
        let link = hub.create_tenant().await.create_binding().await;
        for (url, status, is_page) in [
            (link.url, 200, true),
            (format!("{}/bind/bnd_nobody", hub.url), 404, true),
            (format!("{}/bind/callback?binding=bnd_nobody", hub.url), 404, true),
            (format!("{}/docs", hub.url), 200, true),
            (format!("{}/openapi.json", hub.url), 200, false),
            (format!("{}/healthz", hub.url), 200, false),
            (format!("{}/v1/accounts", hub.url), 401, false),
            (format!("{}/wechat/accounts/wx1", hub.url), 400, false),
        ] {
            let answer = hub.open(&url).await;
            let header = |name: &str| {
                answer.headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
            };
            assert_eq!(
                (answer.status.as_u16(), header("x-content-type-options")),
                (status, "nosniff".into()),
                "{url}"
            );
            assert_eq!(answer.content_type.starts_with("text/html"), is_page, "{url}");
            if is_page {
                let policy = header("content-security-policy");
                assert!(
                    policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
                    "{url}"
                );
                assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{url}: {policy}");
                assert!(!answer.text.contains("<script"), "{url}");
                assert_eq!(
                    header("referrer-policy"),
                    "strict-origin-when-cross-origin",
                    "{url}: WeChat asks for it"
                );
            }
        }
    });
}

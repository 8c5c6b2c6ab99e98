//! Bytes that are not WeChat's: refused shortly, stored nowhere, and nothing falls over.

use oahub_tests::{
    api::Answer,
    hub::{self, COMPONENT, TOKEN, component},
    push::{ENVELOPE, fresh_number, now, said, seal, xml},
    run,
};
use reqwest::Method;
use serde_json::json;
use shared::{
    config::Component,
    envelope::{CallbackQuery, Envelope, signature},
    secret::Secret,
};

/// Memory that all of this may cost, bytes: bodies are small, and none may be kept or blown up.
const MEMORY: u64 = 96 * 1024 * 1024;

/// Bytes that the gateway reads at all.
const GATEWAY: usize = 6 * 1024 * 1024;

/// A query that is right for any ciphertext: who knows the token may still not know the key.
fn signed(encrypted: &str) -> CallbackQuery {
    let (time, nonce) = (now().to_string(), fresh_number().to_string());
    CallbackQuery {
        signature: Some(signature::sign(&[TOKEN, &time, &nonce])),
        msg_signature: Some(signature::sign(&[TOKEN, &time, &nonce, encrypted])),
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

/// The ciphertext of a right push, with something done to it.
fn ciphertext(plaintext: &str, change: impl Fn(&str) -> String) -> (CallbackQuery, String) {
    let (_, body) = seal(&ENVELOPE, plaintext);
    let encrypted = body.split_once("<Encrypt><![CDATA[").unwrap().1.split_once("]]>").unwrap().0;
    envelope_of(&change(encrypted))
}

fn entities() -> String {
    let mut dtd = "<!ENTITY a \"aaaaaaaaaa\">".to_owned();
    for pair in ["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"] {
        let (from, to) = pair.split_at(1);
        dtd.push_str(&format!("<!ENTITY {to} \"{}\">", format!("&{from};").repeat(10)));
    }
    dtd
}

/// What to push, and whether it is a body or a plaintext.
fn attacks(original_id: &str) -> Vec<(&'static str, CallbackQuery, Vec<u8>)> {
    let right = xml(original_id, "oMallory", now(), &said("hello", fresh_number()));
    let key = |component: Component| Envelope::new(&component).unwrap();
    let other_key = Secret::new("ZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZZ");
    let of = |(query, body): (CallbackQuery, String)| (query, body.into_bytes());
    let raw = |body: &str| (signed(""), body.as_bytes().to_vec());
    let inside = |plaintext: &str| of(seal(&ENVELOPE, plaintext));
    let deep = format!("{}{}", "<a>".repeat(20_000), "</a>".repeat(20_000));
    let xxe = "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>";
    let bomb = format!("<!DOCTYPE x [{}]>", entities());
    let mallory = |content: &str| right.replace("<![CDATA[hello]]>", content);
    let (mut unsigned, body) = of(seal(&ENVELOPE, &right));
    unsigned.msg_signature = Some("0".repeat(40));
    let mut no_signature = unsigned.clone();
    no_signature.msg_signature = None;
    let other_time = {
        let mut query = seal(&ENVELOPE, &right).0;
        query.timestamp = Some("1".into());
        query
    };
    vec![
        ("a wrong signature", (unsigned, body.clone())),
        ("no signature", (no_signature, body.clone())),
        ("nothing but a body", (CallbackQuery::default(), body.clone())),
        ("a signature of another time", (other_time, body)),
        ("another key", of(seal(&key(Component { aes_key: other_key, ..component() }), &right))),
        (
            "another app id",
            of(seal(&key(Component { app_id: "wx00c0ffee00c0ffef".into(), ..component() }), &right)),
        ),
        ("no ciphertext", of(envelope_of(""))),
        ("no base64", of(envelope_of("!!!!"))),
        ("a ciphertext cut in a block", of(ciphertext(&right, |e| e[..40].to_owned()))),
        ("a ciphertext cut behind a block", of(ciphertext(&right, |e| e[..128].to_owned()))),
        ("a ciphertext that is changed", of(ciphertext(&right, |e| format!("{}{}", &e[64..128], &e[..64])))),
        ("an envelope that is cut", {
            let (query, body) = seal(&ENVELOPE, &right);
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
        ("a time that is none inside", inside(&xml(original_id, "oMallory", -5, &said("x", fresh_number())))),
    ]
    .into_iter()
    .map(|(what, (query, body))| (what, query, body))
    .collect()
}

#[test]
fn hostile_bytes_are_refused_and_leave_nothing_behind() {
    run(async {
        let hub = hub::Hub::own().await;
        let tenant = hub.tenant().await;
        let account = hub.service_account(1);
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
                    !answer.text.contains("padding") && !answer.text.contains(COMPONENT),
                    "{what}: {answer:?}"
                );
            }
        }
        assert_eq!(tenant.customer(&account.app_id, "oMallory").await, None);
        assert_eq!(tenant.api.all("/v1/customers").await.len(), 1);
        assert_eq!(hub.stranger().get("/healthz").await.expect(200), json!({"status": "ok"}));
        if let (Some(before), Some(after)) = (before, hub.process().memory()) {
            assert!(after < before + MEMORY, "{before} bytes before, {after} after");
        }
        // and what is WeChat's still arrives
        hub.say(&account, &hub.follower(&account).openid, "still there?").await;
    });
}

#[test]
fn a_body_beyond_the_limit_is_413() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.tenant().await;
        let account = hub.service_account(0);
        tenant.bind(&account).await;
        let (operator, account) = (hub.operator(), format!("/wechat/accounts/{}", account.app_id));
        for size in [300 * 1024, 2 * 1024 * 1024, 7 * 1024 * 1024] {
            for path in [account.as_str(), "/wechat/component", "/v1/tenants"] {
                // no other request may find a connection that this one broke
                let post = operator.request(Method::POST, path).header("Connection", "close");
                let post = post.query(&signed("x").pairs()).body(vec![b'x'; size]);
                match Answer::of(post).await {
                    Ok(answer) => assert_eq!(answer.status, 413, "{size} bytes to {path}"),
                    // who goes on writing may find the connection closed before the answer was read
                    Err(_) => assert!(size > GATEWAY, "{size} bytes to {path}: no answer"),
                }
            }
        }
        assert_eq!(hub.stranger().get("/healthz").await.status, 200);
    });
}

#[test]
fn a_nul_inside_a_right_push_is_no_accident() {
    run(async {
        let hub = hub::shared().await;
        let tenant = hub.tenant().await;
        let account = hub.service_account(0);
        tenant.bind(&account).await;
        for hidden in ["\0", "\u{1}", "\u{fffe}"] {
            let push =
                xml(&account.original_id, "oControl", now(), &said(&format!("a{hidden}b"), fresh_number()));
            let status = hub.push(&account.app_id, &push).await.status.as_u16();
            assert!(status == 200 || (400..500).contains(&status), "{hidden:?}: {status}");
        }
        assert_eq!(hub.stranger().get("/healthz").await.status, 200);
    });
}

#[test]
fn logs_hold_no_secret() {
    run(async {
        let hub = hub::Hub::own().await;
        let tenant = hub.tenant().await;
        let account = hub.service_account(1);
        tenant.bind(&account).await;
        let link = tenant.link().await;
        let _ = hub
            .open(&format!("{}/bind/callback?binding={}&auth_code=queryauthcode@@@forged", hub.url, link.id))
            .await;
        let fan = hub.follower(&account).openid;
        hub.say(&account, &fan, "hello").await;
        tenant.send(&account.app_id, &json!({"to": fan, "content": oahub_tests::tenant::text("hi")})).await;
        hub.wechat.invalidate_tokens(Some(&account.app_id));
        tenant.send(&account.app_id, &json!({"to": fan, "content": oahub_tests::tenant::text("hi")})).await;
        let log = hub.log();
        assert!(!log.is_empty());
        let key = tenant.api.key.clone().unwrap();
        let made = [
            "ticket@@@",
            "preauthcode@@@",
            "queryauthcode@@@",
            "refreshtoken@@@",
            "component_access",
            "authorizer_",
        ];
        let set = [
            hub::SECRET,
            TOKEN,
            hub::TOKEN_PREVIOUS,
            hub::AES_KEY,
            hub::AES_KEY_PREVIOUS,
            hub::ADMIN_KEY,
            key.as_str(),
        ];
        for secret in set.into_iter().chain(made) {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is logged");
        }
    });
}

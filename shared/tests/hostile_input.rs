//! Hostile input: always rejected with a 4xx, never a panic, and never a wrong plaintext.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may fail loudly")]

use proptest::prelude::*;
use shared::config::PlatformCredentials;
use shared::envelope::element::{Element, MAX_BODY_BYTES};
use shared::envelope::{
    AesKey, CallbackError, CallbackQuery, Envelope, Generation, KeyUsed, PushRecipient, crypto,
};
use shared::model::component_event::ComponentEvent;
use shared::model::push::Push;
use shared::secret::Secret;

const CURRENT: &str = "kQ3vXo7BzR2mN8sTfW1cYpE6uJ5hLdGa0iSxAeMnZbV";
const PREVIOUS: &str = "Zz9yXx8wWv7uUt6sSr5qQp4oOn3mMl2kKj1iIh0gGfE";

fn component(token: &str, key: &str, previous: Option<&str>) -> PlatformCredentials {
    PlatformCredentials {
        app_id: "wx00c0ffee00c0ffee".to_owned(),
        token: Secret::new(token),
        aes_key: Secret::new(key),
        aes_key_previous: previous.map(Secret::new),
        ..PlatformCredentials::default()
    }
}

fn envelope_of(app_id: &str, token: &str, key: &str, previous: Option<&str>) -> Envelope {
    Envelope::new(&PlatformCredentials { app_id: app_id.to_owned(), ..component(token, key, previous) })
        .unwrap()
}

fn envelope() -> Envelope {
    envelope_of("wx00c0ffee00c0ffee", "hubToken2025", CURRENT, Some(PREVIOUS))
}

fn sealed_push(by: &Envelope, plaintext: &[u8]) -> (CallbackQuery, String) {
    by.seal_push(PushRecipient::ToUserName("gh_7b1c9d2e4f60"), plaintext, 1_735_689_600, "n0nce", [7; 16])
}

/// A correctly signed body, whatever it contains.
fn signed(encrypted: &str) -> (CallbackQuery, String) {
    let parts = ["hubToken2025", "1", "2"];
    let query = CallbackQuery {
        timestamp: Some("1".to_owned()),
        nonce: Some("2".to_owned()),
        msg_signature: Some(shared::envelope::signature::sign(&[parts[0], "1", "2", encrypted])),
        ..CallbackQuery::default()
    };
    (query, format!("<xml><Encrypt><![CDATA[{encrypted}]]></Encrypt></xml>"))
}

fn assert_refused<T: std::fmt::Debug>(what: &str, result: Result<T, CallbackError>) {
    let refusal = result.expect_err(what);
    assert!((400..500).contains(&refusal.status()), "{what}: {}", refusal.status());
}

const MESSAGE: &str = "<xml><ToUserName><![CDATA[gh_7b1c9d2e4f60]]></ToUserName><FromUserName><![CDATA[o1]]>\
    </FromUserName><CreateTime>1735689600</CreateTime><MsgType><![CDATA[text]]></MsgType>\
    <Content><![CDATA[hi]]></Content><MsgId>1</MsgId></xml>";

#[test]
fn a_forged_request_is_refused_with_the_status_of_its_fault() {
    let ours = envelope();
    let (query, body) = sealed_push(&ours, MESSAGE.as_bytes());
    let with = |change: fn(&mut CallbackQuery)| {
        let mut query = query.clone();
        change(&mut query);
        query
    };
    let other = |app_id, token, key| sealed_push(&envelope_of(app_id, token, key, None), MESSAGE.as_bytes());
    let other_app = other("wxffffffffffffffff", "hubToken2025", CURRENT);
    let other_token = other("wx00c0ffee00c0ffee", "otherToken", CURRENT);
    let other_key =
        other("wx00c0ffee00c0ffee", "hubToken2025", "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG");
    let huge = format!("<xml><Encrypt>{}</Encrypt></xml>", "A".repeat(MAX_BODY_BYTES));
    for (what, (query, body), status) in [
        ("no signature", (with(|query| query.msg_signature = None), body.clone()), 403),
        ("an empty signature", (with(|query| query.msg_signature = Some(String::new())), body.clone()), 403),
        (
            "a wrong plain signature",
            (with(|query| query.signature = Some("0".repeat(40))), body.clone()),
            403,
        ),
        ("another time", (with(|query| query.timestamp = Some("1".into())), body.clone()), 403),
        ("no nonce", (with(|query| query.nonce = None), body.clone()), 403),
        ("another token", other_token, 403),
        ("another key", other_key, 400),
        ("another app id", other_app, 400),
        ("no base64", signed("!!!!"), 400),
        ("base64 of nothing", signed("===="), 400),
        ("half a block", signed("AAAAAAAAAAA="), 400),
        ("blocks of zeros", signed(&"A".repeat(128)), 400),
        ("a clear body", (query.clone(), MESSAGE.to_owned()), 400),
        ("an empty ciphertext", signed(""), 400),
        ("an empty body", (query.clone(), String::new()), 400),
        ("too large", (query.clone(), huge), 413),
    ] {
        let refusal = ours.open(&query, body.as_bytes()).expect_err(what);
        assert_eq!(refusal.status(), status, "{what}: {refusal}");
    }
    let nobody = Envelope::new(&PlatformCredentials {
        app_id: "wx00c0ffee00c0ffee".to_owned(),
        ..PlatformCredentials::default()
    });
    assert_refused("an envelope without keys", nobody.unwrap().open(&query, body.as_bytes()));
}

#[test]
fn token_and_key_are_rotated_each_by_itself() {
    use Generation::{Current, Previous};
    let ours = Envelope::new(&PlatformCredentials {
        token_previous: Some(Secret::new("tokenBefore")),
        ..component("hubToken2025", CURRENT, Some(PREVIOUS))
    });
    let ours = ours.unwrap();
    for (token, aes_key) in
        [(Current, Current), (Current, Previous), (Previous, Current), (Previous, Previous)]
    {
        let signed_by = if token == Current { "hubToken2025" } else { "tokenBefore" };
        let sealed_by = if aes_key == Current { CURRENT } else { PREVIOUS };
        let theirs = Envelope::new(&component(signed_by, sealed_by, None)).unwrap();
        let (query, body) = sealed_push(&theirs, MESSAGE.as_bytes());
        let opened = ours.open(&query, body.as_bytes()).unwrap();
        assert_eq!(opened.key, KeyUsed { token, aes_key });
        let reply = ours.seal_reply(opened.key, "<xml/>", 1, "n0nce", [1; 16]);
        assert_eq!(theirs.open_reply(reply.as_bytes()).unwrap(), b"<xml/>", "WeChat can read the reply");
        let echo = theirs.seal_push(PushRecipient::AppId(""), b"echo", 1, "n0nce", [1; 16]);
        let encrypted = Element::parse(&echo.1).unwrap().text_of("Encrypt").unwrap().to_owned();
        let query = CallbackQuery { echostr: Some(encrypted), signature: None, ..echo.0 };
        assert_eq!(ours.verify_url(&query).unwrap(), "echo", "the URL is verified");
    }
    for token in ["tokenBeforeThat", "", "hubToken2025tokenBefore"] {
        let theirs = Envelope::new(&component(token, CURRENT, None)).unwrap();
        let (query, body) = sealed_push(&theirs, MESSAGE.as_bytes());
        assert_refused(token, ours.open(&query, body.as_bytes()));
    }
    // both signatures have to be of one token
    let theirs =
        |token| sealed_push(&Envelope::new(&component(token, CURRENT, None)).unwrap(), MESSAGE.as_bytes());
    let ((query, body), (before, _)) = (theirs("hubToken2025"), theirs("tokenBefore"));
    assert_refused(
        "mixed",
        ours.open(&CallbackQuery { signature: before.signature, ..query }, body.as_bytes()),
    );
}

#[test]
fn a_compatible_body_counts_only_as_far_as_it_is_encrypted() {
    let ours = envelope();
    let (query, body) = sealed_push(&ours, MESSAGE.as_bytes());
    let clear =
        body.replace("<Encrypt>", "<FromUserName>forged</FromUserName><Content>forged</Content><Encrypt>");
    assert_eq!(ours.open(&query, clear.as_bytes()).unwrap().plaintext, MESSAGE.as_bytes());
    let encrypted = Element::parse(&body).unwrap().text_of("Encrypt").unwrap().to_owned();
    let json = serde_json::json!({"ToUserName": "gh_7b1c9d2e4f60", "Encrypt": encrypted}).to_string();
    assert_eq!(ours.open(&query, json.as_bytes()).unwrap().plaintext, MESSAGE.as_bytes());
}

#[test]
fn a_url_is_verified_only_with_its_signature() {
    let ours = envelope();
    let sign = shared::envelope::signature::sign;
    let query = |echostr: &str, signature: &str| CallbackQuery {
        signature: Some(signature.to_owned()),
        timestamp: Some("1".to_owned()),
        nonce: Some("2".to_owned()),
        echostr: Some(echostr.to_owned()),
        ..CallbackQuery::default()
    };
    let right = sign(&["hubToken2025", "1", "2"]);
    assert_eq!(ours.verify_url(&query("5927782489442352469", &right)).unwrap(), "5927782489442352469");
    assert_refused("a wrong signature", ours.verify_url(&query("1", &sign(&["other", "1", "2"]))));
    assert_refused("a long echo", ours.verify_url(&query(&"1".repeat(5000), &right)));
    assert_refused("no signature", ours.verify_url(&CallbackQuery { signature: None, ..query("1", "") }));
    assert_refused("no echo", ours.verify_url(&CallbackQuery { echostr: None, ..query("", &right) }));
}

#[test]
fn bombs_do_not_go_off() {
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]><xml><Encrypt>&b;</Encrypt></xml>";
    let xxe = "<!DOCTYPE x [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><xml><Encrypt>&f;</Encrypt></xml>";
    let deep = "<a>".repeat(50_000) + &"</a>".repeat(30_000);
    let deep_json = r#"{"a":"#.repeat(40_000);
    let wide = format!("<xml>{}</xml>", "<a/>".repeat(50_000));
    for (what, body) in [
        ("an entity bomb", bomb),
        ("an external entity", xxe),
        ("deep nesting", &deep),
        ("deep JSON", &deep_json),
        ("many elements", &wide),
        ("NUL bytes", "\0\0\0\0"),
        ("NUL in a tag", "<xml\0></xml\0>"),
        ("an open tag", "<xml"),
        ("an open comment", "<xml><!-- </xml>"),
        ("a half entity", "<xml>&"),
    ] {
        assert_refused(what, envelope().open(&CallbackQuery::default(), body.as_bytes()));
        assert_refused(what, Push::parse(body.as_bytes()));
        assert_refused(what, ComponentEvent::parse(body.as_bytes()));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused(body in proptest::collection::vec(any::<u8>(), 0..2048)) {
        assert_refused("any bytes", envelope().open(&CallbackQuery::default(), &body));
        let _ = Push::parse(&body);
        let _ = ComponentEvent::parse(&body);
    }

    #[test]
    fn anything_like_xml_is_read_or_refused(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("<a>"), Just("</a>"), Just("<b/>"), Just("<![CDATA["), Just("]]>"), Just("&"), Just("&lt;"),
                Just("&#0;"), Just("&#xFFFFFFFF;"), Just("<!--"), Just("-->"), Just("<?x"), Just("?>"),
                Just("<!DOCTYPE"), Just("\0"), Just("你"), Just(" "), Just("<"), Just(">"), Just("]]"), Just("a=\"<"),
            ],
            0..40,
        )
    ) {
        let text = parts.concat();
        if let Ok(root) = Element::parse(&text) {
            let _ = root.members();
        }
    }

    #[test]
    fn signed_garbage_is_refused(encrypted in "[A-Za-z0-9+/]{0,256}={0,2}") {
        let (query, body) = signed(&encrypted);
        assert_refused("garbage", envelope().open(&query, body.as_bytes()));
    }

    #[test]
    fn a_changed_push_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (query, body) = sealed_push(&envelope(), MESSAGE.as_bytes());
        let mut bytes = body.clone().into_bytes();
        let start = body.find("<Encrypt><![CDATA[").unwrap() + "<Encrypt><![CDATA[".len();
        let end = body.find("]]></Encrypt>").unwrap();
        let at = start + at.index(end - start);
        bytes[at] ^= 1 << bit;
        assert_refused("a changed ciphertext", envelope().open(&query, &bytes));
    }

    #[test]
    fn a_cut_push_is_refused(keep in any::<prop::sample::Index>()) {
        let (query, body) = sealed_push(&envelope(), MESSAGE.as_bytes());
        let cut = &body.as_bytes()[..keep.index(body.len())];
        assert_refused("a cut body", envelope().open(&query, cut));
        assert_refused("a cut plaintext", Push::parse(&MESSAGE.as_bytes()[..keep.index(MESSAGE.len())]));
    }

    #[test]
    fn what_is_sealed_opens(
        plaintext in proptest::collection::vec(any::<u8>(), 0..300),
        random in any::<[u8; 16]>(),
        app_id in "wx[0-9a-f]{0,30}",
    ) {
        let key = AesKey::parse(CURRENT).unwrap();
        let sealed = crypto::seal(&key, random, &plaintext, &app_id);
        prop_assert_eq!(crypto::open(&key, &sealed, &app_id), Ok(plaintext.clone()));
        assert_refused("another app id", crypto::open(&key, &sealed, &format!("{app_id}x")));
        let (query, body) = sealed_push(&envelope(), &plaintext);
        prop_assert_eq!(envelope().open(&query, body.as_bytes()).unwrap().plaintext, plaintext);
    }

    #[test]
    fn a_sealed_reply_opens(text in any::<String>(), time in any::<i64>(), previous in any::<bool>()) {
        let aes_key = if previous { Generation::Previous } else { Generation::Current };
        let key = KeyUsed { token: Generation::Current, aes_key };
        let sealed = envelope().seal_reply(key, &text, time, "n0nce", [1; 16]);
        prop_assert_eq!(envelope().open_reply(sealed.as_bytes()).unwrap(), text.into_bytes());
    }

    #[test]
    fn any_text_survives_a_reply(text in "[^\u{0}-\u{1f}\u{fffe}\u{ffff}]{0,100}") {
        let reply = shared::model::content::Reply::Content(shared::model::content::Content::text(&text));
        let xml = reply.passive_xml("o1", "gh_1", 1).unwrap();
        let root = Element::parse(&xml).unwrap();
        prop_assert_eq!(root.text_of("Content").unwrap_or_default(), text.trim());
    }
}

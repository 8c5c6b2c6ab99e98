//! How an answer becomes a value or an error, whatever the API.

use super::{
    errcode::{ErrcodeClass, QuotaWait},
    fake::{FakeTransport, sample},
    transport::{TransportError, WeChatResponse},
    *,
};
use crate::secret::Secret;

#[tokio::test]
async fn a_refusal_keeps_its_code_its_text_and_its_rid() {
    for (name, errcode, class, rid) in [
        ("error_40001", 40001, ErrcodeClass::Token, "677f0000-11111111-22222224"),
        (
            "error_45009",
            45009,
            ErrcodeClass::Quota(QuotaWait::NextBeijingMidnight),
            "677f0000-11111111-22222223",
        ),
        ("error_45047", 45047, ErrcodeClass::Quota(QuotaWait::Window), "677f0000-11111111-22222226"),
        ("error_48001", 48001, ErrcodeClass::Permanent, "677f0000-11111111-22222225"),
        ("error_61007", 61007, ErrcodeClass::Permanent, "677f0000-11111111-22222227"),
    ] {
        let why =
            FakeTransport::client(&[&sample(name)]).0.user_info(&Secret::new("t"), "o1").await.unwrap_err();
        assert_eq!(
            (why.errcode(), why.class(), why.may_have_happened()),
            (Some(errcode), class, false),
            "{name}"
        );
        let ApiError::Refused { errmsg, rid: got, .. } = why else { panic!("{name}") };
        assert_eq!(got.as_deref(), Some(rid), "{name}");
        assert!(errmsg.ends_with(rid), "{name}");
    }
}

#[tokio::test]
async fn an_errcode_is_read_as_it_comes() {
    for (what, body, errcode) in [
        ("none", r#"{"openid":"o1"}"#, None),
        ("zero", r#"{"errcode":0,"errmsg":"ok"}"#, None),
        ("zero in quotes", r#"{"errcode":"0"}"#, None),
        ("null", r#"{"errcode":null}"#, None),
        ("a number", r#"{"errcode":40003}"#, Some(40003)),
        ("a number in quotes", r#"{"errcode":"40003","errmsg":null}"#, Some(40003)),
        ("busy", r#"{"errcode":-1,"errmsg":"system error"}"#, Some(-1)),
        ("a code of next year", r#"{"errcode":99999999,"errmsg":"new"}"#, Some(99_999_999)),
        ("accepted before", r#"{"errcode":45065,"errmsg":"clientmsgid exist"}"#, None),
    ] {
        let got = FakeTransport::client(&[body]).0.user_info(&Secret::new("t"), "o1").await;
        assert_eq!(got.err().and_then(|why| why.errcode()), errcode, "{what}");
    }
}

#[tokio::test]
async fn what_is_no_answer_of_wechat_tells_whether_the_call_may_have_happened() {
    let status = |status, body: &str| Ok(WeChatResponse { status, body: body.as_bytes().to_vec() });
    for (what, answer, happened, class) in [
        ("no connection", Err(TransportError::NotSent("x".into())), false, ErrcodeClass::Retry),
        ("no answer", Err(TransportError::Unanswered("x".into())), true, ErrcodeClass::Retry),
        ("a gateway's 502", status(502, "<html>"), true, ErrcodeClass::Retry),
        ("a 404", status(404, "{}"), true, ErrcodeClass::Retry),
        ("a page instead of JSON", status(200, "<html>"), true, ErrcodeClass::Retry),
        ("an array", status(200, "[]"), true, ErrcodeClass::Retry),
        ("nothing", status(200, ""), true, ErrcodeClass::Retry),
        ("half an answer", status(200, r#"{"openid":"o1""#), true, ErrcodeClass::Unknown),
        ("a quotation mark in a name", status(200, r#"{"nickname":"a"b"}"#), true, ErrcodeClass::Unknown),
        ("a name that ends in a backslash", status(200, r#"{"nickname":"a\"}"#), true, ErrcodeClass::Unknown),
        ("half a pair of surrogates", status(200, r#"{"nickname":"\ud83d"}"#), true, ErrcodeClass::Unknown),
        ("an escape that JSON has not", status(200, r#"{"nickname":"it\'s"}"#), true, ErrcodeClass::Unknown),
    ] {
        let why =
            FakeTransport::with_responses([answer]).0.user_info(&Secret::new("t"), "o1").await.unwrap_err();
        assert_eq!((why.may_have_happened(), why.class()), (happened, class), "{what}: {why}");
    }
}

#[test]
fn a_rid_is_found_where_there_is_one() {
    for (errmsg, expected) in [
        ("invalid credential rid: 677f-1-2", Some("677f-1-2")),
        ("invalid credential rid:677f-1-2, hint", Some("677f-1-2")),
        ("ok", None),
        ("rid: ", None),
    ] {
        assert_eq!(rid(errmsg).as_deref(), expected, "{errmsg}");
    }
}

//! WeChat's automatic check before a platform may be released to all
//! accounts. It uses ten accounts of its own, which are not bound here.
//!
//! # Source
//! WeChat "Full-network release"; the events are from its older text, but still sent.

use super::content::{Content, Reply};
use super::push::{Push, PushKind};
use crate::secret::Secret;

/// App id and original id of WeChat's test accounts: five Official Accounts, five mini programs.
pub const TEST_ACCOUNTS: [(&str, &str); 10] = [
    ("wx570bc396a51b8ff8", "gh_3c884a361561"),
    ("wx9252c5e0bb1836fc", "gh_c0f28a78b318"),
    ("wx8e1097c5bc82cde9", "gh_3f222ed8d140"),
    ("wx14550af28c71a144", "gh_26128078e9ab"),
    ("wxa35b9c23cfe664eb", "gh_2b3713f184a6"),
    ("wxd101a85aa106f53e", "gh_8dad206e9538"),
    ("wxc39235c15087f6f3", "gh_905ae9d01059"),
    ("wx7720d01d4b2a4500", "gh_393666f1fdf4"),
    ("wx05d483572dcd5d8b", "gh_39abb5d4e1b7"),
    ("wx5910277cae6fd970", "gh_7818dcb60240"),
];

const TEXT_PROBE: &str = "TESTCOMPONENT_MSG_TYPE_TEXT";
const QUERY_AUTH_PROBE: &str = "QUERY_AUTH_CODE:";

/// What the check expects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseCheck {
    /// This passive reply, unencrypted.
    Reply(String),
    /// An empty response at once; then `code` is exchanged for a token, with which `{code}_from_api` is sent.
    QueryAuthCode {
        /// The authorization code.
        code: Secret,
        /// Whom to send to.
        open_id: String,
    },
}

/// Whether WeChat uses this account for its check.
#[must_use]
pub fn is_test_account(app_id: &str) -> bool {
    TEST_ACCOUNTS.iter().any(|(id, _)| *id == app_id)
}

/// The expected reaction to a push of the check; `None` if the push is not part of it.
#[must_use]
pub fn answer_to_check(app_id: &str, push: &Push<'_>) -> Option<ReleaseCheck> {
    if !TEST_ACCOUNTS.contains(&(app_id, push.to_user_name.as_str())) {
        return None;
    }
    let reply = |text: &str| {
        Reply::Content(Content::text(text))
            .passive_xml(&push.from_user_name, &push.to_user_name, push.create_time)
            .map(ReleaseCheck::Reply)
    };
    match (&push.kind, &push.event) {
        (_, Some(event)) => reply(&format!("{event}from_callback")),
        (PushKind::Text { content }, _) if content == TEXT_PROBE => reply(&format!("{TEXT_PROBE}_callback")),
        (PushKind::Text { content }, _) => {
            let code = content.strip_prefix(QUERY_AUTH_PROBE).filter(|code| !code.is_empty())?;
            let open_id = push.from_user_name.clone();
            Some(ReleaseCheck::QueryAuthCode { code: Secret::new(code), open_id })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::test_push::push_to;

    fn text_message(content: &str) -> String {
        format!("<MsgType>text</MsgType><Content>{content}</Content><MsgId>1</MsgId>")
    }

    #[test]
    fn only_the_check_is_answered_and_only_on_its_accounts() {
        let event = "<MsgType>event</MsgType><Event>LOCATION</Event>";
        for (app_id, original_id) in TEST_ACCOUNTS {
            for (what, members, answer) in [
                (
                    "a text",
                    text_message(TEXT_PROBE),
                    "<Content><![CDATA[TESTCOMPONENT_MSG_TYPE_TEXT_callback]]></Content>",
                ),
                ("an event", event.to_owned(), "<Content><![CDATA[LOCATIONfrom_callback]]></Content>"),
            ] {
                let Some(ReleaseCheck::Reply(xml)) = answer_to_check(app_id, &push_to(original_id, &members))
                else {
                    panic!("{what}: no reply");
                };
                assert!(xml.contains(answer), "{what}: {xml}");
                assert!(xml.starts_with("<xml><ToUserName><![CDATA[o1]]></ToUserName>"), "{what}: {xml}");
            }
        }
        let ((app_id, original_id), (_, other)) = (TEST_ACCOUNTS[0], TEST_ACCOUNTS[1]);
        let code = text_message("QUERY_AUTH_CODE:queryauthcode@@@1");
        let wanted =
            ReleaseCheck::QueryAuthCode { code: Secret::new("queryauthcode@@@1"), open_id: "o1".to_owned() };
        assert_eq!(answer_to_check(app_id, &push_to(original_id, &code)), Some(wanted));
        for (what, app_id, original_id, members) in [
            ("a code without a value", app_id, original_id, text_message("QUERY_AUTH_CODE:")),
            ("another text", app_id, original_id, text_message("hello")),
            ("a tenant's account", "wx5a1b2c3d4e5f6071", "gh_7b1c9d2e4f60", text_message(TEXT_PROBE)),
            ("a body of another account", app_id, other, text_message(TEXT_PROBE)),
        ] {
            assert_eq!(answer_to_check(app_id, &push_to(original_id, &members)), None, "{what}");
        }
    }
}

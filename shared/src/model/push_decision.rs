//! What a push of a bound account leaves: an event, what its sender did, a job, and a reply.

use super::content::Reply;
use super::push::{CLOCK_SKEW_SECONDS, Push, PushKind};
use super::reply_rules::ReplyRules;
use super::window::WindowKind;

/// The longest message id of WeChat's, in bytes: it becomes part of table keys; real ones have 20 digits.
const MAX_MESSAGE_ID_BYTES: usize = 64;
/// The bytes that are read of a template message's delivery status.
const MAX_STATUS_BYTES: usize = 256;

/// What one push leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The event for the timeline.
    pub event: PushEvent,
    /// What the sender did; [`None`] where nobody did anything: the push is about the account itself.
    pub activity: Option<FanActivity>,
    /// When they did it, unix seconds. Never far in the future, which would make all that they do later look
    /// old.
    pub active_at: i64,
    /// Work for another function. A repeated push leaves it again, so it may come twice.
    pub job: Option<PushJob>,
    /// The reply of the account's rules.
    pub reply: Option<RuleReply>,
}

/// A push as the timeline stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushEvent {
    /// A repeated push has the same: see [`Push::identity`].
    pub identity: String,
    /// Its type, as the API names it.
    pub kind: String,
    /// The push's `CreateTime`, unix seconds.
    pub at: i64,
    /// JSON text of the push's members.
    pub detail: String,
}

/// What the sender of a push did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FanActivity {
    /// They follow, perhaps by a QR code's scene.
    Followed {
        /// The scene, without `qrscene_`.
        scene: Option<String>,
    },
    /// They left.
    Unfollowed,
    /// They wrote.
    Message,
    /// They clicked or scanned something that opens a reply window.
    Menu,
    /// Anything else.
    Other,
}

/// Work that needs a call to WeChat, or another function's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushJob {
    /// Fetch what the push of a follow does not contain: union id, scene, tags.
    FetchFollower,
    /// Store whether a template message was delivered.
    StoreDelivery {
        /// WeChat's id of the message.
        wechat_msg_id: String,
        /// `success`, `failed:user block`, `failed: system failed`.
        status: String,
    },
}

/// A rule's reply, by the way that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleReply {
    /// In the response to the push: its XML, unencrypted.
    Passive(String),
    /// As a customer-service message, since no passive reply can carry it: WeChat's message JSON.
    Message(String),
}

/// Decides what a push leaves that came at `now`, unix seconds.
#[must_use]
pub fn decide(push: &Push<'_>, rules: &ReplyRules, now: i64) -> Decision {
    let sender = Some(push).filter(|push| !push.is_about_account());
    Decision {
        event: PushEvent {
            identity: push.identity(),
            kind: push.event_type(),
            at: push.create_time,
            detail: push.detail(),
        },
        activity: sender.map(activity),
        active_at: push.create_time.min(now + CLOCK_SKEW_SECONDS),
        job: sender.and_then(job),
        reply: sender.and_then(|push| rule_reply(rules.choose(push)?, push, now)),
    }
}

fn activity(push: &Push<'_>) -> FanActivity {
    match (&push.kind, push.opened_window()) {
        (PushKind::Unsubscribe, _) => FanActivity::Unfollowed,
        (_, Some(WindowKind::Follow)) => FanActivity::Followed { scene: push.scene().map(str::to_owned) },
        (_, Some(WindowKind::Message)) => FanActivity::Message,
        (_, Some(WindowKind::Menu)) => FanActivity::Menu,
        (_, None) => FanActivity::Other,
    }
}

fn job(push: &Push<'_>) -> Option<PushJob> {
    match &push.kind {
        PushKind::Subscribe { .. } => Some(PushJob::FetchFollower),
        PushKind::TemplateFinished { msg_id, status }
            if (1..=MAX_MESSAGE_ID_BYTES).contains(&msg_id.len()) =>
        {
            let status = status.get(..status.floor_char_boundary(MAX_STATUS_BYTES)).unwrap_or_default();
            Some(PushJob::StoreDelivery { wechat_msg_id: msg_id.clone(), status: status.to_owned() })
        }
        _ => None,
    }
}

fn rule_reply(reply: &Reply, push: &Push<'_>, now: i64) -> Option<RuleReply> {
    match (reply.passive_xml(&push.from_user_name, &push.to_user_name, now), reply) {
        (Some(xml), _) => Some(RuleReply::Passive(xml)),
        (None, Reply::Content(content)) => Some(RuleReply::Message(content.as_json().to_string())),
        (None, Reply::Transfer { .. }) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::envelope::element::Element;
    use crate::model::test_push::push;

    const NOW: i64 = 1_735_689_600;

    fn rules() -> ReplyRules {
        let text = |content: &str| json!({"msgtype": "text", "text": {"content": content}});
        let menu = json!({"msgtype": "msgmenu", "msgmenu": {"list": [{"id": "1", "content": "Prices"}]}});
        let keyword =
            |keyword: &str, reply: Value| json!({"keyword": keyword, "match": "exact", "reply": reply});
        ReplyRules::parse(json!({
            "on_subscribe": text("welcome"),
            "keywords": [
                keyword("menu", menu),
                keyword("human", json!({"msgtype": "transfer_customer_service"})),
            ],
            "default": text("later"),
        }))
        .unwrap()
    }

    fn event(name: &str, rest: &str) -> String {
        format!("<MsgType>event</MsgType><Event>{name}</Event>{rest}")
    }

    fn report(msg_id: &str, status: &str) -> String {
        event("TEMPLATESENDJOBFINISH", &format!("<MsgID>{msg_id}</MsgID><Status>{status}</Status>"))
    }

    /// What a push leaves: the event's type, the activity, the job and the reply, as far as there are such.
    fn left_by(push: &Push<'_>) -> String {
        let Decision { event, activity, job, reply, .. } = decide(push, &rules(), NOW);
        let reply = reply.map(|reply| match reply {
            RuleReply::Passive(xml) => {
                let root = Element::parse(&xml).unwrap();
                format!("passive {}", root.text_of("Content").or(root.text_of("MsgType")).unwrap())
            }
            RuleReply::Message(json) => {
                format!("message {}", serde_json::from_str::<Value>(&json).unwrap()["msgtype"])
            }
        });
        let (activity, job) = (activity.map(|left| format!("{left:?}")), job.map(|left| format!("{left:?}")));
        [Some(event.kind), activity, job, reply].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn each_push_leaves_its_event_activity_job_and_reply() {
        let text = |content: &str| format!("<MsgType>text</MsgType><Content>{content}</Content>");
        for (what, members, left) in [
            ("a text", text("hi"), "message_received, Message, passive later"),
            (
                "whose rule is passive",
                text("human"),
                "message_received, Message, passive transfer_customer_service",
            ),
            ("whose rule is not", text("menu"), r#"message_received, Message, message "msgmenu""#),
            (
                "a message of a new type",
                text("").replace("text", "new"),
                "message_received, Message, passive later",
            ),
            (
                "a follow",
                event("subscribe", ""),
                "subscribed, Followed { scene: None }, FetchFollower, passive welcome",
            ),
            (
                "a follow through a code",
                event("subscribe", "<EventKey>qrscene_7</EventKey>"),
                r#"subscribed, Followed { scene: Some("7") }, FetchFollower, passive welcome"#,
            ),
            ("an unfollow", event("unsubscribe", ""), "unsubscribed, Unfollowed"),
            ("a scan", event("SCAN", "<EventKey>7</EventKey>"), "qr_scanned, Menu"),
            ("a click", event("CLICK", "<EventKey>k</EventKey>"), "menu_clicked, Menu"),
            ("a menu's page", event("VIEW", ""), "menu_viewed, Other"),
            ("a coupon", event("user_get_card", ""), "coupon_received, Other"),
            ("an event of next year", event("brand_new", ""), "brand_new, Other"),
            (
                "a delivery report",
                report("17", "success"),
                r#"template_delivered, Other, StoreDelivery { wechat_msg_id: "17", status: "success" }"#,
            ),
            ("one without its message", report("", "success"), "template_delivered, Other"),
            (
                "one whose message fits into no key",
                report(&"1".repeat(65), "success"),
                "template_delivered, Other",
            ),
            ("a broadcast's result", event("MASSSENDJOBFINISH", "<MsgID>1</MsgID>"), "broadcast_delivered"),
        ] {
            assert_eq!(left_by(&push(&members)), left, "{what}");
        }
    }

    #[test]
    fn an_endless_status_is_cut_between_characters() {
        let Some(PushJob::StoreDelivery { status, .. }) =
            decide(&push(&report("17", &"你".repeat(100))), &rules(), NOW).job
        else {
            panic!("no job");
        };
        assert_eq!(status, "你".repeat(85));
    }

    #[test]
    fn nobody_follows_or_is_replied_to_where_the_sender_is_the_account() {
        let mut follow = push(&event("subscribe", ""));
        follow.from_user_name = "gh_1".into();
        assert_eq!(left_by(&follow), "subscribed");
    }

    #[test]
    fn an_activity_of_the_future_is_of_now_or_soon() {
        for (what, create_time, active_at) in [
            ("of now", NOW, NOW),
            ("of last year", NOW - 31_536_000, NOW - 31_536_000),
            ("by a clock that is ahead", NOW + 600, NOW + 600),
            ("of next year", NOW + 31_536_000, NOW + 600),
        ] {
            let mut text = push("<MsgType>text</MsgType><MsgId>9</MsgId>");
            text.create_time = create_time;
            let left = decide(&text, &rules(), NOW);
            assert_eq!((left.active_at, left.event.at), (active_at, create_time), "{what}");
        }
    }
}

//! Messages, their leases and waiting lines.

use oahub_tests::fixtures::{APP_ID, NEW_YEAR_2025, TENANT_ID, event, fan, message};
use shared::{
    model::{
        message::{Channel, MessageRecord, MessageStatus},
        waiting_line::{self, WaitingMessage},
        window::WindowKind,
    },
    store::{
        Store,
        message_leases::{LeaseAttempt, LeaseRetake, WindowUse},
        messages::EndedMessage,
        send_context::SendContextRequest,
    },
};

use super::insert_result;

pub const WRITES: &[(&str, &str)] = &[
    ("Messages::create", "attribute_not_exists(pk)"),
    ("MessageLeases::acquire", "first_claimed_at"),
    ("MessageLeases::acquire, with windows", "window_used_by"),
    ("MessageLeases::use_window", "window_used_by"),
    ("MessageLeases::retake", "claimed_by = :before"),
    ("MessageLeases::switch_channel", "SET #channel"),
    ("MessageLeases::release", "REMOVE #first_claimed_at"),
    ("Messages::store_ended", "wechat_msg_id"),
    ("Messages::store_ended, that WeChat settled", "wechat_msg_id"),
    ("Messages::restore_sent_records", "INSERT INTO"),
    ("Messages::record_delivery", ":sent"),
    ("WaitingLines::join", "newest"),
    ("WaitingLines::end", "newest = :newest"),
];

pub async fn perform(name: &str, what: &str, store: &Store) -> Option<String> {
    let template = Some(Channel::Template);
    Some(match name {
        "Messages::create" => {
            insert_result(store.messages().create(&message("msg_9")).await.unwrap().is_none())
        }
        "MessageLeases::acquire" => {
            let window = [window(0)];
            let uses = if what.contains("windows") { &window[..] } else { &[] };
            let (claims, used) = lease_result(store, &["msg_0", "msg_1", "msg_none"], uses).await;
            let (again, _) = lease_result(store, &["msg_0"], &[]).await;
            format!("{claims:?}, {used:?}, {again:?}")
        }
        "MessageLeases::use_window" => {
            let used = store.message_leases().use_window(store.new_writer_id(), &window(0)).await.unwrap();
            let again = store.message_leases().use_window(store.new_writer_id(), &window(0)).await.unwrap();
            format!("{used}, {again}, {}", store.fans().get(fan("o1")).await.unwrap().unwrap().message_used)
        }
        "MessageLeases::retake" => {
            let message = store.messages().get(TENANT_ID, "msg_0").await.unwrap().unwrap();
            let mut taken = Vec::new();
            for _ in 0..2 {
                let owner = store.new_writer_id();
                let claim = LeaseRetake {
                    message: &message,
                    owner,
                    at: NEW_YEAR_2025,
                    channel: template,
                    may_have_happened: false,
                };
                taken.push(store.message_leases().retake(&claim).await.unwrap());
            }
            format!("{taken:?}")
        }
        "MessageLeases::switch_channel" => {
            let owner = store.new_writer_id();
            store.message_leases().acquire(owner, NEW_YEAR_2025, &[("msg_0", None)], &[]).await.unwrap();
            let ours =
                store.message_leases().switch_channel("msg_0", owner, Channel::Template).await.unwrap();
            let others = store
                .message_leases()
                .switch_channel("msg_0", store.new_writer_id(), Channel::CustomerService)
                .await
                .unwrap();
            format!("{ours}, {others}")
        }
        "MessageLeases::release" => {
            let owner = store.new_writer_id();
            store.message_leases().acquire(owner, NEW_YEAR_2025, &[("msg_0", template)], &[]).await.unwrap();
            let ours = store.message_leases().release("msg_0", owner, false).await.unwrap();
            let others = store.message_leases().release("msg_0", store.new_writer_id(), false).await.unwrap();
            // it is for those now who look at what was given back
            let (first, _) = lease_result(store, &["msg_0"], &[]).await;
            format!("{ours:?}, {others:?}, {first:?}")
        }
        "Messages::store_ended" => {
            let (owner, stranger) = (store.new_writer_id(), store.new_writer_id());
            store
                .message_leases()
                .acquire(owner, NEW_YEAR_2025, &[("msg_0", template), ("msg_1", template)], &[])
                .await
                .unwrap();
            let mut sent = message("msg_0");
            (sent.status, sent.channel) = (MessageStatus::Sent, template);
            (sent.wechat_msg_id, sent.sent_at) = (Some("200163836".into()), Some(NEW_YEAR_2025 * 1000));
            let ended = EndedMessage { owner, message: sent.clone(), event: Some(event("Smsg_0")) };
            if what.contains("settled") {
                store.messages().store_ended(std::slice::from_ref(&ended)).await.unwrap();
                store.messages().record_delivery("msg_0", MessageStatus::Delivered, None).await.unwrap();
            }
            let other = EndedMessage {
                owner: stranger,
                message: MessageRecord { id: "msg_1".into(), ..sent },
                event: None,
            };
            let kept = store.messages().store_ended(&[ended, other]).await.unwrap();
            let kept: Vec<_> = kept.into_iter().map(Result::unwrap).collect();
            let status =
                |id| async move { store.messages().get(TENANT_ID, id).await.unwrap().unwrap().status };
            let found =
                store.messages().by_wechat_id(TENANT_ID, APP_ID, "200163836").await.unwrap().is_some();
            format!("{kept:?}, {:?}, {:?}, {found}", status("msg_0").await, status("msg_1").await)
        }
        "Messages::restore_sent_records" => {
            let mut sent = message("msg_0");
            (sent.status, sent.channel) = (MessageStatus::Sent, template);
            (sent.wechat_msg_id, sent.sent_at) = (Some("200163836".into()), Some(NEW_YEAR_2025 * 1000));
            store.messages().restore_sent_records(&sent).await.unwrap();
            let found = store.messages().by_wechat_id(TENANT_ID, APP_ID, "200163836").await.unwrap();
            insert_result(found.is_some_and(|found| found.id == sent.id))
        }
        "Messages::record_delivery" => {
            let owner = store.new_writer_id();
            store.message_leases().acquire(owner, NEW_YEAR_2025, &[("msg_0", template)], &[]).await.unwrap();
            let sent = MessageRecord { status: MessageStatus::Sent, channel: template, ..message("msg_0") };
            store
                .messages()
                .store_ended(&[EndedMessage { owner, message: sent, event: None }])
                .await
                .unwrap();
            insert_result(
                store.messages().record_delivery("msg_0", MessageStatus::Delivered, None).await.unwrap(),
            )
        }
        "WaitingLines::join" | "WaitingLines::end" => {
            let by = Channel::Template;
            let one = WaitingMessage { fan: fan("o1"), channel: by, message: "msg_1", created_at: 1 };
            store.waiting_lines().join(&one, NEW_YEAR_2025 * 1000, true).await.unwrap();
            let two = WaitingMessage { message: "msg_2", created_at: 2, ..one };
            store.waiting_lines().join(&two, NEW_YEAR_2025 * 1000 + 1, false).await.unwrap();
            store.waiting_lines().join(&one, NEW_YEAR_2025 * 1000 + 2, true).await.unwrap(); // again, and is not the newest by that
            if what == "WaitingLines::end" {
                store.waiting_lines().end(fan("o1"), by, &waiting_line::position(1, "msg_1")).await.unwrap(); // it is not the newest
                store.waiting_lines().end(fan("o1"), by, &waiting_line::position(2, "msg_2")).await.unwrap();
            }
            let wanted =
                SendContextRequest { waiting_lines: vec![(fan("o1"), by)], ..SendContextRequest::default() };
            format!(
                "{:?}",
                store.send_contexts().read(&wanted).await.unwrap().waiting_line(fan("o1"), by).unwrap()
            )
        }
        _ => return None,
    })
}

async fn lease_result(store: &Store, ids: &[&str], uses: &[WindowUse<'_>]) -> (Vec<&'static str>, Vec<bool>) {
    let claims: Vec<_> = ids.iter().map(|id| (*id, Some(Channel::CustomerService))).collect();
    let (claims, used) =
        store.message_leases().acquire(store.new_writer_id(), NEW_YEAR_2025, &claims, uses).await.unwrap();
    let word = |claim: LeaseAttempt| match claim {
        LeaseAttempt::Acquired => "ours",
        LeaseAttempt::AlreadyTaken(Some(message)) if message.status == MessageStatus::Sending => "another's",
        LeaseAttempt::AlreadyTaken(Some(_)) => "taken before",
        LeaseAttempt::AlreadyTaken(None) => "gone",
        LeaseAttempt::Failed(error) => panic!("{error}"),
    };
    (claims.into_iter().map(word).collect(), used)
}

fn window(used: u32) -> WindowUse<'static> {
    let mut windows = shared::model::window::Windows::default();
    (windows.message_at, windows.message_used) = (Some(NEW_YEAR_2025), used);
    WindowUse { fan: fan("o1"), kind: WindowKind::Message, windows }
}

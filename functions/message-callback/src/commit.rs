//! Writes what a push leaves.

use shared::{
    error::Error,
    ids,
    model::{
        event::{StoredEvent, TimelineOwner},
        fan::FanId,
        push_decision::{Decision, PushEvent, PushJob, RuleReply},
    },
    queue::jobs::{FollowerJob, SendJob},
    services::Services,
    store::timeline::EventInsert,
};

/// Stores the event and the fan's activity and queues the job, all at once: WeChat waits. Each may be repeated,
/// and all are awaited, so that a failure of one does not abort the others. Returns the passive reply of the
/// event as it was first stored: a repeated push gets the reply of then.
pub(crate) async fn commit(
    app: &Services,
    fan: FanId<'_>,
    decision: Decision,
) -> Result<Option<String>, Error> {
    let Decision { event, activity, active_at, job, reply } = decision;
    let (owner, open_id) = match activity {
        Some(_) => (TimelineOwner::Fan(fan), fan.open_id),
        None => (TimelineOwner::Account { tenant: fan.tenant, app_id: fan.app_id }, ""),
    };
    let event = stored_event(fan.app_id, open_id, event, reply);
    let record_activity = async {
        match &activity {
            Some(activity) => {
                app.store.fans().record_activity(fan, activity, active_at, &event.identity).await
            }
            None => Ok(()),
        }
    };
    let queue_job = async {
        match job {
            Some(job) => queue_job(app, fan, job, event.at).await,
            None => Ok(()),
        }
    };
    let (inserted, recorded, queued) =
        futures::join!(app.store.timeline().insert_once(owner, &event), record_activity, queue_job);
    let (inserted, (), ()) = (inserted?, recorded?, queued?);
    let event = match inserted {
        EventInsert::Existing(before) => *before,
        EventInsert::New => event,
    };
    if let Some(content) = &event.sends {
        queue_rule_reply(app, fan, &event, content).await?;
    }
    Ok(event.reply)
}

fn stored_event(app_id: &str, open_id: &str, event: PushEvent, reply: Option<RuleReply>) -> StoredEvent {
    let PushEvent { identity, kind, at, detail } = event;
    let (reply, sends) = match reply {
        Some(RuleReply::Passive(xml)) => (Some(xml), None),
        Some(RuleReply::Message(content)) => (None, Some(content)),
        None => (None, None),
    };
    StoredEvent { identity, kind, at, app_id: app_id.into(), open_id: open_id.into(), detail, reply, sends }
}

async fn queue_job(app: &Services, fan: FanId<'_>, job: PushJob, at: i64) -> Result<(), Error> {
    let (tenant_id, app_id) = (fan.tenant.to_owned(), fan.app_id.to_owned());
    match job {
        PushJob::FetchFollower => {
            let job = FollowerJob::FanV1 { app_id, tenant_id, open_id: fan.open_id.into(), at };
            app.queues.follower(&job).await
        }
        PushJob::StoreDelivery { wechat_msg_id, status } => {
            let job = SendJob::TemplateResultV1 { tenant_id, app_id, wechat_msg_id, status };
            app.queues.result(&job, fan.tenant).await
        }
    }
}

/// Queues the customer-service message of a reply rule. Its id derives from the event, so that a redelivery
/// queues the same message.
async fn queue_rule_reply(
    app: &Services,
    fan: FanId<'_>,
    event: &StoredEvent,
    content: &str,
) -> Result<(), Error> {
    let message_id = ids::derived("msg", &[fan.tenant, fan.app_id, fan.open_id, &event.identity]);
    let job = SendJob::MessageV1 {
        message_id: message_id.clone(),
        tenant_id: fan.tenant.into(),
        app_id: fan.app_id.into(),
        to: fan.open_id.into(),
        content: serde_json::from_str(content).ok(),
        template: None,
        created_at: app.clock.now().as_millisecond(),
    };
    app.queues.send(&job, &message_id).await
}

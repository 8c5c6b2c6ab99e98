//! Fans: what an account's followers recently said and did, and what WeChat knows of them.
//!
//! A fan's item consists of registers, each with its own time; a write is conditional on that time, so
//! pushes may come twice, late and in any order: a redelivery changes nothing.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    dynamo::{
        Attributes,
        batch_operations::BATCH_WRITE,
        conditional_write::ConditionalWrite,
        database::Database,
        from_item, n, s,
        statement::{Statement, StatementResult},
        to_attr, to_item,
        update::Update,
    },
    keys::{self, Key},
};
use crate::{
    error::Error,
    ids,
    model::{
        fan::{Fan, FanId, QrScene, unionid_customer_id},
        push_decision::FanActivity,
    },
    wechat::user::UserInfo,
};

/// A fan who followed this shortly before an import began may not be on WeChat's list yet, seconds: an import
/// that does not list them proves nothing.
const LIST_LAG_SECONDS: i64 = 600;

/// Follows and unfollows of one fan within one second that are recorded: more than a finger can do.
const MAX_STATUS_CHANGES_PER_SECOND: usize = 20;

/// The shard of the index `people` that a customer is in.
#[must_use]
pub fn customer_shard(customer_id: &str) -> u32 {
    ids::shard(customer_id, keys::CUSTOMER_SHARDS)
}

/// A text that WeChat did not leave empty.
fn non_empty(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// Details of a fan from WeChat, to be stored.
pub struct FanDetails<'a> {
    /// WeChat's response. Without `subscribe` it only says that they were listed as a follower.
    pub info: &'a UserInfo,
    /// Statuses of this time or later are kept, unix seconds: when the import began, or when the follow was pushed.
    pub as_of: i64,
    /// The import; none for a new follower.
    pub import_id: Option<&'a str>,
}

/// The followers of accounts.
#[derive(Clone, Copy)]
pub struct Fans<'a> {
    pub(super) db: &'a Database,
}

impl Fans<'_> {
    /// Stores what the push `identity` of `at` says of its sender. Newer pushes win, and the same push twice
    /// changes nothing. Of several follows and unfollows within one second the last one received wins: the
    /// fan stores the identities of that second, so that each counts once, even if a write beside it failed.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn record_activity(
        self,
        fan: FanId<'_>,
        activity: &FanActivity,
        at: i64,
        identity: &str,
    ) -> Result<(), Error> {
        let customer = fan.openid_customer_id();
        let base = Update::new()
            .set_if_absent("tenant_id", s(fan.tenant))
            .set_if_absent("app_id", s(fan.app_id))
            .set_if_absent("open_id", s(fan.open_id))
            .set_if_absent("people", s(keys::customers_partition(fan.tenant, customer_shard(&customer))))
            .set_if_absent("customer_id", s(customer))
            .set_if_absent("created_at", n(at));
        let yes = AttributeValue::Bool(true);
        let (update, register) = match activity {
            FanActivity::Followed { scene } => {
                let update = base
                    .set("subscribed", yes)
                    .set("subscribed_at", n(at))
                    .set("follow_at", n(at))
                    .set("follow_used", n(0))
                    .remove("subscribe_scene"); // of the follow before; user/info tells this one's
                (set_scene(update, QrScene::from_push(scene.as_deref())), "status_at")
            }
            FanActivity::Unfollowed => (
                base.set("subscribed", AttributeValue::Bool(false)).set("unsubscribed_at", n(at)),
                "status_at",
            ),
            FanActivity::Message => {
                (base.set_if_absent("subscribed", yes).set("message_used", n(0)), "message_at")
            }
            FanActivity::Menu => (base.set_if_absent("subscribed", yes).set("menu_used", n(0)), "menu_at"),
            FanActivity::Other => (base, "seen_at"),
        };
        let is_status = register == "status_at";
        let identity_set = AttributeValue::Ss(vec![identity.to_owned()]);
        let newer =
            if is_status { update.clone().set("status_ids", identity_set.clone()) } else { update.clone() };
        let newer = newer
            .set(register, n(at))
            .when(&format!("attribute_not_exists(#{register}) OR #{register} < :at"), &[(":at", n(at))]);
        let refused = match self.db.update(&self.db.customers, &fan_key(fan), newer).await? {
            ConditionalWrite::ConditionFailed(Some(item)) => item,
            ConditionalWrite::Done(_) | ConditionalWrite::ConditionFailed(None) => return Ok(()),
        };
        let already_counted = match refused.get("status_ids") {
            Some(AttributeValue::Ss(ids)) => ids.iter().any(|id| id == identity),
            _ => false,
        };
        if !is_status || refused.get(register) != Some(&n(at)) || already_counted {
            return Ok(());
        }
        let same_second = update.add("status_ids", identity_set).when(
            "status_at = :at AND (attribute_not_exists(status_ids) \
             OR (NOT contains(status_ids, :id) AND size(status_ids) < :most))",
            &[(":at", n(at)), (":id", s(identity)), (":most", n(MAX_STATUS_CHANGES_PER_SECOND))],
        );
        // the condition fails where this push is counted by now, or where a newer one came
        self.db.update(&self.db.customers, &fan_key(fan), same_second).await.map(drop)
    }

    /// One fan.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get(self, fan: FanId<'_>) -> Result<Option<Fan>, Error> {
        self.db.get(&self.db.customers, &fan_key(fan)).await
    }

    /// Several fans of one account, in no order; missing ones are left out.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn get_many(self, tenant: &str, app_id: &str, open_ids: &[&str]) -> Result<Vec<Fan>, Error> {
        let keys: Vec<_> = open_ids.iter().map(|id| keys::fan(tenant, app_id, id)).collect();
        self.db.get_many(&self.db.customers, &keys).await?.into_iter().map(from_item).collect()
    }

    /// Inserts fans, one write each; returns for each whether it was new. A fan inserted by this call whose
    /// answer was lost counts as an existing one, and its details are then stored a second time.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn insert(
        self,
        tenant: &str,
        app_id: &str,
        details: &[FanDetails<'_>],
    ) -> Result<Vec<bool>, Error> {
        let now = self.db.clock.unix();
        let statements = details
            .iter()
            .map(|d| {
                let id = FanId { tenant, app_id, open_id: &d.info.openid };
                let fan = to_item(&fan_key(id), &new_fan(id, d, now), None)?;
                Ok(Statement::insert(&self.db.customers, fan))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let batches = statements.chunks(BATCH_WRITE).map(|some| self.db.execute_statements(some));
        // run all of them to their end: a dropped batch may or may not happen, and we would not know
        let answers = futures::future::join_all(batches).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        answers.into_iter().flatten().map(StatementResult::into_done).collect()
    }

    /// Stores details of an existing fan: the status only where no event of `as_of` or later changed it; of the rest what
    /// WeChat may change while they follow (gender and places come with the first insert alone). Returns the customer that the fan left, where a union id made it another one's.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn update(self, before: &Fan, details: &FanDetails<'_>) -> Result<Option<String>, Error> {
        let id = FanId { tenant: &before.tenant_id, app_id: &before.app_id, open_id: &before.open_id };
        let info = details.info;
        let mut update = Update::new();
        let text = |v: &str| non_empty(v).map(s);
        let follows = !info.has_unsubscribed();
        if follows && info.subscribe.is_some() {
            update = set_scene(update, scene_of(info))
                .set_or_remove("subscribe_scene", text(&info.subscribe_scene))
                .set_some("language", text(&info.language))
                // empty since 2021, which says nothing: keep what was known
                .set_some("nickname", text(&info.nickname))
                .set_some("avatar_url", text(&info.headimgurl))
                .set("tag_ids", to_attr(&info.tagid_list)?)
                .set("remark", s(&info.remark));
        }
        let union = Some(info.unionid.as_str()).filter(|u| !u.is_empty());
        let customer = union.map(|u| unionid_customer_id(id.tenant, u)).filter(|c| *c != before.customer_id);
        update = update.set_some("union_id", union.map(s));
        let mut condition = "attribute_exists(pk)".to_owned();
        let mut values = Vec::new();
        if let Some(import) = details.import_id {
            update = update.set("seen_import", s(import)).set("seen_import_at", n(details.as_of));
            // a job of an import that has ended may come late
            condition += " AND (attribute_not_exists(seen_import_at) OR seen_import_at <= :as_of)";
            values.push((":as_of", n(details.as_of)));
        }
        if let Some(customer) = &customer {
            update = update
                .set("people", s(keys::customers_partition(id.tenant, customer_shard(customer))))
                .set("customer_id", s(customer));
        }
        let status = update
            .clone()
            .set("subscribed", AttributeValue::Bool(follows))
            .set_some("subscribed_at", info.subscribe_time.filter(|_| follows).map(n))
            .when(
                &format!("{condition} AND (attribute_not_exists(status_at) OR status_at < :as_of)"),
                &[(":as_of", n(details.as_of))],
            );
        if !self.db.update(&self.db.customers, &fan_key(id), status).await?.is_done() {
            let nothing = update.is_empty(); // DynamoDB refuses an update that sets nothing
            let update = update.when(&condition, &values);
            if nothing || !self.db.update(&self.db.customers, &fan_key(id), update).await?.is_done() {
                return Ok(None);
            }
        }
        Ok(customer.map(|_| before.customer_id.clone()))
    }

    /// Marks a fan whom `import_id` did not list as unsubscribed, unless they did something since
    /// `started_at`, or followed or left in the [`LIST_LAG_SECONDS`] before. `subscribed` is removed rather
    /// than set to false: it was only inferred, so a later message or click makes them a follower again.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn mark_unsubscribed(
        self,
        fan: FanId<'_>,
        import_id: &str,
        started_at: i64,
    ) -> Result<bool, Error> {
        let update = Update::new()
            .remove("subscribed")
            .set("unsubscribed_at", n(started_at))
            .set("status_at", n(started_at))
            .remove("status_ids") // they belong to the second of the old status
            .set("gone_import", s(import_id))
            .when(
                "subscribed = :yes AND created_at < :started \
                 AND (attribute_not_exists(seen_import_at) OR seen_import_at < :started) \
                 AND (attribute_not_exists(status_at) OR status_at < :lately) \
                 AND (attribute_not_exists(message_at) OR message_at < :started) \
                 AND (attribute_not_exists(menu_at) OR menu_at < :started)",
                &[
                    (":yes", AttributeValue::Bool(true)),
                    (":started", n(started_at)),
                    (":lately", n(started_at - LIST_LAG_SECONDS)),
                ],
            );
        // our own write whose answer was lost is recognised by the import
        let ours = |item: &Attributes| item.get("gone_import").is_some_and(|by| *by == s(import_id));
        Ok(self.db.update(&self.db.customers, &fan_key(fan), update).await?.or_done_if(ours).is_done())
    }
}

fn fan_key(fan: FanId<'_>) -> Key {
    keys::fan(fan.tenant, fan.app_id, fan.open_id)
}

/// Stores a scene; removes what an earlier follow left.
fn set_scene(update: Update, scene: QrScene) -> Update {
    update.set_or_remove("qr_scene", scene.number.map(n)).set_or_remove("qr_scene_str", scene.text.map(s))
}

fn scene_of(info: &UserInfo) -> QrScene {
    QrScene::from_info(info.qr_scene, &info.qr_scene_str)
}

/// A fan who is stored for the first time. A new member goes into [`Fans::update`] too.
fn new_fan(id: FanId<'_>, details: &FanDetails<'_>, now: i64) -> Fan {
    let info = details.info;
    let union_id = non_empty(&info.unionid);
    let scene = scene_of(info);
    let customer_id =
        union_id.as_deref().map_or_else(|| id.openid_customer_id(), |u| unionid_customer_id(id.tenant, u));
    Fan {
        tenant_id: id.tenant.into(),
        app_id: id.app_id.into(),
        open_id: id.open_id.into(),
        people: keys::customers_partition(id.tenant, customer_shard(&customer_id)),
        customer_id,
        subscribed: !info.has_unsubscribed(),
        subscribed_at: info.subscribe_time,
        subscribe_scene: non_empty(&info.subscribe_scene),
        qr_scene: scene.number,
        qr_scene_str: scene.text,
        union_id,
        nickname: non_empty(&info.nickname),
        avatar_url: non_empty(&info.headimgurl),
        gender: Some(info.sex).filter(|v| *v != 0),
        country: non_empty(&info.country),
        province: non_empty(&info.province),
        city: non_empty(&info.city),
        language: non_empty(&info.language),
        remark: (!info.has_unsubscribed() && info.subscribe.is_some()).then(|| info.remark.clone()),
        tag_ids: info.tagid_list.clone(),
        created_at: now,
        seen_import: details.import_id.map(str::to_owned),
        seen_import_at: details.import_id.map(|_| details.as_of),
        ..Fan::default()
    }
}

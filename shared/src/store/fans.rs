//! Fans: what an account's followers recently said and did, and what WeChat knows of them.
//!
//! A fan's item consists of registers, each with its own time; a write is conditional on that time, so
//! pushes may come twice, late and in any order: a redelivery changes nothing.

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::{
    Store,
    batch_operations::{BATCH_WRITE, Statement, StatementResult},
    dynamo::{Attributes, ConditionalWrite, Update, from_item, n, s, to_attr, to_item},
    keys,
};
use crate::{
    error::Error,
    ids,
    model::{push_decision::FanActivity, window::Windows},
    wechat::user::UserInfo,
};

/// A fan who followed this shortly before an import began may not be on WeChat's list yet, seconds: an import
/// that does not list them proves nothing.
const LIST_LAG_SECONDS: i64 = 600;

/// Follows and unfollows of one fan within one second that are recorded: more than a finger can do.
const MAX_STATUS_CHANGES_PER_SECOND: usize = 20;

/// One follower of one account, with the tenant that has it.
#[derive(Debug, Clone, Copy)]
pub struct FanId<'a> {
    /// The tenant.
    pub tenant: &'a str,
    /// The account.
    pub app_id: &'a str,
    /// The follower.
    pub open_id: &'a str,
}

impl FanId<'_> {
    /// The customer id of this fan until a union id is known.
    #[must_use]
    pub fn openid_customer_id(&self) -> String {
        ids::derived("cus", &[self.tenant, "openid", self.app_id, self.open_id])
    }

    fn key(&self) -> keys::Key {
        keys::fan(self.tenant, self.app_id, self.open_id)
    }
}

/// The customer id of all fans with this union id.
#[must_use]
pub fn unionid_customer_id(tenant: &str, union_id: &str) -> String {
    ids::derived("cus", &[tenant, "unionid", union_id])
}

/// The shard of the index `people` that a customer is in.
#[must_use]
pub fn customer_shard(customer_id: &str) -> u32 {
    ids::shard(customer_id, keys::CUSTOMER_SHARDS)
}

/// A fan as stored. Times are unix seconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Fan {
    /// The tenant.
    pub tenant_id: String,
    /// The account.
    pub app_id: String,
    /// The follower.
    pub open_id: String,
    /// The customer.
    pub customer_id: String,
    /// Partition of the customer in the index `people`.
    pub people: String,
    /// Whether they follow; the attribute is missing where an import inferred that they do not.
    pub subscribed: bool,
    /// Since when `subscribed` is as it is.
    pub status_at: Option<i64>,
    /// When they followed (last).
    pub subscribed_at: Option<i64>,
    /// When they left (last).
    pub unsubscribed_at: Option<i64>,
    /// WeChat's `subscribe_scene`.
    pub subscribe_scene: Option<String>,
    /// Numeric scene of the QR code that they followed by.
    pub qr_scene: Option<i64>,
    /// String scene of the QR code that they followed by.
    pub qr_scene_str: Option<String>,
    /// Across the accounts of one open-platform account.
    pub union_id: Option<String>,
    /// From OAuth; user/info has not returned it since 2021.
    pub nickname: Option<String>,
    /// Head picture.
    pub avatar_url: Option<String>,
    /// 0 unknown, 1 male, 2 female; not returned since 2021.
    pub gender: Option<i64>,
    /// Not told since 2021.
    pub country: Option<String>,
    /// Not told since 2021.
    pub province: Option<String>,
    /// Not told since 2021.
    pub city: Option<String>,
    /// `zh_CN`, …
    pub language: Option<String>,
    /// The account's note.
    pub remark: Option<String>,
    /// WeChat's tags.
    pub tag_ids: Vec<i64>,
    /// When the last message came.
    pub message_at: Option<i64>,
    /// Sends since.
    pub message_used: u32,
    /// When the last menu click or scan came.
    pub menu_at: Option<i64>,
    /// Sends since.
    pub menu_used: u32,
    /// When the last follow came.
    pub follow_at: Option<i64>,
    /// Sends since.
    pub follow_used: u32,
    /// When they last did anything else.
    pub seen_at: Option<i64>,
    /// When the item was made.
    pub created_at: i64,
    /// The import that last listed them.
    pub seen_import: Option<String>,
    /// When that import began: an import that is over never overrides a later one.
    pub seen_import_at: Option<i64>,
    /// The import that did not list them any more.
    pub gone_import: Option<String>,
}

impl Fan {
    /// The reply windows.
    #[must_use]
    pub fn windows(&self) -> Windows {
        Windows {
            message_at: self.message_at,
            message_used: self.message_used,
            menu_at: self.menu_at,
            menu_used: self.menu_used,
            follow_at: self.follow_at,
            follow_used: self.follow_used,
        }
    }

    /// When they last did something.
    #[must_use]
    pub fn last_interaction(&self) -> Option<i64> {
        [self.message_at, self.menu_at, self.follow_at, self.seen_at, self.status_at]
            .into_iter()
            .flatten()
            .max()
    }
}

/// The scene of the QR code that a fan followed by: WeChat has either a number or a text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QrScene {
    /// Of a code that was made with a number.
    pub number: Option<i64>,
    /// Of a code that was made with a text.
    pub text: Option<String>,
}

impl QrScene {
    /// From a push, which has a number as text. A text that WeChat would accept as a number, 1 to 2³² - 1 as
    /// usually written, is one until user/info says otherwise; `00123` and `+8613800000000` are texts.
    #[must_use]
    pub fn from_push(scene: Option<&str>) -> Self {
        let Some(text) = scene.filter(|text| !text.is_empty()) else { return Self::default() };
        match text.parse::<u32>() {
            Ok(number) if number > 0 && number.to_string() == text => {
                Self { number: Some(number.into()), text: None }
            }
            _ => Self { number: None, text: Some(text.to_owned()) },
        }
    }

    /// From user/info of a follower.
    #[must_use]
    pub fn from_info(info: &UserInfo) -> Self {
        Self {
            number: Some(info.qr_scene).filter(|number| *number != 0),
            text: non_empty(&info.qr_scene_str),
        }
    }

    /// Removes what an earlier follow left.
    fn apply_to(self, update: Update) -> Update {
        update.set_or_remove("qr_scene", self.number.map(n)).set_or_remove("qr_scene_str", self.text.map(s))
    }
}

/// A text that WeChat did not leave empty.
fn non_empty(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// Details of a fan from WeChat, to be stored by an import.
pub struct FanDetails<'a> {
    /// WeChat's response. Without `subscribe` it only says that they were listed as a follower.
    pub info: &'a UserInfo,
    /// Statuses of this time or later are kept, unix seconds: when the import began.
    pub as_of: i64,
    /// The import; none for a single fan.
    pub import_id: Option<&'a str>,
}

impl Store {
    /// Stores what the push `identity` of `at` says of its sender. Newer pushes win, and the same push twice
    /// changes nothing. Of several follows and unfollows within one second the last one received wins: the
    /// fan stores the identities of that second, so that each counts once, even if a write beside it failed.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn record_fan_activity(
        &self,
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
                (QrScene::from_push(scene.as_deref()).apply_to(update), "status_at")
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
        let refused = match self.update(&self.customers, &fan.key(), newer).await? {
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
        self.update(&self.customers, &fan.key(), same_second).await.map(drop)
    }

    /// One fan.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn fan(&self, fan: FanId<'_>) -> Result<Option<Fan>, Error> {
        self.get(&self.customers, &fan.key()).await
    }

    /// Several fans of one account, in no order; missing ones are left out.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn fans(&self, tenant: &str, app_id: &str, open_ids: &[&str]) -> Result<Vec<Fan>, Error> {
        let keys: Vec<_> = open_ids.iter().map(|id| keys::fan(tenant, app_id, id)).collect();
        self.get_many(&self.customers, &keys).await?.into_iter().map(from_item).collect()
    }

    /// Inserts fans, one write each; returns for each whether it was new. A fan inserted by this call whose
    /// answer was lost counts as an existing one, and its details are then stored a second time.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn insert_fans(
        &self,
        tenant: &str,
        app_id: &str,
        details: &[FanDetails<'_>],
    ) -> Result<Vec<bool>, Error> {
        let now = self.clock.unix();
        let statements = details
            .iter()
            .map(|d| {
                let id = FanId { tenant, app_id, open_id: &d.info.openid };
                let fan = to_item(&id.key(), &new_fan(id, d, now), None)?;
                Ok(Statement::insert(&self.customers, fan))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let batches = statements.chunks(BATCH_WRITE).map(|some| self.execute_statements(some));
        // run all of them to their end: a dropped batch may or may not happen, and we would not know
        let answers = futures::future::join_all(batches).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        answers.into_iter().flatten().map(StatementResult::into_done).collect()
    }

    /// Stores details of an existing fan: the status only where no event of `as_of` or later changed it,
    /// the rest always. Returns the customer that the fan left, where a union id made it another one's.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn update_fan(&self, before: &Fan, details: &FanDetails<'_>) -> Result<Option<String>, Error> {
        let id = FanId { tenant: &before.tenant_id, app_id: &before.app_id, open_id: &before.open_id };
        let info = details.info;
        let mut update = Update::new();
        let text = |v: &str| non_empty(v).map(s);
        let follows = !info.has_unsubscribed();
        if follows && info.subscribe.is_some() {
            update = QrScene::from_info(info)
                .apply_to(update)
                .set_or_remove("subscribe_scene", text(&info.subscribe_scene))
                .set_some("language", text(&info.language))
                // empty since 2021, which says nothing: keep what OAuth returned
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
        if !self.update(&self.customers, &id.key(), status).await?.is_done() {
            let nothing = update.is_empty(); // DynamoDB refuses an update that sets nothing
            let update = update.when(&condition, &values);
            if nothing || !self.update(&self.customers, &id.key(), update).await?.is_done() {
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
        &self,
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
        Ok(self.update(&self.customers, &fan.key(), update).await?.or_done_if(ours).is_done())
    }
}

/// A fan who is stored for the first time.
fn new_fan(id: FanId<'_>, details: &FanDetails<'_>, now: i64) -> Fan {
    let info = details.info;
    let union_id = non_empty(&info.unionid);
    let scene = QrScene::from_info(info);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_of_a_push_is_a_number_where_wechat_takes_it_for_one() {
        let scene = |number: i64, text: &str| QrScene {
            number: Some(number).filter(|v| *v != 0),
            text: non_empty(text),
        };
        for (what, pushed, expected) in [
            ("a follow by search", None, scene(0, "")),
            ("an empty scene", Some(""), scene(0, "")),
            ("a number", Some("123"), scene(123, "")),
            ("the greatest number", Some("4294967295"), scene(4_294_967_295, "")),
            ("a greater one", Some("4294967296"), scene(0, "4294967296")),
            ("zero, which no code has", Some("0"), scene(0, "0")),
            ("digits after zeros", Some("00123"), scene(0, "00123")),
            ("a telephone number", Some("+8613800000000"), scene(0, "+8613800000000")),
            ("one without its plus", Some("13800000000"), scene(0, "13800000000")),
            ("a plus before a small number", Some("+5"), scene(0, "+5")),
            ("a negative number", Some("-5"), scene(0, "-5")),
            ("digits between blanks", Some(" 5"), scene(0, " 5")),
            ("a fraction", Some("1.5"), scene(0, "1.5")),
            ("digits of another script", Some("١٢٣"), scene(0, "١٢٣")),
            ("a word", Some("shelf7"), scene(0, "shelf7")),
        ] {
            assert_eq!(QrScene::from_push(pushed), expected, "{what}");
        }
    }
}

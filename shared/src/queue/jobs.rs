//! Bodies of SQS messages. Add variants and never change one: messages of the last release are still queued.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::Value;

use crate::{ids, secret::Secret};

/// Serializes a secret that a queue has to carry; its `Debug` shows nothing of it.
fn exposed<S: Serializer>(secret: &Secret, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose())
}

/// For `authorization-callback`: what takes longer than WeChat waits for a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum AuthorizationJob {
    /// An `authorized` or `updateauthorized` event. The code is single-use and expires within the hour.
    AuthorizedV1 {
        /// The account.
        app_id: String,
        /// WeChat's authorization code.
        #[serde(serialize_with = "exposed")]
        code: Secret,
        /// The pre_auth_code of the authorization page, which leads to the binding.
        #[serde(serialize_with = "exposed")]
        pre_auth_code: Secret,
    },
    /// The same, with the time of the event.
    AuthorizedV2 {
        /// The account.
        app_id: String,
        /// WeChat's authorization code.
        #[serde(serialize_with = "exposed")]
        code: Secret,
        /// The authorization page's pre_auth_code, which leads to the binding. Empty if WeChat sent none.
        #[serde(serialize_with = "exposed")]
        pre_auth_code: Secret,
        /// The event's `CreateTime`, unix seconds.
        at: i64,
    },
    /// An account was deleted by its tenant, or is about to be: its tokens are not needed any more.
    DeletedV1 {
        /// The account.
        app_id: String,
    },
    /// An `unauthorized` event.
    UnauthorizedV1 {
        /// The account.
        app_id: String,
        /// The event's `CreateTime`, unix seconds: it does not unbind a newer authorization.
        at: i64,
    },
}

/// For `token-refresh`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RefreshJob {
    /// Tokens of these accounts are due.
    AuthorizersV1 {
        /// At most [`MAX_REFRESH_ACCOUNTS`].
        app_ids: Vec<String>,
    },
    /// The same again, because a refresh failed for an outside reason.
    AuthorizersAgainV1 {
        /// At most [`MAX_REFRESH_ACCOUNTS`].
        app_ids: Vec<String>,
        /// When the first attempt failed, unix seconds.
        since: i64,
    },
    /// More timers are due in these shards than the tick queues by itself.
    TimersV1 {
        /// The shards.
        shards: Vec<u32>,
    },
}

/// Accounts in one [`RefreshJob::AuthorizersV1`].
pub const MAX_REFRESH_ACCOUNTS: usize = 25;

/// Which import a job belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRef {
    /// The import.
    pub import_id: String,
    /// The account.
    pub app_id: String,
    /// Its tenant.
    pub tenant_id: String,
}

/// For `follower-import`: a step of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ImportJob {
    /// List one page of openids and queue its chunks.
    PageV1 {
        /// The import.
        #[serde(flatten)]
        import: ImportRef,
        /// 0 for the first.
        page: u32,
        /// WeChat's `next_openid` of the page before; empty for the first.
        cursor: String,
    },
    /// Fetch the details of at most 100 followers and store them.
    ChunkV1 {
        /// The import.
        #[serde(flatten)]
        import: ImportRef,
        /// The page they were listed on.
        page: u32,
        /// The number of the chunk on the page.
        chunk: u32,
        /// How many chunks the page has: when all have their receipt, the page is done.
        chunks: u32,
        /// When the import began, unix seconds: what later events changed is kept.
        started_at: i64,
        /// Whom to fetch.
        open_ids: Vec<String>,
    },
    /// Mark the fans that the import did not list as unsubscribed, in one shard of the tenant's customers.
    ReconcileV1 {
        /// The import.
        #[serde(flatten)]
        import: ImportRef,
        /// The shard.
        shard: u32,
        /// Where the page before ended.
        cursor: Option<String>,
    },
    /// Enqueue those chunks of a listed page that have no receipt.
    FanOutV1 {
        /// The import.
        #[serde(flatten)]
        import: ImportRef,
        /// The page.
        page: u32,
    },
    /// Check whether a paused import may resume.
    ResumeV1 {
        /// The import.
        #[serde(flatten)]
        import: ImportRef,
    },
    /// The import made no progress for a while: queue its next jobs again.
    TakeUpV1 {
        /// The import.
        #[serde(flatten)]
        import: ImportRef,
    },
}

impl ImportJob {
    /// The import that it belongs to.
    #[must_use]
    pub fn import(&self) -> &ImportRef {
        match self {
            Self::PageV1 { import, .. }
            | Self::ChunkV1 { import, .. }
            | Self::ReconcileV1 { import, .. }
            | Self::FanOutV1 { import, .. }
            | Self::ResumeV1 { import }
            | Self::TakeUpV1 { import } => import,
        }
    }

    /// The tenant, as the fair-share group of the queue.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.import().tenant_id
    }
}

/// For `follower-import`, in a queue of its own: a single follower, of no import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FollowerJob {
    /// A fan just followed: fetch what the push does not contain (union id, scene, tags).
    FanV1 {
        /// The account.
        app_id: String,
        /// Its tenant.
        tenant_id: String,
        /// The follower.
        open_id: String,
        /// The push's `CreateTime`, unix seconds.
        at: i64,
    },
}

impl FollowerJob {
    /// The tenant, as the fair-share group of the queue.
    #[must_use]
    pub fn tenant(&self) -> &str {
        let Self::FanV1 { tenant_id, .. } = self;
        tenant_id
    }
}

/// What `follower-import` receives, from either of its queues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum FollowerImportJob {
    /// Of a single follower.
    Follower(FollowerJob),
    /// Of an import.
    Import(ImportJob),
}

impl<'de> Deserialize<'de> for FollowerImportJob {
    /// By hand, because the error of an untagged enum does not say what is wrong.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let body = Value::deserialize(from)?;
        let import = |_| ImportJob::deserialize(&body).map(Self::Import).map_err(D::Error::custom);
        FollowerJob::deserialize(&body).map(Self::Follower).or_else(import)
    }
}

/// For `message-send`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SendJob {
    /// Send a message: one that the API stored, or a reply rule's, whose record is made when it is sent.
    MessageV1 {
        /// The message.
        message_id: String,
        /// Its tenant.
        tenant_id: String,
        /// The account that sends it.
        app_id: String,
        /// The openid that gets it.
        to: String,
        /// WeChat's customer-service message, without `touser`.
        content: Option<Value>,
        /// `template_id`, `url`, `miniprogram`, `data`.
        template: Option<Value>,
        /// When it was accepted, unix milliseconds.
        created_at: i64,
    },
    /// Send a stored message that waited in a timer. Its content is in its record.
    WaitedV1 {
        /// The message.
        message_id: String,
        /// Its tenant.
        tenant_id: String,
        /// The account that sends it.
        app_id: String,
        /// The openid that gets it.
        to: String,
        /// When it was accepted, unix milliseconds.
        created_at: i64,
    },
    /// WeChat's report of the delivery of a template message.
    TemplateResultV1 {
        /// The tenant.
        tenant_id: String,
        /// The account.
        app_id: String,
        /// WeChat's `MsgID`.
        wechat_msg_id: String,
        /// `success`, `failed:user block`, `failed: system failed`.
        status: String,
    },
    /// WeChat's full-network-release check: exchange the code, answer `<code>_from_api`.
    ReleaseCheckV1 {
        /// The test account.
        app_id: String,
        /// The code that the message carried.
        #[serde(serialize_with = "exposed")]
        code: Secret,
        /// Who sent it.
        open_id: String,
    },
}

/// Longest message group that SQS accepts, in characters.
const MAX_GROUP_ID_LENGTH: usize = 128;

impl SendJob {
    /// The message group: jobs of one fan of one account stay in order.
    #[must_use]
    pub fn group(&self) -> String {
        match self {
            Self::MessageV1 { app_id, to, .. } | Self::WaitedV1 { app_id, to, .. } => fan_group(app_id, to),
            Self::ReleaseCheckV1 { app_id, open_id, .. } => fan_group(app_id, open_id),
            Self::TemplateResultV1 { tenant_id, .. } => tenant_id.clone(),
        }
    }
}

/// The message group of a fan's jobs. SQS accepts visible ASCII only, which every real openid is.
fn fan_group(app_id: &str, open_id: &str) -> String {
    let group = format!("{app_id}#{open_id}");
    let right = group.len() <= MAX_GROUP_ID_LENGTH && group.bytes().all(|byte| byte.is_ascii_graphic());
    if right { group } else { ids::fingerprint(&[app_id, open_id]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_one_that_sqs_takes_and_each_followers_own() {
        let app = "wx5a1b2c3d4e5f6071";
        let usual = "oHub0aBcDeFgHiJkLmNoPqRsTuV1";
        assert_eq!(fan_group(app, usual), format!("{app}#{usual}"));
        let strange = ["o 1", "o\u{1}", "o你好", &"o".repeat(200), &"o".repeat(199)];
        let mut groups = std::collections::BTreeSet::new();
        for open_id in strange {
            let waited = SendJob::WaitedV1 {
                message_id: "msg_1".into(),
                tenant_id: "ten_1".into(),
                app_id: app.into(),
                to: open_id.into(),
                created_at: 0,
            };
            let group = waited.group();
            assert!(
                group.len() <= MAX_GROUP_ID_LENGTH && group.bytes().all(|b| b.is_ascii_graphic()),
                "{group}"
            );
            groups.insert(group);
        }
        assert_eq!(groups.len(), strange.len(), "two followers share one");
    }

    #[test]
    fn a_jobs_debug_shows_no_code() {
        let json = |kind: &str, member: &str| {
            format!(
                r#"{{"type":"{kind}","app_id":"wx1","code":"hidden","{member}":"hidden","at":1,"open_id":"o1"}}"#
            )
        };
        let authorized =
            |kind| serde_json::from_str::<AuthorizationJob>(&json(kind, "pre_auth_code")).unwrap();
        let check = serde_json::from_str::<SendJob>(&json("release_check_v1", "more")).unwrap();
        for shown in [
            format!("{:?}", authorized("authorized_v1")),
            format!("{:?}", authorized("authorized_v2")),
            format!("{check:?}"),
        ] {
            assert!(shown.contains("***") && !shown.contains("hidden"), "{shown}");
        }
        assert!(serde_json::to_string(&check).unwrap().contains("hidden"), "its worker needs it");
    }
}

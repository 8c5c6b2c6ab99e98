//! A fake WeChat with one account.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use futures::future::BoxFuture;
use serde_json::{Value, json};
use shared::{
    clock::{Clock, ManualClock},
    random::{Random, StdRandom},
    wechat::transport::{Transport, TransportError, WeChatRequest, WeChatResponse},
};

/// Short pages: the import goes on while fewer than `total` are listed.
const PAGE_SIZE: usize = 250;

/// The faults to inject.
#[derive(Default)]
pub struct WeChatFaults {
    /// The percentage of calls that fail: busy, limited per minute, or without an answer.
    pub percent: u64,
    /// The quota is used up from this call on, until this time.
    pub quota: Option<(usize, i64)>,
    /// Errcode of user/get.
    pub list: Option<i64>,
    /// Errcode of every call for details.
    pub details: Option<i64>,
    /// Errcode of calls for the details of a list.
    pub batch: Option<i64>,
    /// Openids that are left out of every batch; asked for alone they get 40003.
    pub unknown: BTreeSet<String>,
    /// Names that are written into answers as they are, unescaped.
    pub raw_names: BTreeMap<String, Vec<u8>>,
    /// Bytes before every response.
    pub prefix: Vec<u8>,
    /// How long a call for one follower's details takes, seconds.
    pub info_call_seconds: i64,
    /// Returns the same page of the list for ever.
    pub repeats_page: bool,
    /// Returns a null list from this call of user/get on.
    pub null_from: Option<usize>,
}

pub struct FakeWeChat {
    clock: ManualClock,
    random: StdRandom,
    /// Everybody who ever followed, and whether they do.
    pub fans: Mutex<BTreeMap<String, bool>>,
    pub unions: Mutex<BTreeMap<String, String>>,
    /// `qr_scene` and `qr_scene_str` of everybody.
    pub scene: Mutex<(i64, String)>,
    pub faults: Mutex<WeChatFaults>,
    pub calls: Mutex<Vec<String>>,
}

impl FakeWeChat {
    pub fn new(clock: ManualClock, followers: &[String]) -> Self {
        Self {
            clock,
            random: StdRandom::seeded(followers.len() as u64),
            fans: Mutex::new(followers.iter().map(|id| (id.clone(), true)).collect()),
            unions: Mutex::default(),
            scene: Mutex::default(),
            faults: Mutex::default(),
            calls: Mutex::default(),
        }
    }

    fn answer(&self, request: &WeChatRequest) -> Result<Value, TransportError> {
        let (path, query) = request.url.split_once('?').unwrap();
        let path = path.strip_prefix("https://api.weixin.qq.com/cgi-bin/").unwrap().to_owned();
        let query: BTreeMap<_, _> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let mut calls = self.calls.lock().unwrap();
        calls.push(path.clone());
        let lists = calls.iter().filter(|call| *call == "user/get").count();
        let faults = self.faults.lock().unwrap();
        let refused = |errcode: i64| Ok(json!({ "errcode": errcode, "errmsg": "no rid: 1-2-3" }));
        if faults.quota.is_some_and(|(from, until)| calls.len() > from && self.clock.unix() < until) {
            return refused(45009);
        }
        if self.random.below(100) < faults.percent {
            return match self.random.below(3) {
                0 => refused(-1),
                1 => refused(45011),
                _ => Err(TransportError::Unanswered("timeout".into())),
            };
        }
        if path == "user/info" {
            self.clock.advance(faults.info_call_seconds);
        }
        match path.as_str() {
            "user/get" => match faults.list {
                Some(errcode) => refused(errcode),
                None => Ok(self.list(&faults, lists, query.get("next_openid").copied().unwrap_or(""))),
            },
            "user/info" => match faults.details {
                Some(errcode) => refused(errcode),
                None if faults.unknown.contains(query["openid"]) => refused(40003),
                None => Ok(self.info(query["openid"])),
            },
            _ => match faults.details.or(faults.batch) {
                Some(errcode) => refused(errcode),
                None => {
                    let body: Value = serde_json::from_slice(request.body.as_deref().unwrap()).unwrap();
                    let list = body["user_list"].as_array().unwrap();
                    assert!(list.len() <= 100);
                    let ids = list.iter().rev().map(|user| user["openid"].as_str().unwrap());
                    let known = ids.filter(|id| !faults.unknown.contains(*id));
                    Ok(json!({ "user_info_list": known.map(|id| self.info(id)).collect::<Vec<_>>() }))
                }
            },
        }
    }

    fn list(&self, faults: &WeChatFaults, lists: usize, cursor: &str) -> Value {
        let fans = self.fans.lock().unwrap();
        let total = fans.len();
        if faults.null_from.is_some_and(|from| lists >= from) {
            return json!({ "total": total, "count": 0, "data": { "openid": null }, "next_openid": "" });
        }
        let cursor = if faults.repeats_page { "" } else { cursor };
        let page: Vec<_> = fans
            .iter()
            .filter(|(id, follows)| **follows && id.as_str() > cursor)
            .map(|(id, _)| id)
            .take(PAGE_SIZE)
            .collect();
        match page.last() {
            Some(last) => {
                let next = if faults.repeats_page { format!("{last}{lists}") } else { (*last).clone() };
                json!({ "total": total, "count": page.len(), "data": { "openid": page }, "next_openid": next })
            }
            None => json!({ "total": total, "count": 0, "next_openid": "" }),
        }
    }

    fn info(&self, open_id: &str) -> Value {
        let scene = self.scene.lock().unwrap().clone();
        let mut info = if self.fans.lock().unwrap().get(open_id) == Some(&true) {
            json!({
                "subscribe": 1, "openid": open_id, "subscribe_time": 1_600_000_000, "tagid_list": [2],
                "subscribe_scene": "ADD_SCENE_QR_CODE", "remark": "known", "language": "zh_CN",
                "nickname": format!("raw of {open_id}"), "qr_scene": scene.0, "qr_scene_str": scene.1,
            })
        } else {
            json!({ "subscribe": 0, "openid": open_id })
        };
        if let Some(union) = self.unions.lock().unwrap().get(open_id) {
            info["unionid"] = json!(union);
        }
        info
    }
}

impl Transport for FakeWeChat {
    fn send<'a>(&'a self, request: WeChatRequest) -> BoxFuture<'a, Result<WeChatResponse, TransportError>> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            let answer = self.answer(&request)?.to_string();
            let faults = self.faults.lock().unwrap();
            let mut body = faults.prefix.clone();
            let mut rest = answer.as_str();
            while let Some((left, right)) = rest.split_once("raw of ") {
                let (open_id, right) = right.split_once('"').unwrap();
                body.extend_from_slice(left.as_bytes());
                body.extend_from_slice(faults.raw_names.get(open_id).map_or(&[], Vec::as_slice));
                body.push(b'"');
                rest = right;
            }
            body.extend_from_slice(rest.as_bytes());
            Ok(WeChatResponse { status: 200, body })
        })
    }
}

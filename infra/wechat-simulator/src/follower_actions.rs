//! The follower's side: what a user does in the chat, and the push that WeChat sends for it.

use serde::Deserialize;
use serde_json::Value;

use crate::error::ApiError;
use crate::log::PushDelivery;
use crate::simulator::Simulator;
use crate::state::account::SimulatedAccount;
use crate::state::chat::{Sender, WindowTrigger};
use crate::state::follower::Follower;
use crate::state::outgoing_push::{CallbackUrl, OutgoingPush};
use crate::world::World;
use crate::xml::{XmlBuilder, first_value};

/// One thing a follower does.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum FollowerAction {
    /// Follows; through a parameterized QR code when `scene` is given.
    Follow {
        /// The code's scene.
        #[serde(default)]
        scene: Option<String>,
    },
    /// Unfollows.
    Unfollow,
    /// Scans a parameterized QR code: follows by it, or sends `SCAN` if already following.
    Scan {
        /// The code's scene.
        scene: String,
    },
    /// Sends a text.
    Text {
        /// The text.
        content: String,
        /// The item's id, when a `msgmenu` was tapped.
        #[serde(default)]
        bizmsgmenuid: Option<String>,
    },
    /// Sends a picture.
    Image {
        /// Its URL on WeChat's servers.
        #[serde(default)]
        pic_url: Option<String>,
        /// Its id.
        #[serde(default)]
        media_id: Option<String>,
    },
    /// Sends a voice message.
    Voice {
        /// Its id.
        #[serde(default)]
        media_id: Option<String>,
    },
    /// Sends a location.
    Location {
        /// Degrees.
        latitude: f64,
        /// Degrees.
        longitude: f64,
        /// Its name.
        #[serde(default)]
        label: String,
    },
    /// Sends a link.
    Link {
        /// Its title.
        title: String,
        /// Its text.
        #[serde(default)]
        description: String,
        /// Its target.
        url: String,
    },
    /// The phone reports where it is.
    ReportLocation {
        /// Degrees.
        latitude: f64,
        /// Degrees.
        longitude: f64,
    },
    /// Taps a menu button of type click.
    Click {
        /// The button's key.
        key: String,
    },
    /// Taps a menu button of type view.
    View {
        /// The button's URL.
        url: String,
    },
}

/// Members of a push that a test sets itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PushOverrides {
    /// The `MsgId`: sending the same one twice repeats a push.
    pub msg_id: Option<u64>,
    /// The `CreateTime`; windows count from it.
    pub create_time: Option<i64>,
}

/// What an action changes in the chat, and the push body that it causes.
struct ActionEffect {
    kind: String,
    text: String,
    trigger: Option<WindowTrigger>,
    is_event: bool,
    body: XmlBuilder,
}

impl Simulator {
    /// Adds a user who knows the account but does not follow it yet.
    ///
    /// # Errors
    /// 40013 for an unknown account, 40003 for an openid that exists.
    pub fn add_follower(
        &self,
        app_id: &str,
        openid: Option<String>,
        name: Option<String>,
        person: Option<u64>,
    ) -> Result<Follower, ApiError> {
        let mut state = self.state();
        let account = state.account_mut(app_id)?;
        if openid.as_deref().is_some_and(|id| id.is_empty() || account.followers.get(id).is_some()) {
            return Err(ApiError::with_errmsg(40003, "this openid is empty or exists already"));
        }
        let follower = account.followers.add(openid, name, person);
        state.dirty = true;
        Ok(follower)
    }

    /// A follower does something; returns when the push that it causes has been delivered or has failed.
    ///
    /// # Errors
    /// 40013 for an unknown account, 40003 for an unknown openid, 43004 if a non-follower writes.
    pub async fn act(
        &self,
        app_id: &str,
        openid: &str,
        act: FollowerAction,
        stamp: PushOverrides,
    ) -> Result<PushDelivery, ApiError> {
        let (push, allowed) =
            self.with_world(|mut world| world.apply_action(app_id, openid, &act, &stamp))?;
        Ok(match allowed {
            Ok(()) => self.deliver(push).await,
            Err(why) => self.with_world(|mut world| world.record_unsent(&push, why)),
        })
    }

    /// Pushes any plaintext to one of the hub's URLs, without checking it against the simulated state.
    pub async fn push_raw(
        &self,
        target: CallbackUrl,
        app_id: Option<&str>,
        plaintext: String,
    ) -> PushDelivery {
        let read = |name| first_value(&plaintext, name);
        let kind = read("InfoType").or_else(|| match read("MsgType") {
            Some("event") => read("Event"),
            kind => kind,
        });
        let kind = kind.unwrap_or("raw").to_owned();
        let openid = read("FromUserName").map(str::to_owned).filter(|_| target == CallbackUrl::Message);
        let app_id = app_id.map(str::to_owned);
        self.deliver(OutgoingPush { target, kind, app_id, openid, plaintext, delay_ms: 0 }).await
    }
}

impl World<'_> {
    fn apply_action(
        &mut self,
        app_id: &str,
        openid: &str,
        act: &FollowerAction,
        stamp: &PushOverrides,
    ) -> Result<(OutgoingPush, Result<(), &'static str>), ApiError> {
        let now = self.now();
        let create_time = stamp.create_time.unwrap_or(now);
        let ticket = format!("gQ{}", self.random_hex(60));
        let media = format!("media-{}", self.random_hex(24));
        let msg_id = stamp.msg_id.unwrap_or_else(|| self.next_msg_id());
        let item_id = self.state.next_id();
        self.state.dirty = true;
        let account = self.state.account_mut(app_id)?;
        let follower = account.followers.get(openid).ok_or_else(|| ApiError::new(40003))?;
        let effect = effect(act, &follower, &media, &ticket)?;
        update_subscription(account, &follower, act, create_time);
        let body = XmlBuilder::default()
            .text("ToUserName", &account.original_id)
            .text("FromUserName", openid)
            .number("CreateTime", create_time)
            .text("MsgType", if effect.is_event { "event" } else { &effect.kind })
            .append(&effect.body);
        let plaintext = if effect.is_event { body } else { body.number("MsgId", msg_id) }.build();
        let chat = account.chats.entry(openid.to_owned()).or_default();
        match effect.trigger {
            Some(trigger) => chat.open_window(trigger, create_time),
            None => chat.interacted_at = chat.interacted_at.max(create_time),
        }
        if matches!(act, FollowerAction::Unfollow) {
            chat.close_windows();
        }
        chat.push(crate::state::chat::ChatItem {
            id: item_id,
            at: now,
            side: Sender::Follower,
            channel: if effect.is_event { "event" } else { "message" }.into(),
            kind: effect.kind.clone(),
            text: effect.text,
            data: Value::String(plaintext.clone()),
        });
        let allowed = match &account.authorization {
            None => Err("the account is not bound to the component"),
            Some(grant) if !grant.funcs.contains(&1) => Err("the account did not grant message management"),
            Some(_) => Ok(()),
        };
        let (app_id, openid) = (Some(app_id.to_owned()), Some(openid.to_owned()));
        let push = OutgoingPush {
            target: CallbackUrl::Message,
            kind: effect.kind,
            app_id,
            openid,
            plaintext,
            delay_ms: 0,
        };
        Ok((push, allowed))
    }
}

/// Changes the subscription before the push goes out, as WeChat does.
fn update_subscription(account: &mut SimulatedAccount, follower: &Follower, act: &FollowerAction, at: i64) {
    let scene = match act {
        FollowerAction::Follow { scene } => scene.as_deref(),
        FollowerAction::Scan { scene } if !follower.subscribed => Some(scene.as_str()),
        FollowerAction::Unfollow => {
            account.followers.update(&follower.openid, |f| {
                f.subscribed = false;
                f.tagid_list.clear();
                f.remark.clear();
            });
            return;
        }
        _ => return,
    };
    account.followers.update(&follower.openid, |f| {
        f.subscribed = true;
        f.subscribe_time = at;
        f.subscribe_scene = if scene.is_some() { "ADD_SCENE_QR_CODE" } else { "ADD_SCENE_SEARCH" }.into();
        let number = scene.and_then(scene_number);
        f.qr_scene = number.unwrap_or(0).into();
        f.qr_scene_str = scene.filter(|_| number.is_none()).unwrap_or_default().into();
    });
}

/// A code has a number or a text. An action gives one string: a canonical number counts as a number.
fn scene_number(scene: &str) -> Option<u32> {
    scene.parse::<u32>().ok().filter(|number| *number > 0 && number.to_string() == scene)
}

fn effect(
    act: &FollowerAction,
    follower: &Follower,
    media: &str,
    ticket: &str,
) -> Result<ActionEffect, ApiError> {
    let message = |kind: &str, text: String, body: XmlBuilder| ActionEffect {
        kind: kind.into(),
        text,
        trigger: Some(WindowTrigger::Message),
        is_event: false,
        body,
    };
    let event = |kind: &str, text: String, trigger: Option<WindowTrigger>, body: XmlBuilder| ActionEffect {
        kind: kind.into(),
        text,
        trigger,
        is_event: true,
        body: XmlBuilder::default().text("Event", kind).append(&body),
    };
    if !follower.subscribed && !matches!(act, FollowerAction::Follow { .. } | FollowerAction::Scan { .. }) {
        return Err(ApiError::new(43004));
    }
    let xml = XmlBuilder::default;
    let subscribe = |scene: &str| {
        let body = xml().unescaped_text("EventKey", &format!("qrscene_{scene}")).text("Ticket", ticket);
        event("subscribe", format!("followed by scanning {scene}"), Some(WindowTrigger::Action), body)
    };
    Ok(match act {
        FollowerAction::Follow { scene: Some(scene) } => subscribe(scene),
        FollowerAction::Follow { scene: None } => event(
            "subscribe",
            "followed".into(),
            Some(WindowTrigger::Action),
            xml().unescaped_text("EventKey", ""),
        ),
        FollowerAction::Scan { scene } if !follower.subscribed => subscribe(scene),
        FollowerAction::Scan { scene } => {
            let body = xml().unescaped_text("EventKey", scene).text("Ticket", ticket);
            event("SCAN", format!("scanned {scene}"), Some(WindowTrigger::Action), body)
        }
        FollowerAction::Unfollow => {
            event("unsubscribe", "unfollowed".into(), None, xml().unescaped_text("EventKey", ""))
        }
        FollowerAction::Click { key } => event(
            "CLICK",
            format!("tapped {key}"),
            Some(WindowTrigger::Action),
            xml().unescaped_text("EventKey", key),
        ),
        FollowerAction::View { url } => event(
            "VIEW",
            format!("opened {url}"),
            None,
            xml().unescaped_text("EventKey", url).number("MenuId", 510_203_041),
        ),
        FollowerAction::ReportLocation { latitude, longitude } => {
            let body = xml().number("Latitude", latitude).number("Longitude", longitude);
            event(
                "LOCATION",
                format!("is at {latitude}, {longitude}"),
                None,
                body.number("Precision", "65.0"),
            )
        }
        FollowerAction::Text { content, bizmsgmenuid } => {
            let body = xml().unescaped_text("Content", content);
            let body = match bizmsgmenuid {
                Some(id) => body.text("bizmsgmenuid", id),
                None => body,
            };
            message("text", content.clone(), body)
        }
        FollowerAction::Image { pic_url, media_id } => {
            let url = pic_url.as_deref().unwrap_or("http://mmbiz.qpic.cn/mmbiz_jpg/simulated/0");
            let body = xml().text("PicUrl", url).text("MediaId", media_id.as_deref().unwrap_or(media));
            message("image", "[picture]".into(), body)
        }
        FollowerAction::Voice { media_id } => {
            let body = xml().text("MediaId", media_id.as_deref().unwrap_or(media)).text("Format", "amr");
            message("voice", "[voice]".into(), body)
        }
        FollowerAction::Location { latitude, longitude, label } => {
            let body =
                xml().number("Location_X", latitude).number("Location_Y", longitude).number("Scale", 16);
            let text = if label.is_empty() { format!("{latitude}, {longitude}") } else { label.clone() };
            message("location", text, body.unescaped_text("Label", label))
        }
        FollowerAction::Link { title, description, url } => {
            let body = xml()
                .unescaped_text("Title", title)
                .unescaped_text("Description", description)
                .unescaped_text("Url", url);
            message("link", title.clone(), body)
        }
    })
}

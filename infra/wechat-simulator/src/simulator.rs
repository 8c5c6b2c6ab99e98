//! The handle: one simulated WeChat, shared by its API, pages, pushes and tests.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use shared::clock::Clock;
use shared::config::PlatformCredentials;
use shared::random::Random;
use tokio::sync::Notify;

use crate::crypto::{AesKey, CryptoError};
use crate::error::ApiError;
use crate::push::{HubTransport, OutgoingPush};
use crate::state::account::{AccountKind, NewAccount, SimulatedAccount, starting_templates};
use crate::state::chat::{ChatItem, Sender};
use crate::state::follower::Followers;
use crate::state::{Settings, WeChatState};

/// What a simulator needs.
pub struct SimulatorDependencies {
    /// The third-party platform's credentials, the same as the hub's.
    pub component: PlatformCredentials,
    /// The hub's base URL: pushes go to `{hub}/wechat/component` and `{hub}/wechat/accounts/$APPID$`.
    pub hub_url: String,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The randomness: the same seed and the same calls give the same ids and tokens.
    pub random: Arc<dyn Random>,
    /// How pushes reach the hub.
    pub hub: Arc<dyn HubTransport>,
}

/// A simulated WeChat. Clones share the same state.
#[derive(Clone)]
pub struct Simulator(Arc<SimulatorInner>);

struct SimulatorInner {
    state: Mutex<WeChatState>,
    platform: Mutex<(PlatformCredentials, AesKey)>,
    component_url: String,
    message_url: String,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    hub: Arc<dyn HubTransport>,
    wake: Notify,
    snapshot_path: Mutex<Option<PathBuf>>,
}

impl Simulator {
    /// A simulator without accounts.
    ///
    /// # Errors
    /// When the AES key is no key.
    pub fn new(parts: SimulatorDependencies) -> Result<Self, CryptoError> {
        let key = AesKey::decode(parts.component.aes_key.expose())?;
        let hub = parts.hub_url.trim_end_matches('/');
        Ok(Self(Arc::new(SimulatorInner {
            state: Mutex::default(),
            component_url: format!("{hub}/wechat/component"),
            message_url: format!("{hub}/wechat/accounts/$APPID$"),
            platform: Mutex::new((parts.component, key)),
            clock: parts.clock,
            random: parts.random,
            hub: parts.hub,
            wake: Notify::new(),
            snapshot_path: Mutex::default(),
        })))
    }

    /// A simulator with five accounts to try things with.
    ///
    /// # Errors
    /// When the AES key is no key.
    pub fn demo(parts: SimulatorDependencies) -> Result<Self, CryptoError> {
        let simulator = Self::new(parts)?;
        let account =
            |app_id: &str, name: &str, kind, verify_type, followers, open_platform: Option<&str>| {
                NewAccount {
                    app_id: Some(app_id.into()),
                    original_id: Some(format!("gh_{}", app_id.get(2..14).unwrap_or_default())),
                    name: Some(name.into()),
                    kind: Some(kind),
                    verify_type: Some(verify_type),
                    account_status: None,
                    followers,
                    open_platform: open_platform.map(str::to_owned),
                }
            };
        for new in [
            account("wx5a1b2c3d4e5f6071", "Harbour Coffee", AccountKind::Service, 0, 3, Some("harbour")),
            account(
                "wx6b2c3d4e5f607182",
                "Harbour Journal",
                AccountKind::Subscription,
                0,
                3,
                Some("harbour"),
            ),
            account("wx7c3d4e5f60718293", "Corner Bakery", AccountKind::Service, -1, 2, None),
            account("wx8d4e5f60718293a4", "City Museum", AccountKind::Service, 0, 25_000, Some("museum")),
            account("wx9e5f60718293a4b5", "Harbour Orders", AccountKind::MiniProgram, 0, 0, None),
        ] {
            // Cannot fail: the ids above differ, and a duplicate id is the only error.
            let _ = simulator.add_account(new);
        }
        Ok(simulator)
    }

    /// Adds an account.
    ///
    /// # Errors
    /// 40013 when the app id is taken.
    pub fn add_account(&self, new: NewAccount) -> Result<SimulatedAccount, ApiError> {
        let now = self.now();
        let app_id = new.app_id.unwrap_or_else(|| format!("wx{}", self.random_hex(16)));
        let original_id = new.original_id.unwrap_or_else(|| format!("gh_{}", self.random_hex(12)));
        let kind = new.kind.unwrap_or(AccountKind::Service);
        let mut world = self.state();
        if world.accounts.contains_key(&app_id) {
            return Err(ApiError::with_errmsg(40013, "this appid exists already"));
        }
        let order = world.next_id();
        // Not random: after a restart without a snapshot the same account has the same followers.
        let seed = app_id.bytes().fold(11u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let account = SimulatedAccount {
            name: new.name.unwrap_or_else(|| format!("Account {order}")),
            alias: format!("alias{order}"),
            principal_name: "Simulated Trading Ltd".into(),
            kind,
            verify_type: new.verify_type.unwrap_or(0),
            account_status: new.account_status.unwrap_or(1),
            authorization: None,
            followers: Followers::generated(seed, new.followers, new.open_platform.clone(), now),
            open_platform: new.open_platform,
            templates: if kind == AccountKind::Service { starting_templates() } else { Vec::new() },
            options: [("location_report", "0"), ("voice_recognize", "0"), ("customer_service", "0")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            chats: Default::default(),
            template_dedup: Default::default(),
            order,
            app_id: app_id.clone(),
            original_id,
        };
        world.accounts.insert(app_id, account.clone());
        world.dirty = true;
        Ok(account)
    }

    /// The current state of one account.
    #[must_use]
    pub fn account(&self, app_id: &str) -> Option<SimulatedAccount> {
        self.state().accounts.get(app_id).cloned()
    }

    /// The current settings.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.state().settings.clone()
    }

    /// Changes the settings from now on.
    pub fn configure(&self, change: impl FnOnce(&mut Settings)) {
        let mut world = self.state();
        change(&mut world.settings);
        world.dirty = true;
    }

    /// Replaces the EncodingAESKey, as after a rotation in WeChat's console.
    ///
    /// # Errors
    /// When it is not a valid key.
    pub fn rotate_aes_key(&self, encoded: &str) -> Result<(), CryptoError> {
        let key = AesKey::decode(encoded)?;
        self.0.platform.lock().unwrap_or_else(PoisonError::into_inner).1 = key;
        Ok(())
    }

    /// The chat between an account and a follower, oldest item first.
    #[must_use]
    pub fn chat(&self, app_id: &str, openid: &str) -> Vec<ChatItem> {
        let world = self.state();
        let chat = world.accounts.get(app_id).and_then(|account| account.chats.get(openid));
        chat.map(|chat| chat.items.iter().cloned().collect()).unwrap_or_default()
    }

    /// What the account sent to a follower: passive replies, customer-service and template messages.
    #[must_use]
    pub fn received(&self, app_id: &str, openid: &str) -> Vec<ChatItem> {
        self.chat(app_id, openid).into_iter().filter(|item| item.side == Sender::Account).collect()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, WeChatState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn platform(&self) -> (PlatformCredentials, AesKey) {
        self.0.platform.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn now(&self) -> i64 {
        self.0.clock.unix()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.0.clock.now().as_millisecond()).unwrap_or(0)
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(crate) fn random(&self) -> &dyn Random {
        &*self.0.random
    }

    pub(crate) fn hub(&self) -> &dyn HubTransport {
        &*self.0.hub
    }

    pub(crate) fn component_url(&self) -> String {
        self.0.component_url.clone()
    }

    pub(crate) fn message_url(&self, app_id: &str) -> String {
        self.0.message_url.replace("$APPID$", app_id)
    }

    pub(crate) fn wake(&self) -> &Notify {
        &self.0.wake
    }

    pub(crate) fn snapshot_path(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.0.snapshot_path.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a push; [`Simulator::run`] or [`Simulator::deliver_pending`] sends it.
    pub(crate) fn enqueue(&self, world: &mut WeChatState, push: OutgoingPush) {
        world.outbox.push_back(push);
        world.dirty = true;
        self.0.wake.notify_one();
    }

    pub(crate) fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.random.fill(&mut bytes);
        bytes
    }

    pub(crate) fn random_hex(&self, digits: usize) -> String {
        self.random_bytes::<64>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .chars()
            .take(digits)
            .collect()
    }

    pub(crate) fn random_digits(&self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + u8::try_from(self.0.random.below(10)).unwrap_or(0))).collect()
    }

    /// Adds an item to a chat.
    #[expect(clippy::too_many_arguments, reason = "a chat line has these parts")]
    pub(crate) fn add_chat_item(
        &self,
        app_id: &str,
        openid: &str,
        side: Sender,
        channel: &str,
        kind: &str,
        text: String,
        data: Value,
    ) {
        let at = self.now();
        let mut world = self.state();
        let id = world.next_id();
        world.dirty = true;
        if let Some(account) = world.accounts.get_mut(app_id) {
            let item = ChatItem { id, at, side, channel: channel.into(), kind: kind.into(), text, data };
            account.chats.entry(openid.into()).or_default().push(item);
        }
    }
}

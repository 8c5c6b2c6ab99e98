//! The handle: one simulated WeChat, shared by its API, pages, pushes and tests.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shared::clock::Clock;
use shared::config::PlatformCredentials;
use shared::random::Random;
use tokio::sync::Notify;

use crate::crypto::{AesKey, CryptoError};
use crate::error::ApiError;
use crate::hub_transport::HubTransport;
use crate::state::account::{AccountKind, NewAccount, SimulatedAccount};
use crate::state::chat::{ChatItem, Sender};
use crate::state::outgoing_push::{CallbackUrl, OutgoingPush};
use crate::state::{Settings, WeChatState};
use crate::world::World;

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
    component: PlatformCredentials,
    aes_key: Mutex<AesKey>,
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
            component: parts.component,
            aes_key: Mutex::new(key),
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
        self.with_world(|mut world| world.add_account(new))
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
        let mut state = self.state();
        change(&mut state.settings);
        state.dirty = true;
    }

    /// Replaces the EncodingAESKey, as after a rotation in WeChat's console.
    ///
    /// # Errors
    /// When it is not a valid key.
    pub fn rotate_aes_key(&self, encoded: &str) -> Result<(), CryptoError> {
        let key = AesKey::decode(encoded)?;
        *self.0.aes_key.lock().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(())
    }

    /// The chat between an account and a follower, oldest item first.
    #[must_use]
    pub fn chat(&self, app_id: &str, openid: &str) -> Vec<ChatItem> {
        let state = self.state();
        let chat = state.accounts.get(app_id).and_then(|account| account.chats.get(openid));
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

    /// Lets something happen, and [`Simulator::run`] send the pushes that it queued.
    pub(crate) fn with_world<T>(&self, act: impl FnOnce(World<'_>) -> T) -> T {
        let aes_key = self.0.aes_key.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut state = self.state();
        let queued = state.outbox.len();
        let out = act(World {
            state: &mut state,
            component: &self.0.component,
            aes_key,
            clock: &*self.0.clock,
            random: &*self.0.random,
        });
        if state.outbox.len() > queued {
            self.0.wake.notify_one();
        }
        out
    }

    pub(crate) fn component(&self) -> &PlatformCredentials {
        &self.0.component
    }

    pub(crate) fn now(&self) -> i64 {
        self.0.clock.unix()
    }

    pub(crate) fn hub(&self) -> &dyn HubTransport {
        &*self.0.hub
    }

    pub(crate) fn component_url(&self) -> &str {
        &self.0.component_url
    }

    /// Where a push goes.
    pub(crate) fn callback_url(&self, push: &OutgoingPush) -> String {
        match push.target {
            CallbackUrl::Component => self.0.component_url.clone(),
            CallbackUrl::Message => {
                self.0.message_url.replace("$APPID$", push.app_id.as_deref().unwrap_or_default())
            }
        }
    }

    pub(crate) fn wake(&self) -> &Notify {
        &self.0.wake
    }

    pub(crate) fn snapshot_path(&self) -> MutexGuard<'_, Option<PathBuf>> {
        self.0.snapshot_path.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

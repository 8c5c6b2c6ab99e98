//! WeChat at one moment. What owners, followers and callers of the API do are methods of [`World`], each in the file
//! of its kind, and need no lock: [`Simulator`](crate::Simulator) locks, delivers and saves.

use serde_json::Value;
use shared::{clock::Clock, config::PlatformCredentials, random::Random};

use crate::crypto::AesKey;
use crate::error::ApiError;
use crate::state::WeChatState;
use crate::state::account::{AccountKind, NewAccount, SimulatedAccount, starting_templates};
use crate::state::chat::{ChatItem, Sender};
use crate::state::follower::Followers;

/// The state, and what its rules need besides.
pub(crate) struct World<'a> {
    pub state: &'a mut WeChatState,
    /// The third-party platform's credentials.
    pub component: &'a PlatformCredentials,
    /// The key of pushes, which replaces the one among `component` after a rotation.
    pub aes_key: AesKey,
    pub clock: &'a dyn Clock,
    pub random: &'a dyn Random,
}

impl World<'_> {
    /// Unix seconds.
    pub fn now(&self) -> i64 {
        self.clock.unix()
    }

    /// A new 64-bit id, as WeChat's `MsgId`.
    pub fn next_msg_id(&mut self) -> u64 {
        let now_ms = u64::try_from(self.clock.now().as_millisecond()).unwrap_or(0);
        self.state.next_msg_id(now_ms)
    }

    pub fn random_bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes);
        bytes
    }

    pub fn random_hex(&self, digits: usize) -> String {
        self.random_bytes::<64>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .chars()
            .take(digits)
            .collect()
    }

    pub fn random_digits(&self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + u8::try_from(self.random.below(10)).unwrap_or(0))).collect()
    }

    /// Fails with 40013 when the app id is taken.
    pub fn add_account(&mut self, new: NewAccount) -> Result<SimulatedAccount, ApiError> {
        let now = self.now();
        let app_id = new.app_id.unwrap_or_else(|| format!("wx{}", self.random_hex(16)));
        let original_id = new.original_id.unwrap_or_else(|| format!("gh_{}", self.random_hex(12)));
        let kind = new.kind.unwrap_or(AccountKind::Service);
        if self.state.accounts.contains_key(&app_id) {
            return Err(ApiError::with_errmsg(40013, "this appid exists already"));
        }
        let order = self.state.next_id();
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
        self.state.accounts.insert(app_id, account.clone());
        self.state.dirty = true;
        Ok(account)
    }

    /// Adds an item to a chat: `(side, channel, kind, text, data)`, as [`ChatItem`] has them.
    pub fn add_chat_item(
        &mut self,
        app_id: &str,
        openid: &str,
        (side, channel, kind, text, data): (Sender, &str, &str, String, Value),
    ) {
        let (id, at) = (self.state.next_id(), self.now());
        self.state.dirty = true;
        if let Some(account) = self.state.accounts.get_mut(app_id) {
            let item = ChatItem { id, at, side, channel: channel.into(), kind: kind.into(), text, data };
            account.chats.entry(openid.into()).or_default().push(item);
        }
    }
}

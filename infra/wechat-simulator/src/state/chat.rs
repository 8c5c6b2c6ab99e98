//! The chat of one follower with one account, and when the account may send messages in it.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Seconds that a message keeps the customer-service window open, and the messages that it allows.
const MESSAGE_WINDOW: (i64, u32) = (48 * 3600, 5);
/// The same for following, scanning a code and a menu click.
const ACTION_WINDOW: (i64, u32) = (60, 3);
/// Older lines of a chat are forgotten.
const MAX_CHAT_ITEMS: usize = 1000;

/// Who sent a chat item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// What the follower did.
    Follower,
    /// What the account sent.
    Account,
    /// What WeChat itself says.
    System,
}

/// One line of a chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatItem {
    /// Rises within the simulator.
    pub id: u64,
    /// Unix seconds.
    pub at: i64,
    /// Who sent it.
    pub side: Sender,
    /// `message`, `event`, `passive`, `customer_service`, `template` or `notice`.
    pub channel: String,
    /// WeChat's message type or event name.
    pub kind: String,
    /// What a phone would show.
    pub text: String,
    /// The content as it was sent: the API's JSON, or the pushed or replied XML as a string.
    pub data: Value,
}

/// What opens a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowTrigger {
    /// Any message of the follower.
    Message,
    /// Follow, scan of a parameter code, menu click.
    Action,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct WindowUsage {
    opened_at: i64,
    used: u32,
}

/// The chat.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Chat {
    /// Oldest first.
    pub items: VecDeque<ChatItem>,
    message: Option<WindowUsage>,
    action: Option<WindowUsage>,
    /// When the follower last did anything: typing needs it within 30 seconds.
    pub interacted_at: i64,
    /// Since when the account is shown as typing.
    pub typing_since: Option<i64>,
}

impl Chat {
    /// Adds a line.
    pub fn push(&mut self, item: ChatItem) {
        if self.items.len() >= MAX_CHAT_ITEMS {
            self.items.pop_front();
        }
        self.items.push_back(item);
    }

    /// The follower acted at `at`: the window of this trigger reopens with its full number of sends.
    pub fn open_window(&mut self, trigger: WindowTrigger, at: i64) {
        let fresh = Some(WindowUsage { opened_at: at, used: 0 });
        match trigger {
            WindowTrigger::Message => self.message = fresh,
            WindowTrigger::Action => self.action = fresh,
        }
        self.interacted_at = self.interacted_at.max(at);
        self.typing_since = None;
    }

    /// The follower left: nothing may be sent any more.
    pub fn close_windows(&mut self) {
        self.message = None;
        self.action = None;
    }

    /// Uses one send. Allowances do not add up: one send counts against every open window, so what remains is
    /// the largest remainder.
    ///
    /// # Errors
    /// 45015 when no window is open, 45047 when the open ones are used up.
    pub fn use_send(&mut self, now: i64) -> Result<(), i64> {
        let open = |allowance: &Option<WindowUsage>, (life, limit): (i64, u32)| {
            allowance.filter(|a| now < a.opened_at + life).map(|a| limit.saturating_sub(a.used))
        };
        let left = open(&self.message, MESSAGE_WINDOW).max(open(&self.action, ACTION_WINDOW));
        match left {
            None => Err(45015),
            Some(0) => Err(45047),
            Some(_) => {
                for allowance in [&mut self.message, &mut self.action].into_iter().flatten() {
                    allowance.used = allowance.used.saturating_add(1);
                }
                self.typing_since = None;
                Ok(())
            }
        }
    }

    /// Sends left and when the window closes, for the page.
    #[must_use]
    pub fn window(&self, now: i64) -> Option<(u32, i64)> {
        let open = |allowance: &Option<WindowUsage>, (life, limit): (i64, u32)| {
            allowance
                .filter(|a| now < a.opened_at + life)
                .map(|a| (limit.saturating_sub(a.used), a.opened_at + life))
        };
        open(&self.message, MESSAGE_WINDOW).max(open(&self.action, ACTION_WINDOW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sends(chat: &mut Chat, now: i64) -> (u32, i64) {
        let mut n = 0;
        loop {
            match chat.use_send(now) {
                Ok(()) => n += 1,
                Err(code) => return (n, code),
            }
        }
    }

    #[test]
    fn windows_are_as_wechat_says() {
        for (what, opened, now, expected) in [
            ("nothing ever happened", vec![], 1000, (0, 45015)),
            ("a message", vec![(WindowTrigger::Message, 1000)], 1000, (5, 45047)),
            (
                "a message, a second before 48 hours",
                vec![(WindowTrigger::Message, 1000)],
                1000 + 172_799,
                (5, 45047),
            ),
            ("a message, 48 hours ago", vec![(WindowTrigger::Message, 1000)], 1000 + 172_800, (0, 45015)),
            ("a click", vec![(WindowTrigger::Action, 1000)], 1059, (3, 45047)),
            ("a click, a minute ago", vec![(WindowTrigger::Action, 1000)], 1060, (0, 45015)),
            (
                "both: the larger",
                vec![(WindowTrigger::Message, 1000), (WindowTrigger::Action, 1000)],
                1001,
                (5, 45047),
            ),
            (
                "a click long after a message",
                vec![(WindowTrigger::Message, 0), (WindowTrigger::Action, 500_000)],
                500_001,
                (3, 45047),
            ),
        ] {
            let mut chat = Chat::default();
            opened.into_iter().for_each(|(trigger, at)| chat.open_window(trigger, at));
            assert_eq!(sends(&mut chat, now), expected, "{what}");
        }
    }

    #[test]
    fn a_new_message_gives_all_sends_again_and_leaving_takes_them() {
        let mut chat = Chat::default();
        chat.open_window(WindowTrigger::Message, 10);
        assert_eq!(sends(&mut chat, 10), (5, 45047));
        chat.open_window(WindowTrigger::Message, 20);
        assert_eq!(chat.window(20), Some((5, 20 + 172_800)));
        chat.close_windows();
        assert_eq!(sends(&mut chat, 21), (0, 45015));
    }
}

//! The customer-service windows of one fan: which messages WeChat still allows.
//!
//! Each kind of trigger opens its own allowance, and a repeated trigger restarts it. How overlapping
//! ones count is undocumented: this is a best guess, and WeChat's 45015 and 45047 decide.
//!
//! Times are Unix seconds of the push's `CreateTime`. Source: WeChat's rules of customer-service messages, as of 2023.

use serde::{Deserialize, Serialize};

/// How long and how many sends an allowance lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Seconds from the trigger; a send at exactly that second is too late.
    pub seconds: i64,
    /// Sends.
    pub sends: u32,
}

/// After a message of the fan.
pub const MESSAGE_ALLOWANCE: Allowance = Allowance { seconds: 48 * 3600, sends: 5 };
/// After a click on a menu item that pushes an event (click, scancode_push, scancode_waitmsg), and after a scan of a
/// parameter QR code by a follower.
pub const MENU_ALLOWANCE: Allowance = Allowance { seconds: 60, sends: 3 };
/// After a follow, by a QR code or not.
pub const FOLLOW_ALLOWANCE: Allowance = Allowance { seconds: 60, sends: 3 };

/// What opened an allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// A message of the fan.
    Message,
    /// A menu click or a scan.
    Menu,
    /// A follow.
    Follow,
}

/// The newest trigger of each kind, and how many sends it has been used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Windows {
    /// When the fan last sent a message.
    pub message_at: Option<i64>,
    /// Sends since.
    pub message_used: u32,
    /// When the fan last clicked a menu item.
    pub menu_at: Option<i64>,
    /// Sends since.
    pub menu_used: u32,
    /// When the fan last followed or scanned.
    pub follow_at: Option<i64>,
    /// Sends since.
    pub follow_used: u32,
}

/// An allowance that a send may be taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenWindow {
    /// Which counter to raise.
    pub kind: WindowKind,
    /// Sends left, including this one; at least 1.
    pub remaining: u32,
}

/// The allowance for the next send, `None` when there is none. The one-minute ones come
/// before the 48 hours, since they expire first; of those two, the one that ends first.
#[must_use]
pub fn next_window(windows: &Windows, now: i64) -> Option<OpenWindow> {
    let live = |kind, at: Option<i64>, used: u32, allowance: Allowance| {
        let ends = at?.saturating_add(allowance.seconds);
        let remaining = allowance.sends.saturating_sub(used);
        if now < ends && remaining > 0 { Some((ends, OpenWindow { kind, remaining })) } else { None }
    };
    let short = [
        live(WindowKind::Menu, windows.menu_at, windows.menu_used, MENU_ALLOWANCE),
        live(WindowKind::Follow, windows.follow_at, windows.follow_used, FOLLOW_ALLOWANCE),
    ];
    let soonest = short.into_iter().flatten().min_by_key(|(ends, _)| *ends);
    let long = || live(WindowKind::Message, windows.message_at, windows.message_used, MESSAGE_ALLOWANCE);
    soonest.or_else(long).map(|(_, window)| window)
}

/// When the last open allowance at `now` ends, whether it has sends left or not.
#[must_use]
pub fn closes_at(windows: &Windows, now: i64) -> Option<i64> {
    let ends = [
        (windows.message_at, MESSAGE_ALLOWANCE),
        (windows.menu_at, MENU_ALLOWANCE),
        (windows.follow_at, FOLLOW_ALLOWANCE),
    ];
    let ends = ends.into_iter().filter_map(|(at, allowance)| Some(at?.saturating_add(allowance.seconds)));
    ends.filter(|end| *end > now).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_735_689_600;
    const HOURS_48: i64 = 172_800;

    fn message(age: i64, used: u32) -> Windows {
        Windows { message_at: Some(NOW - age), message_used: used, ..Windows::default() }
    }

    fn menu(age: i64, used: u32) -> Windows {
        Windows { menu_at: Some(NOW - age), menu_used: used, ..Windows::default() }
    }

    fn follow(age: i64, used: u32) -> Windows {
        Windows { follow_at: Some(NOW - age), follow_used: used, ..Windows::default() }
    }

    #[test]
    fn a_send_is_taken_from_the_allowance_that_vanishes_first() {
        use WindowKind::{Follow, Menu, Message};
        let both = |short: Windows| Windows { message_at: Some(NOW - 60), message_used: 2, ..short };
        let all = Windows { follow_at: Some(NOW - 20), ..both(menu(10, 0)) };
        for (what, windows, expected) in [
            ("a fan who never did anything", Windows::default(), None),
            ("a message just now", message(0, 0), Some((Message, 5))),
            ("a message a second short of 48 hours ago", message(HOURS_48 - 1, 4), Some((Message, 1))),
            ("a message exactly 48 hours ago", message(HOURS_48, 0), None),
            ("a message whose five sends are used", message(10, 5), None),
            ("a counter beyond the allowance", message(10, 9), None),
            ("a menu click just now", menu(0, 0), Some((Menu, 3))),
            ("a menu click 59 seconds ago", menu(59, 2), Some((Menu, 1))),
            ("a menu click exactly 60 seconds ago", menu(60, 0), None),
            ("a menu click whose three sends are used", menu(10, 3), None),
            ("a follow 59 seconds ago", follow(59, 0), Some((Follow, 3))),
            ("a follow exactly 60 seconds ago", follow(60, 0), None),
            ("a click after a message", both(menu(10, 1)), Some((Menu, 2))),
            ("a used click after a message", both(menu(10, 3)), Some((Message, 3))),
            ("an old click after a message", both(menu(60, 0)), Some((Message, 3))),
            ("a click after a follow after a message", all, Some((Follow, 3))),
            ("a push that is ahead of our clock", message(-5, 0), Some((Message, 5))),
        ] {
            let got = next_window(&windows, NOW).map(|window| (window.kind, window.remaining));
            assert_eq!(got, expected, "{what}");
        }
    }
}

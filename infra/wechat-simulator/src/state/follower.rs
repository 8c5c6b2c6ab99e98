//! Followers. Those of a big account are computed from their number, so that a million cost no memory; only
//! changed ones are stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Numbers from here on are followers that were added later, not generated ones.
const FIRST_ADDED: u64 = 1 << 40;
const NUMBER_MASK: u64 = (1 << 48) - 1;
/// Odd, so multiplying by it modulo 2⁴⁸ can be undone.
const SCATTER_FACTOR: u64 = 0x5bd1_e995_9e37 | 1;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
const SUBSCRIBE_SCENES: [&str; 5] = [
    "ADD_SCENE_SEARCH",
    "ADD_SCENE_QR_CODE",
    "ADD_SCENE_PROFILE_CARD",
    "ADD_SCENE_PROFILE_LINK",
    "ADD_SCENE_OTHERS",
];
const SAMPLE_NAMES: [&str; 16] = [
    "Lin Wei",
    "Mei Chen",
    "Zhang Hao",
    "Xiao Yu",
    "Anna Zhou",
    "Wang Fang",
    "Leo Sun",
    "Qiu Yue",
    "Gao Ming",
    "Ivy Tang",
    "He Jun",
    "Nora Xu",
    "Bai Lu",
    "Tao Ran",
    "Su Qing",
    "Max Luo",
];

/// One person as one account's follower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follower {
    /// Who, for this account.
    pub openid: String,
    /// Shown on the simulator's page only; the API stopped telling names in 2021.
    pub name: String,
    /// Whether they follow now.
    pub subscribed: bool,
    /// Since when, in Unix seconds.
    pub subscribe_time: i64,
    /// How they came to follow.
    pub subscribe_scene: String,
    /// The scene number of the QR code that they scanned, or 0.
    pub qr_scene: i64,
    /// The scene text of the QR code that they scanned.
    pub qr_scene_str: String,
    /// Who, for every account of the same Open Platform account.
    pub unionid: Option<String>,
    /// What the account's owner noted.
    pub remark: String,
    /// Tags.
    pub tagid_list: Vec<i64>,
    /// Appended unescaped to the remark in responses: WeChat does not escape everything that users type.
    #[serde(default)]
    pub unescaped: String,
    /// Refuses template messages: sending succeeds, `TEMPLATESENDJOBFINISH` then says `failed:user block`.
    #[serde(default)]
    pub blocks_templates: bool,
}

/// All followers of one account, in the order in which `user/get` lists them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Followers {
    seed: u64,
    generated: u64,
    since: i64,
    open_platform: Option<String>,
    changed: BTreeMap<u64, Follower>,
    added: Vec<Follower>,
    by_openid: BTreeMap<String, u64>,
    gone: u64,
}

impl Followers {
    /// `generated` followers that followed one by one until `now`. With `open_platform`, they have union ids,
    /// and follower *n* of each account of that name is the same person.
    #[must_use]
    pub fn generated(seed: u64, generated: u64, open_platform: Option<String>, now: i64) -> Self {
        Self { seed, generated, since: now, open_platform, ..Self::default() }
    }

    /// How many follow now.
    #[must_use]
    pub fn total(&self) -> u64 {
        (self.generated + self.added.len() as u64).saturating_sub(self.gone)
    }

    /// Binds the account to an Open Platform account or unbinds it: union ids appear or disappear.
    pub fn set_open_platform(&mut self, name: Option<String>) {
        self.open_platform = name;
        let people: Vec<(u64, String)> = self.by_openid.iter().map(|(id, n)| (*n, id.clone())).collect();
        for (number, openid) in people {
            let unionid = self.union_id_of(self.person_id(number, &openid));
            if let Some(follower) = self.stored_mut(number) {
                follower.unionid = unionid;
            }
        }
        let open_platform = self.open_platform.clone();
        for (number, follower) in &mut self.changed {
            follower.unionid = open_platform.as_deref().map(|name| union_id(name, *number));
        }
    }

    /// The follower with this openid, following or gone.
    #[must_use]
    pub fn get(&self, openid: &str) -> Option<Follower> {
        self.number_of(openid).and_then(|number| self.follower_at(number))
    }

    /// Changes a follower; `None` if there is no such follower.
    pub fn update<T>(&mut self, openid: &str, change: impl FnOnce(&mut Follower) -> T) -> Option<T> {
        let number = self.number_of(openid)?;
        if number < FIRST_ADDED && !self.changed.contains_key(&number) {
            let follower = self.follower_at(number)?;
            self.changed.insert(number, follower);
        }
        let follower = self.stored_mut(number)?;
        let before = follower.subscribed;
        let out = change(follower);
        match (before, follower.subscribed) {
            (true, false) => self.gone += 1,
            (false, true) => self.gone = self.gone.saturating_sub(1),
            _ => {}
        }
        Some(out)
    }

    /// Adds a user who does not follow yet, at the end of the list. `person` makes them the same human in
    /// every account of the same Open Platform account.
    pub fn add(&mut self, openid: Option<String>, name: Option<String>, person: Option<u64>) -> Follower {
        let number = FIRST_ADDED + self.added.len() as u64;
        let openid = openid.unwrap_or_else(|| self.openid_of(number));
        let follower = Follower {
            name: name.unwrap_or_else(|| sample_name(number)),
            subscribed: false,
            subscribe_time: 0,
            subscribe_scene: "ADD_SCENE_SEARCH".into(),
            qr_scene: 0,
            qr_scene_str: String::new(),
            unionid: self.union_id_of(person.unwrap_or_else(|| self.person_id(number, &openid))),
            remark: String::new(),
            tagid_list: Vec::new(),
            unescaped: String::new(),
            blocks_templates: false,
            openid: openid.clone(),
        };
        self.added.push(follower.clone());
        self.by_openid.insert(openid, number);
        self.gone += 1;
        follower
    }

    /// The openids of up to `max` followers after `after`, or from the start if it is empty.
    /// `None` for an openid of another account.
    #[must_use]
    pub fn page(&self, after: &str, max: usize) -> Option<Vec<String>> {
        let start = if after.is_empty() { 0 } else { self.number_of(after)? + 1 };
        Some(self.numbers(start).filter_map(|number| self.openid_if_subscribed(number)).take(max).collect())
    }

    /// Followers by position, whether they follow or not, newest first: for the simulator's page.
    #[must_use]
    pub fn latest(&self, skip: usize, max: usize) -> Vec<Follower> {
        let added = (0..self.added.len() as u64).rev().map(|n| FIRST_ADDED + n);
        added
            .chain((0..self.generated).rev())
            .skip(skip)
            .take(max)
            .filter_map(|n| self.follower_at(n))
            .collect()
    }

    fn numbers(&self, start: u64) -> impl Iterator<Item = u64> + '_ {
        (start.min(self.generated)..self.generated)
            .chain(FIRST_ADDED.max(start)..FIRST_ADDED + self.added.len() as u64)
    }

    /// The openid of a number, if they follow. Most were never changed: their openid is all that is computed.
    fn openid_if_subscribed(&self, number: u64) -> Option<String> {
        match number.checked_sub(FIRST_ADDED) {
            Some(n) => {
                self.added.get(usize::try_from(n).ok()?).filter(|f| f.subscribed).map(|f| f.openid.clone())
            }
            None => match self.changed.get(&number) {
                Some(follower) => follower.subscribed.then(|| follower.openid.clone()),
                None => Some(self.openid_of(number)),
            },
        }
    }

    fn stored_mut(&mut self, number: u64) -> Option<&mut Follower> {
        match number.checked_sub(FIRST_ADDED) {
            Some(n) => self.added.get_mut(usize::try_from(n).ok()?),
            None => self.changed.get_mut(&number),
        }
    }

    fn follower_at(&self, number: u64) -> Option<Follower> {
        if let Some(n) = number.checked_sub(FIRST_ADDED) {
            return self.added.get(usize::try_from(n).ok()?).cloned();
        }
        if number >= self.generated {
            return None;
        }
        if let Some(follower) = self.changed.get(&number) {
            return Some(follower.clone());
        }
        let bits = split_mix(self.seed ^ number.rotate_left(17));
        let ago = i64::try_from(self.generated - number).unwrap_or(0).saturating_mul(97);
        Some(Follower {
            openid: self.openid_of(number),
            name: sample_name(number),
            subscribed: true,
            subscribe_time: self.since.saturating_sub(ago.min(94_608_000)), // three years
            subscribe_scene: pick(&SUBSCRIBE_SCENES, bits).to_owned(),
            qr_scene: 0,
            qr_scene_str: String::new(),
            unionid: self.union_id_of(number),
            remark: String::new(),
            tagid_list: Vec::new(),
            unescaped: String::new(),
            blocks_templates: false,
        })
    }

    /// The number that an openid carries, if it is one of this account.
    fn number_of(&self, openid: &str) -> Option<u64> {
        if let Some(number) = self.by_openid.get(openid) {
            return Some(*number);
        }
        let carried = openid.get(6..14)?;
        let mut scattered = 0u64;
        for byte in carried.bytes() {
            let digit = ALPHABET.iter().position(|letter| *letter == byte)?;
            scattered = (scattered << 6) | digit as u64;
        }
        let number = (scattered.wrapping_mul(inverse(SCATTER_FACTOR)) & NUMBER_MASK)
            ^ (split_mix(self.seed) & (FIRST_ADDED - 1));
        (number < self.generated && self.openid_of(number) == openid).then_some(number)
    }

    /// 28 characters as WeChat's: `o`, five that the account's openids share, eight that carry the number,
    /// and fourteen that check it.
    fn openid_of(&self, number: u64) -> String {
        let mut out = String::with_capacity(28);
        out.push('o');
        letters(&mut out, split_mix(self.seed ^ 1), 5);
        let scattered =
            (number ^ (split_mix(self.seed) & (FIRST_ADDED - 1))).wrapping_mul(SCATTER_FACTOR) & NUMBER_MASK;
        letters(&mut out, scattered, 8);
        let check = split_mix(self.seed ^ split_mix(number));
        letters(&mut out, check, 7);
        letters(&mut out, split_mix(check), 7);
        out
    }

    fn person_id(&self, number: u64, openid: &str) -> u64 {
        if number < FIRST_ADDED {
            number
        } else {
            openid.bytes().fold(self.seed, |hash, byte| split_mix(hash ^ u64::from(byte)))
        }
    }

    fn union_id_of(&self, person: u64) -> Option<String> {
        self.open_platform.as_deref().map(|name| union_id(name, person))
    }
}

fn union_id(open_platform: &str, person: u64) -> String {
    let seed = open_platform.bytes().fold(7, |hash, byte| split_mix(hash ^ u64::from(byte)));
    let mut out = String::from("oU");
    let mut hash = split_mix(seed ^ split_mix(person));
    for _ in 0..2 {
        letters(&mut out, hash, 9);
        hash = split_mix(hash);
    }
    letters(&mut out, hash, 8);
    out
}

fn sample_name(number: u64) -> String {
    pick(&SAMPLE_NAMES, split_mix(number)).to_owned()
}

fn pick<'a>(from: &[&'a str], bits: u64) -> &'a str {
    let index = bits.checked_rem(from.len() as u64).and_then(|i| usize::try_from(i).ok()).unwrap_or(0);
    from.get(index).copied().unwrap_or_default()
}

/// `count` letters of `value`, its highest six bits first.
fn letters(out: &mut String, value: u64, count: u32) {
    for index in (0..count).rev() {
        let digit = usize::try_from((value >> (6 * index)) & 63).unwrap_or(0);
        out.push(char::from(ALPHABET.get(digit).copied().unwrap_or(b'A')));
    }
}

/// SplitMix64: cheap, and good enough for test data.
fn split_mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The inverse of an odd number modulo 2⁶⁴, by Newton's doubling of correct bits.
fn inverse(odd: u64) -> u64 {
    (0..6).fold(odd, |x, _| x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followers(n: u64) -> Followers {
        Followers::generated(42, n, Some("demo".into()), 1_700_000_000)
    }

    #[test]
    fn every_openid_finds_its_follower_and_no_other_does() {
        let all = followers(20_000);
        let listed = all.page("", 30_000).unwrap();
        assert_eq!(listed.len(), 20_000);
        let distinct: std::collections::BTreeSet<_> = listed.iter().collect();
        assert_eq!(distinct.len(), 20_000);
        for openid in listed.iter().step_by(997) {
            assert_eq!(openid.len(), 28);
            assert_eq!(&all.get(openid).unwrap().openid, openid);
        }
        let mut other = listed.first().unwrap().clone();
        other.replace_range(27..28, if other.ends_with('A') { "B" } else { "A" });
        for bad in ["", "o", other.as_str(), "öööööööööööööö"] {
            assert_eq!(all.get(bad), None, "{bad}");
        }
    }

    #[test]
    fn pages_follow_each_other_and_skip_who_left() {
        let mut all = followers(25);
        let first = all.page("", 10).unwrap();
        let left = first.get(3).unwrap().clone();
        all.update(&left, |f| f.subscribed = false).unwrap();
        let late = all.add(None, None, None);
        assert_eq!(all.total(), 24);
        all.update(&late.openid, |f| f.subscribed = true).unwrap();
        assert_eq!(all.total(), 25);
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = all.page(&after, 10).unwrap();
            let Some(last) = page.last() else { break };
            after.clone_from(last);
            seen.extend(page);
        }
        assert_eq!(seen.len(), 25);
        assert!(!seen.contains(&left));
        assert_eq!(seen.last(), Some(&late.openid));
        assert_eq!(all.page("nobody", 10), None);
    }

    #[test]
    fn one_person_has_one_union_id_in_accounts_of_one_open_platform() {
        let (a, b) = (followers(3), Followers::generated(43, 3, Some("demo".into()), 0));
        assert_eq!(a.follower_at(1).unwrap().unionid, b.follower_at(1).unwrap().unionid);
        assert_ne!(a.follower_at(1).unwrap().openid, b.follower_at(1).unwrap().openid);
        assert_ne!(a.follower_at(1).unwrap().unionid, a.follower_at(2).unwrap().unionid);
    }
}

//! Access tokens: issued, replaced with a grace period, expired.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::ApiError;

/// Whom a token belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenOwner {
    /// The third-party platform itself.
    Component,
    /// An account that authorized it.
    Authorizer(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct IssuedToken {
    owner: TokenOwner,
    expires_at: i64,
}

/// Every token that is remembered, dead ones for a day so that they are known to be expired.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Tokens {
    issued: BTreeMap<String, IssuedToken>,
    by_owner: BTreeMap<String, Vec<String>>,
    refreshed: BTreeMap<String, u64>,
}

impl TokenOwner {
    fn key(&self) -> &str {
        match self {
            Self::Component => "component",
            Self::Authorizer(app_id) => app_id,
        }
    }
}

impl Tokens {
    /// Puts a new token in force; the owner's earlier ones live on for at most `grace` seconds.
    pub fn issue(&mut self, token: String, owner: TokenOwner, now: i64, lifetime: i64, grace: i64) {
        let theirs = self.by_owner.entry(owner.key().to_owned()).or_default();
        theirs.retain(|old| {
            let keep = self.issued.get_mut(old).is_some_and(|old| {
                old.expires_at = old.expires_at.min(now + grace);
                now < old.expires_at.saturating_add(86_400)
            });
            if !keep {
                self.issued.remove(old);
            }
            keep
        });
        theirs.push(token.clone());
        *self.refreshed.entry(owner.key().to_owned()).or_default() += 1;
        self.issued.insert(token, IssuedToken { owner, expires_at: now + lifetime });
    }

    /// The owner of a token.
    ///
    /// # Errors
    /// 40001 for one that was never issued or was taken back, 42001 for one that has expired.
    pub fn check(&self, token: &str, now: i64) -> Result<TokenOwner, ApiError> {
        let issued = self.issued.get(token).ok_or_else(|| ApiError::new(40001))?;
        if now >= issued.expires_at { Err(ApiError::new(42001)) } else { Ok(issued.owner.clone()) }
    }

    /// Forgets every token of an owner: they become unknown, as if replaced elsewhere.
    pub fn revoke(&mut self, owner: &TokenOwner) {
        for token in self.by_owner.remove(owner.key()).unwrap_or_default() {
            self.issued.remove(&token);
        }
    }

    /// Lets every token of an owner expire now.
    pub fn expire(&mut self, owner: &TokenOwner, now: i64) {
        for token in self.by_owner.get(owner.key()).into_iter().flatten() {
            if let Some(issued) = self.issued.get_mut(token) {
                issued.expires_at = issued.expires_at.min(now);
            }
        }
    }

    /// How many live tokens an owner has.
    #[must_use]
    pub fn live_count(&self, owner: &TokenOwner, now: i64) -> usize {
        let theirs = self.by_owner.get(owner.key()).into_iter().flatten();
        theirs.filter(|token| self.issued.get(*token).is_some_and(|issued| now < issued.expires_at)).count()
    }

    /// Counts issued tokens from zero again.
    pub fn reset_issued_counts(&mut self) {
        self.refreshed.clear();
    }

    /// How many tokens were issued so far: `component`, and one member per app id.
    #[must_use]
    pub fn issued_counts(&self) -> &BTreeMap<String, u64> {
        &self.refreshed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_its_time_and_the_one_before_it_five_minutes_more() {
        let (mut tokens, owner) = (Tokens::default(), TokenOwner::Authorizer("wx1".into()));
        tokens.issue("a".into(), owner.clone(), 0, 7200, 300);
        tokens.issue("b".into(), owner.clone(), 1000, 7200, 300);
        for (what, token, now, expected) in [
            ("the old one within its grace", "a", 1299, Ok(owner.clone())),
            ("the old one after it", "a", 1300, Err(42001)),
            ("the new one to its end", "b", 8199, Ok(owner.clone())),
            ("the new one at its end", "b", 8200, Err(42001)),
            ("one that was never issued", "c", 0, Err(40001)),
        ] {
            assert_eq!(tokens.check(token, now).map_err(|e| e.errcode), expected, "{what}");
        }
        tokens.revoke(&owner);
        assert_eq!(tokens.check("b", 2000).map_err(|e| e.errcode), Err(40001));
        assert_eq!(tokens.issued_counts().get("wx1"), Some(&2));
    }
}

//! What a function may do to tables and queues.

use std::{collections::BTreeSet, fmt};

/// One action on one table, index or queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// As IAM spells it: `dynamodb:Query`.
    pub action: String,
    /// Logical id of a table or queue; an index is `CustomersTable/index/people`.
    pub resource: String,
    /// Where not all of a table is meant, its partition keys, as `dynamodb:LeadingKeys` has them: `TENANTS`, `ACCOUNT#*`.
    pub keys: Option<String>,
}

impl Permission {
    /// Of an action on everything in a table or queue.
    #[must_use]
    pub fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resource: resource.into(), keys: None }
    }

    fn allows_key(&self, key: &str) -> bool {
        self.keys.as_deref().is_none_or(|keys| match keys.strip_suffix('*') {
            Some(beginning) => key.starts_with(beginning),
            None => key == keys,
        })
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.action, self.resource)?;
        match &self.keys {
            Some(keys) => write!(f, " of {keys}"),
            None => Ok(()),
        }
    }
}

/// One action that a request takes on one table, index or queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedAction {
    /// As IAM spells it.
    pub action: String,
    /// As [`Permission::resource`].
    pub resource: String,
    /// The partition keys that the request names of this table, in whichever of its actions.
    pub keys: BTreeSet<String>,
}

impl RequestedAction {
    /// The permission that it lacks; of a key its family alone, as the rest may be an openid or the hash of an API key.
    fn permission(&self, key: Option<&str>) -> Permission {
        let family = |key: &str| match key.split_once('#') {
            Some((family, _)) => format!("{family}#*"),
            None => key.to_owned(),
        };
        Permission { keys: key.map(family), ..Permission::new(&self.action, &self.resource) }
    }
}

/// All that a function may do to tables and queues.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions(pub BTreeSet<Permission>);

impl Permissions {
    /// Returns the permissions by which an action is allowed: one, or one for each family of keys.
    ///
    /// IAM's `ForAllValues` lets a request without keys pass. Here it is refused: whether a request names its keys is not
    /// left to how well we read it.
    ///
    /// # Errors
    /// What is not allowed.
    pub fn allowing(&self, wanted: &RequestedAction) -> Result<Vec<Permission>, Permission> {
        let rights: Vec<_> = self
            .0
            .iter()
            .filter(|right| right.action == wanted.action && right.resource == wanted.resource)
            .collect();
        if let Some(whole) = rights.iter().find(|right| right.keys.is_none()) {
            return Ok(vec![(*whole).clone()]);
        }
        if rights.is_empty() || wanted.keys.is_empty() {
            return Err(wanted.permission(None));
        }
        let of_key = |key: &String| {
            let right = rights.iter().find(|right| right.allows_key(key));
            right.map(|right| (*right).clone()).ok_or_else(|| wanted.permission(Some(key)))
        };
        wanted.keys.iter().map(of_key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_allowed_where_all_keys_of_the_request_are() {
        let right = |keys: Option<&str>| Permission {
            keys: keys.map(str::to_owned),
            ..Permission::new("dynamodb:PutItem", "A")
        };
        let wanted = |keys: &[&str]| RequestedAction {
            action: "dynamodb:PutItem".into(),
            resource: "A".into(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        let some = Permissions([right(Some("ACCOUNT#*")), right(Some("PLATFORM"))].into());
        let all = Permissions([right(None)].into());
        let (accounts, platform) = (right(Some("ACCOUNT#*")), right(Some("PLATFORM")));
        for (what, rights, keys, answer) in [
            ("one key", &some, &["ACCOUNT#wx1"][..], Ok(vec![accounts.clone()])),
            ("a key of each", &some, &["ACCOUNT#wx1", "PLATFORM"], Ok(vec![accounts, platform])),
            ("another beside one", &some, &["ACCOUNT#wx1", "APIKEY#5e"], Err(right(Some("APIKEY#*")))),
            ("more than a key without *", &some, &["PLATFORM2"], Err(right(Some("PLATFORM2")))),
            ("the beginning of a beginning", &some, &["ACCOUNT"], Err(right(Some("ACCOUNT")))),
            ("no key", &some, &[], Err(right(None))),
            ("any key of a whole table", &all, &["APIKEY#5e"], Ok(vec![right(None)])),
            ("no key of a whole table", &all, &[], Ok(vec![right(None)])),
            ("nothing is granted", &Permissions::default(), &["PLATFORM"], Err(right(None))),
        ] {
            assert_eq!(rights.allowing(&wanted(keys)), answer, "{what}");
        }
    }
}

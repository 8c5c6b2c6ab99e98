//! Tenants and their API keys. A key is stored as its hash alone.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Store, keys,
    table::{item, put_action},
};
use crate::{error::Error, ids, secret::Secret};

/// How long a key that was found is trusted without asking again, seconds.
const KEY_CACHE_SECONDS: i64 = 30;
/// Keys remembered at most.
const KEY_CACHE_SIZE: usize = 1_000;

/// Hashes of keys lately seen: (tenant, until).
pub type Cache = Mutex<HashMap<String, (String, i64)>>;

/// A company that uses the hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// `ten_…`.
    pub id: String,
    /// What it calls itself.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct ApiKey {
    tenant_id: String,
}

/// What is stored of an API key.
#[must_use]
pub fn key_hash(key: &Secret) -> String {
    ids::fingerprint(&["api key", key.expose()])
}

impl Store {
    /// Stores a tenant with its first key. A second call with the same ids changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn create_tenant(&self, tenant: &Tenant, key: &Secret) -> Result<(), Error> {
        let hash = key_hash(key);
        let key = ApiKey { tenant_id: tenant.id.clone() };
        self.transact(vec![
            put_action(&self.platform, item(&keys::tenant(&tenant.id), tenant, None)?, None)?,
            put_action(&self.platform, item(&keys::api_key(&hash), &key, None)?, None)?,
        ])
        .await
        .map(drop)
    }

    /// A tenant by its id.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn tenant(&self, id: &str) -> Result<Option<Tenant>, Error> {
        self.get(&self.platform, &keys::tenant(id)).await
    }

    /// The tenant that `key` belongs to.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn tenant_of_key(&self, key: &Secret) -> Result<Option<String>, Error> {
        let (hash, now) = (key_hash(key), self.clock.unix());
        let cached = self.key_cache.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned();
        if let Some((tenant, until)) = cached
            && now < until
        {
            return Ok(Some(tenant));
        }
        let Some(found) = self.get::<ApiKey>(&self.platform, &keys::api_key(&hash)).await? else {
            return Ok(None);
        };
        let mut cache = self.key_cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= KEY_CACHE_SIZE {
            cache.clear();
        }
        cache.insert(hash, (found.tenant_id.clone(), now + KEY_CACHE_SECONDS));
        Ok(Some(found.tenant_id))
    }
}

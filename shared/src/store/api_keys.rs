//! API keys. A key's record is stored under the hash of the key; the key itself is stored nowhere. A tenant's
//! pointers lead to the records of its keys.

use std::sync::Arc;

use aws_sdk_dynamodb::types::TransactWriteItem;
use serde::{Deserialize, Serialize};

use super::{
    dynamo::{
        Attributes,
        actions::{delete_action, put_action},
        database::Database,
        from_item, n,
        query::Query,
        read_valid, to_attr, to_item,
        update::Update,
    },
    keys,
    tenant_items::{list_tenant_action, read_tenant},
    ttl_cache::TtlCache,
};
use crate::{
    error::{Error, StoreError},
    ids,
    model::{
        api_key::ApiKey,
        scope::Scope,
        tenant::{Tenant, TenantStatus},
    },
    secret::Secret,
};

/// How long a key that was read is trusted without reading again, seconds: a revoked one is refused within
/// this.
const KEY_CACHE_SECONDS: i64 = 30;
/// Keys cached by one instance.
const MAX_CACHED_KEYS: usize = 1_000;
/// Precision of a key's last use, seconds: one write an hour, however often it is used.
const LAST_USE_PRECISION_SECONDS: i64 = 3_600;
/// Keys that a tenant may have: all of them are read when one is revoked.
pub const MAX_KEYS_PER_TENANT: usize = 100;
/// Pointers to keys read in one request.
const POINTERS_PER_QUERY: i32 = 200;
/// How long the pointer of a revoked key is stored, seconds: longer than an `Idempotency-Key` is remembered.
const REVOKED_RETENTION_SECONDS: i64 = 48 * 3_600;
/// How often a write that lost a race is tried.
const MAX_WRITE_ATTEMPTS: usize = 4;

/// A key with its tenant.
#[derive(Debug)]
pub struct KeyWithTenant {
    /// The key.
    pub key: ApiKey,
    /// Its tenant.
    pub tenant: Tenant,
}

/// Keys read recently, by hash.
pub(super) type KeyCache = TtlCache<KeyWithTenant>;

pub(super) fn new_key_cache() -> KeyCache {
    TtlCache::new(KEY_CACHE_SECONDS, MAX_CACHED_KEYS)
}

/// The result of creating a key.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyCreation {
    /// It is stored as it is here, by this attempt or an earlier one.
    Created(Box<ApiKey>),
    /// An earlier attempt made it, and it has been revoked since.
    Revoked,
    /// The tenant has [`MAX_KEYS_PER_TENANT`].
    TooMany,
    /// There is no such tenant, or it is being deleted.
    NoTenant,
}

/// The result of a revocation.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyRevocation {
    /// It is revoked.
    Revoked,
    /// The tenant has no such key.
    NotFound,
    /// No other key of the tenant could make a new one, or the only others that could will expire.
    LastKey,
}

/// What a revocation does with a tenant's last key that could make others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastKey {
    /// It stays: a tenant must not lock itself out.
    Keep,
    /// It is revoked too: the operator can make another.
    Revoke,
}

/// The hash under which an API key is stored.
#[must_use]
pub fn key_hash(key: &Secret) -> String {
    ids::fingerprint(&["api key", key.expose()])
}

/// A tenant's pointer to a key's record. The pointer of a revoked key stays for two days, so that a late
/// repetition of the request that made the key does not make it again.
#[derive(Serialize, Deserialize)]
struct KeyPointer {
    id: String,
    hash: String,
    revoked_at: Option<i64>,
}

/// The API keys of tenants.
#[derive(Clone, Copy)]
pub struct ApiKeys<'a> {
    pub(super) db: &'a Database,
    pub(super) cache: &'a KeyCache,
}

impl ApiKeys<'_> {
    /// The key and its tenant, at most 30 s old; [`None`] for an unknown key. An unknown key is
    /// read again each time, so that a new key works at once. Records that the key was used.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn find(self, secret: &Secret) -> Result<Option<Arc<KeyWithTenant>>, Error> {
        let hash = key_hash(secret);
        if let Some(known) = self.cached_by_hash(&hash) {
            return Ok(Some(known));
        }
        let Some(mut key) = self.db.get::<ApiKey>(&self.db.platform, &keys::api_key(&hash)).await? else {
            return Ok(None);
        };
        let Some(tenant) = read_tenant(self.db, &key.tenant_id).await? else { return Ok(None) };
        self.record_use(&mut key, &hash, &tenant).await?;
        let known = Arc::new(KeyWithTenant { key, tenant });
        self.cache.insert(&hash, Arc::clone(&known), 1, self.db.clock.unix());
        Ok(Some(known))
    }

    /// The same from the cache alone.
    pub fn cached(self, secret: &Secret) -> Option<Arc<KeyWithTenant>> {
        self.cached_by_hash(&key_hash(secret))
    }

    fn cached_by_hash(self, hash: &str) -> Option<Arc<KeyWithTenant>> {
        self.cache.get(hash, self.db.clock.unix())
    }

    pub(super) fn clear_cache(self) {
        self.cache.clear();
    }

    /// At most one write an hour. The condition keeps a key that is revoked meanwhile from coming back.
    async fn record_use(self, key: &mut ApiKey, hash: &str, tenant: &Tenant) -> Result<(), Error> {
        let now = self.db.clock.unix();
        if key.is_legacy() {
            return self.adopt_legacy(key, hash, tenant).await;
        }
        if !key.is_valid_at(now) || key.last_used_at.is_some_and(|at| now - at < LAST_USE_PRECISION_SECONDS) {
            return Ok(());
        }
        let update = Update::new().set("last_used_at", n(now)).when("attribute_exists(pk)", &[]);
        self.db.update(&self.db.platform, &keys::api_key(hash), update).await?;
        key.last_used_at = Some(now);
        Ok(())
    }

    /// Completes the record of a key of 0.1, so that it can be listed and revoked like any other.
    async fn adopt_legacy(self, key: &mut ApiKey, hash: &str, tenant: &Tenant) -> Result<(), Error> {
        let now = self.db.clock.unix();
        *key = ApiKey {
            id: ids::derived("key", &[hash]),
            tenant_id: tenant.id.clone(),
            name: "First key".to_owned(),
            prefix: "oak_".to_owned(),
            scopes: Scope::ALL.map(|scope| scope.name().to_owned()).into(),
            created_at: tenant.created_at.as_second(),
            expires_at: None,
            last_used_at: Some(now),
            made_by: None,
        };
        let pointer = KeyPointer { id: key.id.clone(), hash: hash.to_owned(), revoked_at: None };
        let there = Some(("attribute_exists(pk)", Attributes::new()));
        self.db
            .transact(vec![
                put_action(&self.db.platform, to_item(&keys::api_key(hash), key, None)?, there)?,
                put_action(
                    &self.db.platform,
                    to_item(&keys::tenant_key(&tenant.id, &key.id), &pointer, None)?,
                    None,
                )?,
                list_tenant_action(self.db, &tenant.id)?,
            ])
            .await
            .map(drop)
    }

    /// The writes that create a key.
    pub(super) fn create_actions(
        self,
        key: &ApiKey,
        secret: &Secret,
    ) -> Result<[TransactWriteItem; 2], Error> {
        let hash = key_hash(secret);
        let new = || Some(("attribute_not_exists(pk)", Attributes::new()));
        let pointer = to_item(
            &keys::tenant_key(&key.tenant_id, &key.id),
            &KeyPointer { id: key.id.clone(), hash: hash.clone(), revoked_at: None },
            None,
        )?;
        Ok([
            put_action(&self.db.platform, to_item(&keys::api_key(&hash), key, None)?, new())?,
            put_action(&self.db.platform, pointer, new())?,
        ])
    }

    /// Stores a key. A second call with the same key changes nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn create(self, key: &ApiKey, secret: &Secret) -> Result<KeyCreation, Error> {
        let before = self.pointers(&key.tenant_id).await?;
        if let Some(made) = before.iter().find(|pointer| pointer.id == key.id) {
            return self.earlier_creation(made).await;
        }
        if before.iter().filter(|pointer| pointer.revoked_at.is_none()).count() >= MAX_KEYS_PER_TENANT {
            return Ok(KeyCreation::TooMany);
        }
        let tenant_not_deleted = Update::new().add("revision", n(1)).when(
            "attribute_exists(pk) AND (attribute_not_exists(#status) OR #status <> :deleted)",
            &[(":deleted", to_attr(&TenantStatus::Deleted)?)],
        );
        let mut actions =
            vec![tenant_not_deleted.into_action(&self.db.platform, &keys::tenant(&key.tenant_id))?];
        actions.extend(self.create_actions(key, secret)?);
        if self.db.transact(actions).await? {
            return Ok(KeyCreation::Created(Box::new(key.clone())));
        }
        // the same request a moment ago made it, or the tenant is gone
        match self.pointers(&key.tenant_id).await?.iter().find(|pointer| pointer.id == key.id) {
            Some(made) => self.earlier_creation(made).await,
            None => Ok(KeyCreation::NoTenant),
        }
    }

    /// The result of an earlier attempt with this key.
    async fn earlier_creation(self, pointer: &KeyPointer) -> Result<KeyCreation, Error> {
        let key: Option<ApiKey> = self.db.get(&self.db.platform, &keys::api_key(&pointer.hash)).await?;
        Ok(key.map_or(KeyCreation::Revoked, |key| KeyCreation::Created(Box::new(key))))
    }

    /// A tenant's keys, oldest first, expired ones included. One that this release cannot read opens nothing here
    /// and is left out.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(self, tenant: &str) -> Result<Vec<ApiKey>, Error> {
        let pointers = self.pointers(tenant).await?;
        let live = pointers.iter().filter(|pointer| pointer.revoked_at.is_none());
        let wanted: Vec<_> = live.map(|pointer| keys::api_key(&pointer.hash)).collect();
        let found = self.db.get_many(&self.db.platform, &wanted).await?;
        let mut found = read_valid::<ApiKey>(found);
        found.retain(|key| key.tenant_id == tenant && !key.is_legacy());
        found.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(found)
    }

    async fn pointer(self, tenant: &str, id: &str) -> Result<Option<KeyPointer>, Error> {
        let pointer: Option<KeyPointer> =
            self.db.get(&self.db.platform, &keys::tenant_key(tenant, id)).await?;
        Ok(pointer.filter(|pointer| pointer.revoked_at.is_none()))
    }

    /// Whether a tenant has this key, expired ones included.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn contains(self, tenant: &str, id: &str) -> Result<bool, Error> {
        Ok(self.pointer(tenant, id).await?.is_some())
    }

    /// Revokes a tenant's key: other instances refuse it within 30 s. With [`LastKey::Keep`] the last key that
    /// may make others stays, and so does the last of these that never expires: when the others expire, no new
    /// key could be made. Of two keys that are revoked at once, one stays.
    ///
    /// # Errors
    /// [`Error::Store`], also after losing [`MAX_WRITE_ATTEMPTS`] races.
    pub async fn revoke(self, tenant: &str, id: &str, last_key: LastKey) -> Result<KeyRevocation, Error> {
        for _ in 0..MAX_WRITE_ATTEMPTS {
            let Some(stands) = read_tenant(self.db, tenant).await? else {
                return Ok(KeyRevocation::NotFound);
            };
            let Some(pointer) = self.pointer(tenant, id).await? else {
                return Ok(KeyRevocation::NotFound);
            };
            let now = self.db.clock.unix();
            if last_key == LastKey::Keep && self.is_last(tenant, id, now).await? {
                return Ok(KeyRevocation::LastKey);
            }
            // the condition on the tenant's revision: no other key was revoked since it was read
            let unchanged = match stands.revision {
                0 => ("attribute_not_exists(revision) OR revision = :seen", n(0)),
                seen => ("revision = :seen", n(seen)),
            };
            let (condition, seen) = unchanged;
            let counted = Update::new().add("revision", n(1)).when(condition, &[(":seen", seen)]);
            let actions = vec![
                counted.into_action(&self.db.platform, &keys::tenant(tenant))?,
                delete_action(&self.db.platform, &keys::api_key(&pointer.hash), None)?,
                Update::new()
                    .set("revoked_at", n(now))
                    .set("ttl", n(now + REVOKED_RETENTION_SECONDS))
                    .into_action(&self.db.platform, &keys::tenant_key(tenant, id))?,
            ];
            if self.db.transact(actions).await? {
                self.clear_cache();
                return Ok(KeyRevocation::Revoked);
            }
        }
        Err(StoreError::Contended("a tenant's keys are being changed by several at once").into())
    }

    /// Whether it is the last of a tenant's keys that may make others, or the last of these that never expires.
    async fn is_last(self, tenant: &str, id: &str, now: i64) -> Result<bool, Error> {
        let maker = |key: &ApiKey| key.can_make_keys(now);
        let lasting = |key: &ApiKey| key.can_make_keys(now) && key.expires_at.is_none();
        let (this, others): (Vec<_>, Vec<_>) =
            self.list(tenant).await?.into_iter().partition(|key| key.id == id);
        let last = |counts: &dyn Fn(&ApiKey) -> bool| this.iter().any(counts) && !others.iter().any(counts);
        Ok(last(&maker) || last(&lasting))
    }

    /// Erases a tenant's keys; a second call continues where the first one died.
    pub(super) async fn erase_all(self, tenant: &str) -> Result<(), Error> {
        for pointer in self.pointers(tenant).await? {
            let gone = vec![
                delete_action(&self.db.platform, &keys::api_key(&pointer.hash), None)?,
                delete_action(&self.db.platform, &keys::tenant_key(tenant, &pointer.id), None)?,
            ];
            self.db.transact(gone).await?;
        }
        self.clear_cache();
        Ok(())
    }

    /// All pointers of a tenant: at most [`MAX_KEYS_PER_TENANT`], and those of recently revoked keys.
    async fn pointers(self, tenant: &str) -> Result<Vec<KeyPointer>, Error> {
        let pk = keys::tenant(tenant).pk;
        let pointers = Query::on(&self.db.platform, pk, POINTERS_PER_QUERY).prefix(keys::TENANT_KEY_PREFIX);
        self.db.query_all(pointers).await?.into_iter().map(from_item).collect()
    }
}

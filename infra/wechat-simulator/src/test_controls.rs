//! What tests control from inside: faults, quotas, tokens; and what they can inspect.

use crate::error::ApiError;
use crate::faults::{FaultKind, InjectedFault};
use crate::log::{CallCounter, PushDelivery};
use crate::simulator::Simulator;
use crate::state::account::SimulatedAccount;
use crate::state::tokens::TokenOwner;

fn token_owner(app_id: Option<&str>) -> TokenOwner {
    app_id.map_or(TokenOwner::Component, |id| TokenOwner::Authorizer(id.to_owned()))
}

impl Simulator {
    /// Injects a fault; several apply in the order in which they were injected.
    pub fn inject_fault(&self, fault: InjectedFault) {
        self.state().faults.push(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// Makes every refresh of an account's token fail with this code, until [`Simulator::clear_faults`].
    pub fn fail_refreshes(&self, app_id: &str, errcode: i64) {
        let path = "/cgi-bin/component/api_authorizer_token";
        self.inject_fault(
            InjectedFault::once(path, FaultKind::Error { errcode }).times(u32::MAX).for_account(app_id),
        );
    }

    /// Sets the latency of one API in milliseconds, instead of [`Settings::latency_ms`](crate::Settings).
    pub fn slow_down(&self, path: &str, ms: u64) {
        self.configure(|settings| {
            settings.latencies_ms.insert(path.to_owned(), ms);
        });
    }

    /// Drops an account's next `authorized` and `updateauthorized` events: only the browser comes back.
    pub fn withhold_event(&self, app_id: &str) {
        for kind in ["authorized", "updateauthorized"] {
            self.inject_fault(
                InjectedFault::once(format!("push/{kind}"), FaultKind::DropPush).for_account(app_id),
            );
        }
    }

    /// Drops the browser's return after an account's next consent: the hub learns only from the event.
    pub fn withhold_return(&self, app_id: &str) {
        self.inject_fault(InjectedFault::once("page/return", FaultKind::DropReturn).for_account(app_id));
    }

    /// Sets a daily limit, for one account or for all with `*`.
    pub fn limit_quota(&self, app_id: &str, path: &str, daily: u64) {
        self.state().quotas.set_limit(app_id, path, daily);
    }

    /// Sets how many calls of a path an account has made today.
    pub fn set_quota_used(&self, app_id: &str, path: &str, used: u64) {
        let now = self.now();
        self.state().quotas.set_used(app_id, path, used, now);
    }

    /// Expires the tokens of an account or of the component: they return 42001 from now on.
    pub fn expire_tokens(&self, app_id: Option<&str>) {
        let now = self.now();
        self.state().tokens.expire(&token_owner(app_id), now);
    }

    /// Invalidates the tokens of an account or of the component: they return 40001 from now on.
    pub fn invalidate_tokens(&self, app_id: Option<&str>) {
        self.state().tokens.revoke(&token_owner(app_id));
    }

    /// How many tokens have been issued to an account or to the component.
    #[must_use]
    pub fn tokens_issued(&self, app_id: Option<&str>) -> u64 {
        self.state().tokens.issued_counts().get(app_id.unwrap_or("component")).copied().unwrap_or(0)
    }

    /// How often a path was called.
    #[must_use]
    pub fn calls(&self, path: &str) -> CallCounter {
        self.state().calls.counters.get(path).cloned().unwrap_or_default()
    }

    /// Resets the call counters and the counts of issued tokens.
    pub fn clear_calls(&self) {
        let mut state = self.state();
        state.calls = Default::default();
        state.tokens.reset_issued_counts();
    }

    /// The last pushes, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<PushDelivery> {
        self.state().deliveries.0.iter().cloned().collect()
    }

    /// Changes an account without telling the hub.
    ///
    /// # Errors
    /// 40013 for an unknown one.
    pub fn change_account<T>(
        &self,
        app_id: &str,
        change: impl FnOnce(&mut SimulatedAccount) -> T,
    ) -> Result<T, ApiError> {
        let mut state = self.state();
        state.dirty = true;
        Ok(change(state.account_mut(app_id)?))
    }
}

//! `/_sim/…`: the JSON API by which tests and the simulator's page change the simulated state.

mod accounts;
mod followers;
mod platform;
mod response;

use axum::Router;
use axum::routing::{get, post};

use crate::simulator::Simulator;

/// The routes; the simulator is added as state later.
pub(crate) fn router() -> Router<Simulator> {
    Router::new()
        .route("/_sim/accounts", get(accounts::accounts).post(accounts::add_account))
        .route("/_sim/accounts/{app_id}", get(accounts::account).patch(accounts::change_account))
        .route("/_sim/accounts/{app_id}/followers", get(followers::followers).post(followers::add_follower))
        .route(
            "/_sim/accounts/{app_id}/followers/{openid}",
            get(followers::follower).patch(followers::change_follower),
        )
        .route("/_sim/accounts/{app_id}/followers/{openid}/act", post(followers::act))
        .route("/_sim/accounts/{app_id}/followers/{openid}/messages", get(followers::messages))
        .route("/_sim/authorize", post(accounts::authorize))
        .route("/_sim/unauthorize", post(accounts::unauthorize))
        .route("/_sim/push", post(platform::push))
        .route("/_sim/ticket", post(platform::ticket))
        .route("/_sim/deliveries", get(platform::deliveries))
        .route(
            "/_sim/faults",
            get(platform::faults).post(platform::add_faults).delete(platform::clear_faults),
        )
        .route("/_sim/calls", get(platform::calls).delete(platform::clear_calls))
        .route("/_sim/quota", post(platform::quota))
        .route("/_sim/tokens", post(platform::tokens))
        .route("/_sim/settings", get(platform::settings).patch(platform::change_settings))
        .route("/_sim/aes_key", post(platform::aes_key))
}

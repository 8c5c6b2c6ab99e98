//! Pages.
use crate::simulator::Simulator;
use axum::Router;
pub(crate) fn router() -> Router<Simulator> {
    Router::new()
}

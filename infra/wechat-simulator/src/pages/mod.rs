//! Pages.
use axum::Router;
use crate::simulator::Simulator;
pub(crate) fn router() -> Router<Simulator> { Router::new() }

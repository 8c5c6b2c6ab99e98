//! The simulator from outside: its API, its pushes, its HTTP origin.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics is a test that fails")]

mod authorization;
mod crypto_vectors;
mod faults;
mod followers;
mod http;
mod messages;
mod pages;
mod pushes;
mod support;

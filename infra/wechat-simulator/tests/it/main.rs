//! The simulator from outside: its API, its pushes, its HTTP origin.

mod authorization;
mod crypto_vectors;
mod faults;
mod followers;
mod http;
mod messages;
mod pushes;
mod support;

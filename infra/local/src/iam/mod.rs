//! What `template.yaml` allows each function: read from its role and checked before each request, as IAM does.
//! A forgotten permission fails here before it fails on AWS.
//!
//! | module | what it is |
//! |---|---|
//! | [`permission`] | one permission, and all of a function |
//! | [`policy`] | the permissions in a role's statements |
//! | [`required_permissions`] | the permissions that a request of the SDK needs |
//! | [`authorizing_client`] | refuses forbidden requests, between a function's SDK and the services |

pub mod authorizing_client;
pub mod permission;
pub mod policy;
pub mod required_permissions;

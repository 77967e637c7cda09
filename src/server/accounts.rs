//! `/hearth/` routes of people and credentials.

pub(crate) mod audit;
pub(crate) mod groups;
pub(crate) mod import;
pub(crate) mod invites;
pub(crate) mod me;
pub(crate) mod oidc;
pub(crate) mod passkeys;
pub(crate) mod second_factor;
pub(crate) mod session;
pub(crate) mod sessions;
pub(crate) mod tokens;
pub(crate) mod users;

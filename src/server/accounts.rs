//! `/hearth/` routes of people and credentials.

pub(crate) mod me;
pub(crate) mod session;
pub(crate) mod tokens;
pub(crate) mod users;

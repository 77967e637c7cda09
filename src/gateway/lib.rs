//! Decides who answers a request and who pays for it.

pub mod accounts;
pub mod alerts;
pub mod backend;
pub mod call;
pub mod caller;
pub mod channels;
pub mod clock;
pub mod dialect;
pub mod embedding;
pub mod error;
pub mod event;
pub mod gateway;
pub mod passage;
pub mod permission;
pub mod quota;
pub mod request;
pub mod routing;
pub mod vault;
pub mod wire;

pub use error::{Error, Result};
pub use gateway::{Gateway, GatewayConfig};

//! Finds who answers a request, here or elsewhere, and goes on to the next until one does.
//!
//! [`policy`] chooses and is pure; [`Switchboard`] gathers the facts, asks, and remembers how it
//! went. What a channel is made of is [`crate::channels`]' matter.

mod attempt;
mod calls;
mod config;
mod failure;
mod passage;
mod plan;
mod policy;
mod pursuit;
mod relay;
mod route;
mod sticky;
mod switchboard;
#[cfg(test)]
mod tests;

pub use config::RoutingConfig;
pub use policy::Policy;
pub use route::{Route, RouteTarget};
pub use switchboard::Switchboard;

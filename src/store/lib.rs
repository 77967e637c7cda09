//! Rows in, rows out: the only room with SQL.
//!
//! It saves what it is given. Ids of chats and messages, times and hashes are made above it, so
//! that tests own the clock; whose row it is stands in every query, so that a foreign row and an
//! absent one look the same. It knows no HTTP, no passwords in the clear and no policy.

mod api_tokens;
mod channels;
mod chats;
mod connection;
mod error;
mod groups;
mod health;
mod ledger;
mod messages;
mod migrations;
mod money;
mod page;
mod prices;
mod rate_limits;
mod readers;
mod routes;
mod sealed;
mod sessions;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod usage;
mod users;
mod writer;

pub use api_tokens::{ApiToken, ApiTokenId, ApiTokens, NewApiToken};
pub use channels::{Channel, ChannelId, ChannelKey, ChannelKeyId, Channels, NewChannel};
pub use chats::{BadCursor, Chat, ChatChange, ChatCursor, ChatId, Chats, NewChat};
pub use error::{Error, Result};
pub use groups::{Group, GroupId, Groups};
pub use health::StoreReport;
pub use ledger::{
    Amounts, Budget, Calendar, Grant, Holder, Ledger, LedgerReport, NewBudget, Period, Reservation,
    Settled, Shortage, Span, Unit, Wallet,
};
pub use messages::{
    Message, MessageEnd, MessageError, MessageId, MessageRole, MessageStatus, MessageUsage,
    Messages, NewMessage, TurnStart,
};
pub use money::MicroDollars;
pub use page::MAX_PAGE;
pub use prices::{Price, PriceRow, Prices};
pub use rate_limits::{LimitKind, RateLimit, RateLimitRow, RateLimits};
pub use routes::{RouteRow, Routes};
pub use sealed::{Sealed, SealedPlace};
pub use sessions::{NewSession, Session, SessionHash, Sessions};
pub use settings::Settings;
pub use store::Store;
pub use usage::{
    Dimension, ListedUsage, Outcome, Summary, UsageCursor, UsageFilter, UsageRow, UsageSum,
    UsageTable, UsageTotals,
};
pub use users::{Credentials, NewUser, Theme, User, UserChange, UserId, UserRole, Users};

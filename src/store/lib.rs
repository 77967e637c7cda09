//! Rows in, rows out: the only room with SQL.
//!
//! It saves what it is given. Ids of chats and messages, times and hashes are made above it, so
//! that tests own the clock; whose row it is stands in every query, so that a foreign row and an
//! absent one look the same. It knows no HTTP, no passwords in the clear and no policy.

mod api_tokens;
mod audit;
mod channels;
mod chats;
mod connection;
mod error;
mod factors;
mod groups;
mod health;
mod holders;
mod identities;
mod invites;
mod ledger;
mod messages;
mod migrations;
mod money;
mod new_api;
mod page;
mod prices;
mod rate_limits;
mod readers;
mod routes;
mod sealed;
mod sessions;
mod settings;
mod shelf;
mod store;
#[cfg(test)]
mod tests;
mod text_list;
mod usage;
mod users;
mod writer;

pub use api_tokens::{
    ApiToken, ApiTokenChange, ApiTokenId, ApiTokens, FoundToken, NewApiToken, Rotation,
};
pub use audit::{Act, Audit, AuditFilter, AuditHash, AuditReport, AuditRow};
pub use channels::{Channel, ChannelId, ChannelKey, ChannelKeyId, Channels, NewChannel};
pub use chats::{
    BadCursor, Chat, ChatChange, ChatCursor, ChatId, ChatView, Chats, Folder, FolderId, NewChat,
    NewShare, Share, ShareId,
};
pub use error::{Error, Result};
pub use factors::{Factor, Factors, Passkey, PasskeyRow};
pub use groups::{Group, GroupChange, GroupId, Groups};
pub use health::StoreReport;
pub use holders::Holders;
pub use identities::{Identities, Identity};
pub use invites::{Invite, InviteId, Invites, NewInvite};
pub use ledger::{
    Amounts, Budget, Calendar, Grant, Holder, Ledger, LedgerReport, NewBudget, Period, Reservation,
    Settled, Shortage, Span, Unit, Wallet,
};
pub use messages::{
    Hit, ImportedChat, Message, MessageCall, MessageEnd, MessageError, MessageFile, MessageId,
    MessageRole, MessageStatus, MessageUsage, Messages, NewMessage, TurnStart, Window,
};
pub use money::MicroDollars;
pub use new_api::{
    Brought, BroughtCounts, BroughtToken, BroughtUser, NewApi, OldData, OldToken, OldUsage, OldUser,
};
pub use page::MAX_PAGE;
pub use prices::{Price, PriceRow, Prices};
pub use rate_limits::{LimitKind, RateLimit, RateLimitRow, RateLimits};
pub use routes::{RouteRow, Routes};
pub use sealed::{Sealed, SealedPlace};
pub use sessions::{NewSession, Session, SessionHash, SessionOrigin, SessionRow, Sessions};
pub use settings::Settings;
pub use shelf::{Audience, NewShelfItem, Shelf, ShelfId, ShelfItem, ShelfKind};
pub use store::Store;
pub use usage::{
    Dimension, ListedUsage, Outcome, Summary, UsageCursor, UsageFilter, UsageRow, UsageSum,
    UsageTable, UsageTotals,
};
pub use users::{Credentials, NewUser, Theme, User, UserChange, UserId, UserRole, Users};

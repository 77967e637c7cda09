//! What can go wrong between a request and its answer, named by what the caller can do about it.

use std::fmt::Display;
use std::time::Duration;

use hearth_store::{Holder, MicroDollars, Period, Shortage, Unit};

use crate::quota::pace::Measure;

/// Result of this room.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors are values until the edge; `server/error.rs` alone turns them into status codes.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Error {
    /// The request itself is wrong. `param` is the field's name in the dialect.
    #[error("{message}")]
    Invalid { param: Option<String>, message: String },
    /// The model cannot do what the request asks for.
    #[error("{message}")]
    Unsupported { model: String, feature: Feature, message: String },
    #[error("The model `{0}` does not exist or you do not have access to it.")]
    NoModel(String),
    #[error(
        "This model's context is {context_tokens} tokens, but the prompt has {prompt_tokens}\
         {wanted}. Shorten the messages or choose a model with a longer context.",
        wanted = if *max_tokens > 0 { format!(" and max_tokens asks for {max_tokens} more") } else { String::new() }
    )]
    ContextFull { prompt_tokens: u32, max_tokens: u32, context_tokens: u32 },
    #[error(
        "model `{model}` needs {need_bytes} bytes of memory, {free_bytes} are free; loaded: {loaded}"
    )]
    TooBig { model: String, need_bytes: u64, free_bytes: u64, loaded: String },
    /// The model's files are damaged or unsupported; the text names the tensor or key.
    #[error("model `{model}` cannot be loaded: {reason}")]
    BadModel { model: String, reason: String },
    /// The caller asks for more than its share.
    #[error("Too many requests are waiting; try again in {} s.", retry_after.as_secs().max(1))]
    Busy { retry_after: Duration },
    /// A wallet or a budget has less than the request needs. `resets_at`: Unix seconds at which the
    /// budget begins anew; `None` when somebody grants more.
    #[error("{message}")]
    OutOfQuota { message: String, resets_at: Option<i64> },
    /// A rate limit is reached.
    #[error("{message}")]
    TooFast { message: String, measure: Measure, retry_after: Duration },
    /// What is paid for cannot be written down now: the disk is full or has failed.
    #[error("{0}")]
    NoStorage(String),
    /// Others ask for all there is.
    #[error("The model is overloaded; try again in {} s.", retry_after.as_secs().max(1))]
    Overloaded { retry_after: Duration },
    #[error("No valid credential was given.")]
    NotSignedIn,
    #[error("Wrong name or password.")]
    WrongCredentials,
    /// Name and password are right, but a code of the second factor is needed too.
    #[error("Enter the code of your authenticator, or a recovery code.")]
    SecondFactorRequired,
    /// The act is dangerous, and it is a while since the user proved who they are.
    #[error("Confirm first that it is you: enter your password again, or sign in anew.")]
    ConfirmRequired,
    /// The way to sign in is not configured here.
    #[error("{0}")]
    NotOffered(String),
    /// A provider that is to say who somebody is does not answer as it should.
    #[error("{0}")]
    Provider(String),
    #[error("Too many attempts; try again in {} s.", retry_after.as_secs().max(1))]
    TooManyAttempts { retry_after: Duration },
    /// The one-time code of the first setup does not match.
    #[error("This is not the setup code; it is in the log of the server's start.")]
    WrongSetupCode,
    /// A new password is too short, too long or too easy to guess.
    #[error("{0}")]
    WeakPassword(String),
    /// A new name cannot be a user's or an API token's name.
    #[error("{0}")]
    InvalidName(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("Nothing with this id belongs to you.")]
    NotFound,
    /// The state forbids it. `code` is stable, the text is for people.
    #[error("{message}")]
    Conflict { code: &'static str, message: String },
    /// The request ran into the wall-time limit of the configuration.
    #[error("The request took longer than the limit of {} s and was ended.", limit.as_secs())]
    TimedOut { limit: Duration },
    /// Those who could answer elsewhere did not.
    #[error("{message}")]
    Upstream { fault: Fault, message: String },
    /// A rule of this server forbids what the request says.
    #[error("{0}")]
    Blocked(String),
    /// A call came round again through other Hearths.
    #[error(
        "This request has come through this server before, or through too many: a channel of one \
         Hearth leads back to another. Take the model off one of the channels."
    )]
    Loop,
    #[error("The server is shutting down; try again shortly.")]
    Draining,
    /// Not the caller's fault; the log line with the request id says what happened.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Why nobody elsewhere has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The prompt is too long for the model.
    ContextFull,
    /// The provider's rules forbid the content.
    Content,
    /// It took too long.
    TimedOut,
    /// The providers cannot be reached, have failed or do not take our keys.
    Broken,
}

/// What some models do and others do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// To answer chats.
    Chat,
    /// To continue texts.
    Generate,
    Tools,
    Thinking,
    /// To fill a gap between two texts.
    Insert,
    /// To look at pictures.
    Vision,
    /// To take sounds and files.
    Files,
}

/// What the store refuses, in the words of this room.
impl From<hearth_store::Error> for Error {
    fn from(error: hearth_store::Error) -> Error {
        use hearth_store::Error as Store;
        let conflict = |code| Error::Conflict { code, message: sentence(&error) };
        match error {
            Store::NameTaken => conflict("name_taken"),
            Store::LastAdmin => conflict("last_admin"),
            Store::LastOwner => conflict("last_owner"),
            Store::FactorExists => conflict("factor_exists"),
            Store::RowRefused { .. } => conflict("name_taken"),
            Store::Higher => Error::Forbidden("This needs an owner.".to_owned()),
            Store::SetupDone => conflict("setup_done"),
            Store::TokenTaken => conflict("token_taken"),
            Store::Unsealable(reason) => Error::Internal(reason),
            Store::TooMany { .. } => conflict("too_many"),
            Store::ChatFull { .. } => conflict("chat_full"),
            Store::NotNewApi { .. } => Error::Invalid { param: None, message: sentence(&error) },
            Store::NotFound => Error::NotFound,
            Store::TooMuchMoney => Error::Invalid { param: None, message: sentence(&error) },
            Store::Short(shortage) => out_of_quota(&shortage),
            Store::DiskFull | Store::DiskFailed | Store::Closed => {
                Error::NoStorage(sentence(&error))
            }
            Store::Busy => Error::Busy { retry_after: Duration::from_secs(1) },
            _ => Error::Internal(error.to_string()),
        }
    }
}

/// What a shortage is called to whoever asked. It begins with the words that clients of OpenAI look
/// for.
fn out_of_quota(shortage: &Shortage) -> Error {
    let Shortage { holder, period, unit, left, needed, resets_at } = shortage;
    let amount = |count: u64| match (unit, MicroDollars::new(count)) {
        (Unit::Money, Some(money)) => money.to_string(),
        (Unit::Money, None) => "more than any wallet holds".to_owned(),
        (Unit::Tokens, _) => format!("{count} tokens"),
        (Unit::Requests, _) => format!("{count} requests"),
    };
    let whose = match holder {
        Holder::User(_) => "your account",
        Holder::Token(_) => "this API token",
        Holder::Group(_) => "your group",
    };
    let what = match period {
        None => format!("{whose} has {} left", amount(*left)),
        Some(period) => {
            let period = match period {
                Period::Day => "today",
                Period::Week => "this week",
                Period::Month => "this month",
            };
            format!("{whose} has {} left {period}", amount(*left))
        }
    };
    let message = format!(
        "You exceeded your current quota, please check your plan and billing details: {what}, this \
         request needs {}.",
        amount(*needed)
    );
    Error::OutOfQuota { message, resets_at: *resets_at }
}

/// An error's text with a capital letter and a full stop, as the API and the web app show it.
pub fn sentence(error: &dyn Display) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str().trim_end_matches('.'))
}

impl Error {
    /// What happened in a word, for the books.
    pub fn code(&self) -> &'static str {
        match self {
            Error::TimedOut { .. } => "timed_out",
            Error::Draining => "shut_down",
            Error::Overloaded { .. } | Error::Busy { .. } => "overloaded",
            Error::OutOfQuota { .. } => "quota",
            Error::NoStorage(_) => "no_storage",
            Error::Internal(_) => "fault",
            _ => "refused",
        }
    }

    /// An [`Error::Invalid`] about one field.
    pub fn invalid(param: &str, message: impl Into<String>) -> Error {
        Error::Invalid { param: Some(param.to_owned()), message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn a_sentence_begins_with_a_capital_and_ends_with_one_full_stop() {
        for (text, wanted) in
            [("the disk is full", "The disk is full."), ("Öl.", "Öl."), ("élan", "Élan.")]
        {
            assert_eq!(sentence(&text), wanted);
        }
    }
}

//! What an attempt that failed means: for the request, and for the client if nobody answers.

use std::time::Duration;

use crate::channels::exchange::{Trouble, TroubleKind};
use crate::error::{Error, Fault};
use crate::wire::RefusalKind;

/// What is done after an attempt has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The request itself is wrong: nobody else is asked.
    Stop,
    /// A model with a longer context may do, else nobody.
    LongerContext,
    /// Another key of the same channel may do.
    OtherKey,
    /// Somebody else may do; the same one perhaps a moment later.
    Others,
    /// Somebody else may do; the same one will not.
    OnlyOthers,
}

/// What to do about an error of this machine.
pub(super) fn after_local(error: &Error) -> Next {
    match error {
        Error::ContextFull { .. } => Next::LongerContext,
        Error::TooBig { .. }
        | Error::BadModel { .. }
        | Error::Busy { .. }
        | Error::Overloaded { .. }
        | Error::TimedOut { .. }
        | Error::Unsupported { .. }
        | Error::Internal(_) => Next::OnlyOthers,
        _ => Next::Stop,
    }
}

/// What to do about a provider's trouble.
pub(super) fn after_remote(trouble: &Trouble) -> Next {
    match &trouble.kind {
        TroubleKind::Refused(kind) => match kind {
            RefusalKind::Request | RefusalKind::Content => Next::Stop,
            RefusalKind::ContextFull => Next::LongerContext,
            RefusalKind::Key | RefusalKind::Busy => Next::OtherKey,
            RefusalKind::NoModel => Next::OnlyOthers,
            RefusalKind::Broken => Next::Others,
        },
        TroubleKind::Unreachable => Next::Others,
        TroubleKind::TimedOut | TroubleKind::CannotCarry(_) => Next::OnlyOthers,
    }
}

/// What a client is told. What the provider says about the request is the client's to know; what
/// it says about our key or itself is for the log.
pub(super) fn told(model: &str, trouble: Trouble) -> Error {
    let upstream = |fault, message: String| Error::Upstream { fault, message };
    match trouble.kind {
        TroubleKind::Refused(RefusalKind::Request) => {
            Error::Invalid { param: None, message: trouble.message }
        }
        TroubleKind::Refused(RefusalKind::ContextFull) => {
            upstream(Fault::ContextFull, trouble.message)
        }
        TroubleKind::Refused(RefusalKind::Content) => upstream(Fault::Content, trouble.message),
        TroubleKind::Refused(RefusalKind::Busy) => {
            Error::Overloaded { retry_after: trouble.retry_after.unwrap_or(Duration::from_secs(1)) }
        }
        TroubleKind::TimedOut => {
            let message = format!("The provider of `{model}` did not answer in time.");
            upstream(Fault::TimedOut, message)
        }
        TroubleKind::CannotCarry(error) => *error,
        TroubleKind::Unreachable | TroubleKind::Refused(_) => {
            let message = format!("Nobody who offers `{model}` can answer now.");
            upstream(Fault::Broken, message)
        }
    }
}

//! How long a model stays.

use std::time::Duration;

/// How long a model stays that nobody uses, until its memory is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// As the settings say.
    #[default]
    Default,
    For(Duration),
    Forever,
}

impl Keep {
    /// `None` is for ever. `default_s`: the settings' time, 0 is for ever too.
    pub(super) fn time(self, default_s: u64) -> Option<Duration> {
        match self {
            Keep::Default => (default_s > 0).then(|| Duration::from_secs(default_s)),
            Keep::For(time) => Some(time),
            Keep::Forever => None,
        }
    }
}

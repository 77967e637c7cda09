//! A bar for each file of a model that comes or goes.

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::accounts_commands::text;

/// The bars, one under the other.
pub(crate) struct FileBars {
    style: ProgressStyle,
    bar: ProgressBar,
    /// The digest of the file that the last bar is for; empty if it is not known yet.
    current: Option<String>,
}

impl FileBars {
    pub(crate) fn new() -> Result<FileBars> {
        let style = ProgressStyle::with_template(
            "{msg} {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta}",
        )?;
        Ok(FileBars { style, bar: ProgressBar::hidden(), current: None })
    }

    /// Shows a line of progress: `digest`, `total` and `completed`.
    pub(crate) fn show(&mut self, line: &Value) {
        let (digest, completed) = (text(line, "digest"), line["completed"].as_u64().unwrap_or(0));
        // A file that is whole keeps its bar above the next one's.
        if self.current.as_ref() != Some(&digest) {
            self.bar.finish();
            let bar = ProgressBar::new(0).with_style(self.style.clone());
            let short = digest.trim_start_matches("sha256:").chars().take(12);
            bar.set_message(short.collect::<String>());
            // Bytes of an earlier try say nothing of the speed.
            self.bar = bar.with_position(completed);
            self.bar.reset_eta();
            self.current = Some(digest);
        }
        let total = line["total"].as_u64().unwrap_or(0);
        self.bar.set_length(total.max(self.bar.length().unwrap_or(0)));
        self.bar.set_position(completed);
    }

    /// Takes the last bar away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

//! Prints the table, row by row, and keeps every measurement for the JSON file.

use std::path::Path;

use anyhow::Result;
use hearth_benches::rounds::Series;
use hearth_engine::MachineLimits;
use serde_json::{Value, json};

/// What has been measured so far.
pub(crate) struct Report {
    machine: Value,
    model: String,
    rows: Vec<Value>,
}

impl Report {
    /// Measures and prints the machine's limits.
    pub(crate) fn new(limits: &MachineLimits, threads: usize, rounds: usize) -> Report {
        let read = Series::of(7, || limits.read_bytes_per_s()).median();
        let multiply = Series::of(7, || limits.multiply_ops_per_s()).median();
        say(&format!(
            "{threads} threads, medians of {rounds} rounds; the machine reads {:.1} GB/s and does \
             {:.0} Gop/s of 8-bit products\n",
            read / 1e9,
            multiply / 1e9,
        ));
        say("| model | work | unit | Hearth | peer | its figure | ratio | beside it |");
        say("|---|---|---|---|---|---|---|---|");
        let machine = json!({
            "threads": threads, "read_bytes_per_s": read, "multiply_ops_per_s": multiply
        });
        Report { machine, model: String::new(), rows: Vec::new() }
    }

    pub(crate) fn begin_model(&mut self, path: &Path) {
        self.model = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    }

    /// A row of words.
    pub(crate) fn remark(&mut self, work: &str, note: &str) {
        say(&format!("| {} | {work} | | | | | | {note} |", self.model));
        self.rows.push(json!({ "model": self.model, "work": work, "note": note }));
    }

    /// Rows of tokens per second, one for each peer that was measured.
    pub(crate) fn rate(&mut self, work: &str, ours: &Series, peers: &[Side], note: &str) {
        for (name, theirs) in peers.iter().filter(|(_, theirs)| !theirs.0.is_empty()) {
            let ratio = ours.median() / theirs.median();
            self.row(Row { work, unit: "tok/s", ours, name, theirs, ratio, note });
        }
    }

    /// A row of milliseconds.
    pub(crate) fn time(&mut self, work: &str, ours: &Series, (name, theirs): Side, note: &str) {
        let ratio = theirs.median() / ours.median();
        self.row(Row { work, unit: "ms", ours, name, theirs: &theirs, ratio, note });
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let all = json!({ "machine": self.machine, "rows": self.rows });
        Ok(std::fs::write(path, serde_json::to_vec_pretty(&all)?)?)
    }

    fn row(&mut self, row: Row) {
        let Row { work, unit, ours, name, theirs, ratio, note } = row;
        let (model, our_median, their_median) = (&self.model, ours.median(), theirs.median());
        say(&format!(
            "| {model} | {work} | {unit} | {our_median:.1} | {name} | {their_median:.1} | \
             {ratio:.2} | {note} |"
        ));
        self.rows.push(json!({
            "model": model, "work": work, "unit": unit, "hearth": ours.0, "peer": name,
            "peer_values": theirs.0, "ratio": ratio, "note": note,
        }));
    }
}

/// A peer's name and what was measured of it.
pub(crate) type Side<'a> = (&'a str, Series);

struct Row<'a> {
    work: &'a str,
    unit: &'a str,
    ours: &'a Series,
    name: &'a str,
    theirs: &'a Series,
    /// How many times better we are.
    ratio: f64,
    note: &'a str,
}

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn say(line: &str) {
    println!("{line}");
}

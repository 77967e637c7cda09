//! What is measured more than once. Sides take turns in each round: what slows a machine for a
//! while slows all of them alike.

/// One value per round.
#[derive(Clone, Debug, Default)]
pub struct Series(pub Vec<f64>);

impl Series {
    /// Measures so many times.
    pub fn of(rounds: usize, mut measure: impl FnMut() -> f64) -> Series {
        Series((0..rounds).map(|_| measure()).collect())
    }

    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// NaN if nothing was measured.
    pub fn median(&self) -> f64 {
        let mut values = self.0.clone();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

//! What is kept: by key, within so many bytes; who was not asked for longest goes first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::CacheStats;
use crate::event::{Aside, Event, TokenLogprob};

/// What each answer takes beside its events: its place in both tables.
const ENTRY_BYTES: usize = 256;

/// A whole answer.
pub(super) struct Entry {
    pub(super) events: Vec<Event>,
    pub(super) bytes: usize,
    pub(super) until: Instant,
}

type Key = [u8; 32];

/// The answers that are kept.
pub(super) struct Kept {
    max_bytes: usize,
    bytes: usize,
    // Each entry stands in both, under the same turn.
    entries: HashMap<Key, (u64, Arc<Entry>)>,
    turns: BTreeMap<u64, Key>,
    next_turn: u64,
    hits: u64,
    misses: u64,
}

impl Kept {
    pub(super) fn new(max_bytes: usize) -> Kept {
        Kept {
            max_bytes,
            bytes: 0,
            entries: HashMap::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
            hits: 0,
            misses: 0,
        }
    }

    /// Whether there is no room for any.
    pub(super) fn is_off(&self) -> bool {
        self.max_bytes == 0
    }

    /// An answer that is not older than its rule allows now.
    pub(super) fn find(
        &mut self,
        key: &Key,
        max_age: Duration,
        now: Instant,
    ) -> Option<Arc<Entry>> {
        let found = self.entries.get(key).map(|(_, entry)| Arc::clone(entry));
        match found.filter(|entry| now < entry.until && entry.until <= now + max_age) {
            Some(entry) => {
                self.hits += 1;
                self.touch(*key);
                Some(entry)
            }
            None => {
                self.misses += 1;
                self.remove(key);
                None
            }
        }
    }

    pub(super) fn put(&mut self, key: Key, entry: Entry, now: Instant) {
        self.remove(&key);
        let bytes = entry.bytes + ENTRY_BYTES;
        if bytes > self.max_bytes {
            return;
        }
        while self.bytes + bytes > self.max_bytes {
            let Some((_, oldest)) = self.turns.first_key_value() else { break };
            let oldest = *oldest;
            self.remove(&oldest);
        }
        if now >= entry.until {
            return;
        }
        self.bytes += bytes;
        self.next_turn += 1;
        self.turns.insert(self.next_turn, key);
        self.entries.insert(key, (self.next_turn, Arc::new(entry)));
        debug_assert_eq!(self.turns.len(), self.entries.len());
    }

    pub(super) fn clear(&mut self) -> u64 {
        let count = self.entries.len() as u64;
        self.entries.clear();
        self.turns.clear();
        self.bytes = 0;
        count
    }

    pub(super) fn stats(&self) -> CacheStats {
        let (entries, bytes) = (self.entries.len() as u64, self.bytes as u64);
        CacheStats { entries, bytes, hits: self.hits, misses: self.misses }
    }

    fn touch(&mut self, key: Key) {
        let Some((turn, _)) = self.entries.get_mut(&key) else { return };
        self.turns.remove(turn);
        self.next_turn += 1;
        *turn = self.next_turn;
        self.turns.insert(self.next_turn, key);
    }

    fn remove(&mut self, key: &Key) {
        if let Some((turn, entry)) = self.entries.remove(key) {
            self.turns.remove(&turn);
            self.bytes -= entry.bytes + ENTRY_BYTES;
        }
    }
}

/// About the bytes that an event takes.
pub(super) fn bytes_of(event: &Event) -> usize {
    let tokens = |tokens: &[TokenLogprob]| -> usize {
        let top =
            |token: &TokenLogprob| token.top.iter().map(|it| 64 + 2 * it.1.len()).sum::<usize>();
        tokens.iter().map(|token| 96 + 2 * token.text.len() + top(token)).sum()
    };
    let inner = match event {
        Event::Served { ignored, .. } => ignored.iter().map(|name| 24 + name.len()).sum(),
        Event::Text { text, tokens: chosen, .. } => text.len() + tokens(chosen),
        Event::Aside { aside, tokens: chosen, .. } => {
            tokens(chosen)
                + match aside {
                    Aside::Reasoning(text) | Aside::Refusal(text) => text.len(),
                    Aside::CallArguments { text, .. } => text.len(),
                    Aside::CallStart { id, name, .. } => id.len() + name.len(),
                    Aside::Seal(seal) => 64 + seal.value.len(),
                    // Values whose size nobody has counted: as they print.
                    Aside::Citation(citation) => format!("{citation:?}").len(),
                    Aside::Foreign(foreign) => 64 + foreign.value.to_string().len(),
                    Aside::Break => 0,
                }
        }
        Event::Context { tokens } => 4 * tokens.len(),
        Event::Started { .. } | Event::Finished { .. } | Event::Done(_) => 0,
    };
    size_of::<Event>() + inner
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn entry(bytes: usize, until: Instant) -> Entry {
        Entry { events: Vec::new(), bytes, until }
    }

    #[test]
    fn it_holds_to_its_bytes_and_forgets_who_was_not_asked_for_longest() {
        let now = Instant::now();
        let mut kept = Kept::new(3 * (1000 + ENTRY_BYTES));
        for name in 0..3 {
            kept.put([name; 32], entry(1000, now + HOUR), now);
        }
        assert!(kept.find(&[0; 32], HOUR, now).is_some());
        kept.put([3; 32], entry(1000, now + HOUR), now);
        let there: Vec<bool> =
            (0..4).map(|name| kept.find(&[name; 32], HOUR, now).is_some()).collect();
        assert_eq!(there, [true, false, true, true]);
        kept.put([9; 32], entry(10_000, now + HOUR), now);
        assert!(kept.find(&[9; 32], HOUR, now).is_none(), "larger than all the room");
        let stats = kept.stats();
        assert_eq!((stats.entries, stats.hits, stats.misses), (3, 4, 2));
        assert!(stats.bytes <= 3 * (1000 + ENTRY_BYTES as u64));
        assert_eq!((kept.clear(), kept.stats().bytes), (3, 0));
    }

    #[test]
    fn an_answer_is_kept_for_its_time_and_no_longer_than_the_rule_of_today_says() {
        let now = Instant::now();
        let mut kept = Kept::new(10_000);
        kept.put([1; 32], entry(10, now + HOUR), now);
        assert!(kept.find(&[1; 32], HOUR, now + HOUR / 2).is_some());
        assert!(kept.find(&[1; 32], HOUR, now + HOUR).is_none());
        assert_eq!(kept.stats().entries, 0, "what is too old is gone");
        kept.put([1; 32], entry(10, now + HOUR), now);
        assert!(kept.find(&[1; 32], HOUR / 2, now).is_none(), "the rule has become stricter");
    }
}

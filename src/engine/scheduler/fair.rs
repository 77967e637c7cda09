//! Whose turn it is: weighted deficit round-robin over callers, counted in tokens.
//!
//! Whoever wants tokens while others do gets them in turns of [`TURN_TOKENS`] times its weight. A
//! turn begins with a round, in which everybody is given as much; what a caller uses, in a turn or
//! by sequences that already write, is taken off. Who is below zero has had more than its share
//! and waits until the others have caught up.

use std::collections::VecDeque;

use crate::request::CallerKey;

/// Tokens of prompts that a caller of weight one gets before it is the next one's turn. Short, so
/// that a short prompt does not wait for a long one; long enough that few prompts are half done.
const TURN_TOKENS: usize = 128;

/// The accounts of all callers that have sequences, in the order of their turns.
#[derive(Debug)]
pub(crate) struct Shares {
    turn_tokens: i64,
    ring: VecDeque<Account>,
}

#[derive(Debug)]
struct Account {
    caller: CallerKey,
    weight: i64,
    sequences: usize,
    /// Tokens that are due to it; negative if it has had too many. Never more than one turn.
    deficit: i64,
}

impl Shares {
    /// A turn is never longer than what a whole step may run.
    pub(crate) fn new(budget_tokens: usize) -> Shares {
        // Bounded by the settings far below i64.
        Shares { turn_tokens: TURN_TOKENS.min(budget_tokens) as i64, ring: VecDeque::new() }
    }

    /// Counts a sequence in. The newest weight of a caller holds.
    pub(crate) fn join(&mut self, caller: CallerKey, weight: u16) {
        let weight = i64::from(weight.max(1));
        match self.ring.iter_mut().find(|account| account.caller == caller) {
            Some(account) => {
                account.sequences += 1;
                account.weight = weight;
                account.deficit = account.deficit.min(self.turn_tokens * weight);
            }
            // Who is new has had nothing lately: first in the next round.
            None => self.ring.push_front(Account { caller, weight, sequences: 1, deficit: 0 }),
        }
    }

    /// Counts a sequence out. With the last one the account goes: no debt outlives the wish.
    pub(crate) fn leave(&mut self, caller: CallerKey) {
        if let Some(account) = self.ring.iter_mut().find(|account| account.caller == caller) {
            account.sequences -= 1;
        }
        self.ring.retain(|account| account.sequences > 0);
    }

    /// Which of the callers that want tokens gets the next ones, and how many at most.
    pub(crate) fn next(
        &mut self,
        is_wanting: impl Fn(CallerKey) -> bool,
    ) -> Option<(CallerKey, usize)> {
        let wants = |account: &&Account| is_wanting(account.caller);
        if !self.ring.iter().filter(wants).any(|account| account.deficit > 0) {
            let turn_tokens = self.turn_tokens;
            let missing = |account: &Account| (1 - account.deficit).max(0);
            let rounds = |account: &Account| {
                let each = turn_tokens * account.weight;
                (missing(account) + each - 1) / each
            };
            let rounds = self.ring.iter().filter(wants).map(rounds).min()?;
            // Those that want nothing now are given as much, but save no more than a turn.
            for account in &mut self.ring {
                let each = turn_tokens * account.weight;
                account.deficit = (account.deficit + rounds * each).min(each);
            }
        }
        let account = self.ring.iter().filter(wants).find(|account| account.deficit > 0)?;
        Some((account.caller, usize::try_from(account.deficit).unwrap_or(usize::MAX)))
    }

    /// Takes off what a caller has got. A turn that is used up ends.
    pub(crate) fn charge(&mut self, caller: CallerKey, tokens: usize) {
        let Some(index) = self.ring.iter().position(|account| account.caller == caller) else {
            return;
        };
        let account = &mut self.ring[index];
        let had_turn = account.deficit > 0;
        account.deficit -= tokens as i64;
        if had_turn
            && account.deficit <= 0
            && let Some(account) = self.ring.remove(index)
        {
            self.ring.push_back(account);
        }
    }

    /// Gives back what a caller was to get and did not.
    pub(crate) fn refund(&mut self, caller: CallerKey, tokens: usize) {
        if let Some(account) = self.ring.iter_mut().find(|account| account.caller == caller) {
            let most = self.turn_tokens * account.weight;
            account.deficit = (account.deficit + tokens as i64).min(most);
        }
    }

    /// Forgives what is owed beyond one step: called while nobody waits, since tokens that nobody
    /// else wanted are taken from nobody.
    pub(crate) fn forgive(&mut self, budget_tokens: usize) {
        for account in &mut self.ring {
            account.deficit = account.deficit.max(-(budget_tokens as i64));
        }
    }

    /// By how many tokens, per weight, `one` has had more than `other`.
    pub(crate) fn lead(&self, one: CallerKey, other: CallerKey) -> i64 {
        let due = |caller| {
            let account = self.ring.iter().find(|account| account.caller == caller);
            account.map_or(0, |account| account.deficit / account.weight)
        };
        due(other) - due(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves callers that all want endlessly; the tokens that each got.
    fn serve(shares: &mut Shares, callers: &[u64], total: usize) -> Vec<usize> {
        let mut got = vec![0; callers.len()];
        let mut left = total;
        while left > 0 {
            let (caller, most) =
                shares.next(|key| callers.contains(&key.0)).expect("somebody wants");
            let tokens = most.min(left).min(50);
            shares.charge(caller, tokens);
            left -= tokens;
            let index = callers.iter().position(|&key| CallerKey(key) == caller);
            got[index.expect("only who wants is served")] += tokens;
        }
        got
    }

    fn shares(weights: &[u16]) -> Shares {
        let mut shares = Shares::new(512);
        for (caller, &weight) in weights.iter().enumerate() {
            shares.join(CallerKey(caller as u64), weight);
        }
        shares
    }

    #[test]
    fn all_get_the_same_by_weight() {
        let got = serve(&mut shares(&[1, 1, 1]), &[0, 1, 2], 128 * 30);
        assert_eq!(got, [1280, 1280, 1280]);
        let got = serve(&mut shares(&[1, 3]), &[0, 1], 128 * 40);
        assert_eq!(got, [1280, 3840]);
    }

    #[test]
    fn what_running_sequences_use_is_taken_off_the_share() {
        let mut shares = shares(&[1, 1]);
        shares.charge(CallerKey(0), 1000);
        let got = serve(&mut shares, &[0, 1], 3000);
        assert!((got[0] + 1000).abs_diff(got[1]) <= 128, "{got:?}");
    }

    #[test]
    fn who_wants_nothing_saves_no_more_than_one_turn() {
        let mut shares = shares(&[1, 1]);
        serve(&mut shares, &[0], 100_000);
        let got = serve(&mut shares, &[0, 1], 1280);
        assert!(got[0].abs_diff(got[1]) <= 2 * 128, "{got:?}");
    }

    #[test]
    fn what_nobody_else_wanted_is_forgiven() {
        let mut shares = shares(&[1, 1]);
        shares.charge(CallerKey(0), 100_000);
        assert_eq!(shares.lead(CallerKey(0), CallerKey(1)), 100_000);
        shares.forgive(512);
        assert_eq!(shares.lead(CallerKey(0), CallerKey(1)), 512);
    }

    #[test]
    fn an_account_goes_with_its_last_sequence() {
        let mut shares = shares(&[1, 1]);
        shares.join(CallerKey(0), 1);
        shares.leave(CallerKey(0));
        assert_eq!(shares.ring.len(), 2);
        shares.leave(CallerKey(0));
        assert_eq!(shares.ring.len(), 1);
        assert_eq!(shares.next(|key| key == CallerKey(0)), None);
    }
}

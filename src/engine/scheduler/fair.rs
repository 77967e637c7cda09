//! Whose turn it is: weighted deficit round-robin over callers, counted in tokens.
//!
//! Whoever wants tokens while others do gets them in turns of [`TURN_TOKENS`] times its weight. A
//! turn begins with a round, in which everybody is given as much; what a caller uses, in a turn or
//! by sequences that already write, is taken off. Who is below zero has had more than its share
//! and waits until the others have caught up.
//!
//! Within a caller's turn, the lane goes first that has had least: a credential of a user that
//! asks for much does not keep the user's others waiting. Lanes take no places from each other:
//! computing again what one's own other lane had would cost the caller more than waiting does.

use std::collections::VecDeque;

use crate::request::{CallerKey, LaneKey};

/// Tokens of prompts that a caller of weight one gets before it is the next one's turn. Short, so
/// that a short prompt does not wait for a long one; long enough that few prompts are half done.
const TURN_TOKENS: usize = 128;

/// The accounts of all callers that have sequences, in the order of their turns.
#[derive(Debug)]
pub(crate) struct Shares {
    turn_tokens: i64,
    /// What a lane may save up against another of its caller.
    most_credit: i64,
    ring: VecDeque<Account>,
}

#[derive(Debug)]
struct Account {
    caller: CallerKey,
    weight: i64,
    /// Those with sequences.
    lanes: Vec<Lane>,
    /// Tokens that are due to it; negative if it has had too many. Never more than one turn.
    deficit: i64,
}

#[derive(Debug)]
struct Lane {
    key: LaneKey,
    sequences: usize,
    /// Tokens that it has had; only differences between lanes of one caller mean anything.
    used: i64,
}

/// A sequence's place in the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payer {
    pub(crate) caller: CallerKey,
    pub(crate) lane: LaneKey,
}

impl Shares {
    /// A turn is never longer than what a whole step may run.
    pub(crate) fn new(budget_tokens: usize) -> Shares {
        // Bounded by the settings far below i64.
        Shares {
            turn_tokens: TURN_TOKENS.min(budget_tokens) as i64,
            most_credit: 2 * budget_tokens as i64,
            ring: VecDeque::new(),
        }
    }

    /// Counts a sequence in. The newest weight of a caller holds.
    pub(crate) fn join(&mut self, payer: Payer, weight: u16) {
        let weight = i64::from(weight.max(1));
        let caller = payer.caller;
        let index = self.ring.iter().position(|account| account.caller == caller);
        let index = index.unwrap_or_else(|| {
            // Who is new has had nothing lately: first in the next round.
            self.ring.push_front(Account { caller, weight, lanes: Vec::new(), deficit: 0 });
            0
        });
        let account = &mut self.ring[index];
        account.weight = weight;
        account.deficit = account.deficit.min(self.turn_tokens * weight);
        match account.lanes.iter_mut().find(|lane| lane.key == payer.lane) {
            Some(lane) => lane.sequences += 1,
            None => {
                let used = account.least_used();
                account.lanes.push(Lane { key: payer.lane, sequences: 1, used });
            }
        }
    }

    /// Counts a sequence out. With the last one the account goes: no debt outlives the wish.
    pub(crate) fn leave(&mut self, payer: Payer) {
        if let Some(account) = self.account(payer.caller) {
            if let Some(lane) = account.lane(payer.lane) {
                lane.sequences -= 1;
            }
            account.lanes.retain(|lane| lane.sequences > 0);
        }
        self.ring.retain(|account| !account.lanes.is_empty());
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
    pub(crate) fn charge(&mut self, payer: Payer, tokens: usize) {
        let most_credit = self.most_credit;
        let Some(index) = self.ring.iter().position(|account| account.caller == payer.caller)
        else {
            return;
        };
        let account = &mut self.ring[index];
        account.note_used(payer.lane, tokens as i64, most_credit);
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
    pub(crate) fn refund(&mut self, payer: Payer, tokens: usize) {
        let (turn_tokens, most_credit) = (self.turn_tokens, self.most_credit);
        if let Some(account) = self.account(payer.caller) {
            let most = turn_tokens * account.weight;
            account.deficit = (account.deficit + tokens as i64).min(most);
            account.note_used(payer.lane, -(tokens as i64), most_credit);
        }
    }

    /// Forgives what is owed beyond one step: called while nobody waits, since tokens that nobody
    /// else wanted are taken from nobody.
    pub(crate) fn forgive(&mut self, budget_tokens: usize) {
        let budget_tokens = budget_tokens as i64;
        for account in &mut self.ring {
            account.deficit = account.deficit.max(-budget_tokens);
            let most = account.least_used() + budget_tokens;
            account.lanes.iter_mut().for_each(|lane| lane.used = lane.used.min(most));
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

    /// What a lane has had, beside the others of its caller.
    pub(crate) fn used(&self, payer: Payer) -> i64 {
        let account = self.ring.iter().find(|account| account.caller == payer.caller);
        let lane =
            account.and_then(|account| account.lanes.iter().find(|lane| lane.key == payer.lane));
        lane.map_or(0, |lane| lane.used)
    }

    fn account(&mut self, caller: CallerKey) -> Option<&mut Account> {
        self.ring.iter_mut().find(|account| account.caller == caller)
    }
}

impl Account {
    fn lane(&mut self, key: LaneKey) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.key == key)
    }

    fn least_used(&self) -> i64 {
        self.lanes.iter().map(|lane| lane.used).min().unwrap_or(0)
    }

    /// Lanes that want less than they could have save no more than `most_credit` by that.
    fn note_used(&mut self, key: LaneKey, tokens: i64, most_credit: i64) {
        let Some(lane) = self.lane(key) else { return };
        lane.used += tokens;
        let least = lane.used - most_credit;
        self.lanes.iter_mut().for_each(|lane| lane.used = lane.used.max(least));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The only lane of a caller.
    fn payer(caller: u64) -> Payer {
        Payer { caller: CallerKey(caller), lane: LaneKey(0) }
    }

    /// Serves callers that all want endlessly; the tokens that each got.
    fn serve(shares: &mut Shares, callers: &[u64], total: usize) -> Vec<usize> {
        let mut got = vec![0; callers.len()];
        let mut left = total;
        while left > 0 {
            let (caller, most) =
                shares.next(|key| callers.contains(&key.0)).expect("somebody wants");
            let tokens = most.min(left).min(50);
            shares.charge(payer(caller.0), tokens);
            left -= tokens;
            let index = callers.iter().position(|&key| CallerKey(key) == caller);
            got[index.expect("only who wants is served")] += tokens;
        }
        got
    }

    fn shares(weights: &[u16]) -> Shares {
        let mut shares = Shares::new(512);
        for (caller, &weight) in weights.iter().enumerate() {
            shares.join(payer(caller as u64), weight);
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
        shares.charge(payer(0), 1000);
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
        shares.charge(payer(0), 100_000);
        assert_eq!(shares.lead(CallerKey(0), CallerKey(1)), 100_000);
        shares.forgive(512);
        assert_eq!(shares.lead(CallerKey(0), CallerKey(1)), 512);
    }

    #[test]
    fn an_account_goes_with_its_last_sequence() {
        let mut shares = shares(&[1, 1]);
        shares.join(payer(0), 1);
        shares.leave(payer(0));
        assert_eq!(shares.ring.len(), 2);
        shares.leave(payer(0));
        assert_eq!(shares.ring.len(), 1);
        assert_eq!(shares.next(|key| key == CallerKey(0)), None);
    }

    #[test]
    fn a_lane_saves_no_more_than_two_steps_against_another_of_its_caller() {
        let mut shares = Shares::new(512);
        let lane = |lane| Payer { caller: CallerKey(1), lane: LaneKey(lane) };
        shares.join(lane(1), 1);
        shares.charge(lane(1), 5000);
        shares.join(lane(2), 1);
        let lead = |shares: &Shares| shares.used(lane(1)) - shares.used(lane(2));
        assert_eq!(lead(&shares), 0, "who is new begins where the others are");
        shares.charge(lane(1), 300);
        assert_eq!(lead(&shares), 300);
        shares.charge(lane(1), 5000);
        assert_eq!(lead(&shares), 1024);
        shares.forgive(512);
        assert_eq!(lead(&shares), 512);
    }
}

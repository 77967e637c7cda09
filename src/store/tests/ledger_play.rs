//! Random plays of the ledger against a plain model of it: whatever happens in whatever order,
//! both have the same sums.

use std::collections::{BTreeMap, HashMap};

use super::ledger::{assert_sound, money, sums, thousands, used, wish};
use super::{Fixture, new_user};
use crate::{
    Amounts, ApiTokenId, Error, Grant, Holder, MicroDollars, Reservation, Settled, Store, UsageRow,
    UserId, UserRole,
};

/// Steps of one play, and how many plays.
const STEPS: u32 = 400;
const PLAYS: u64 = 6;

/// A wallet as anybody would write it down.
#[derive(Clone, Copy, Default)]
struct Sums {
    is_unlimited: bool,
    remaining: u64,
    held: u64,
    used: u64,
}

/// What one request set aside, by wallet: the amount, and whether it was credit.
type Shares = Vec<(Holder, u64, bool)>;

/// The ledger, as anybody would write it down.
#[derive(Default)]
struct Model {
    wallets: BTreeMap<Holder, Sums>,
    holds: HashMap<String, Shares>,
    /// Ended requests: whether they were taken back.
    ended: HashMap<String, bool>,
}

impl Model {
    fn grant(&mut self, holder: Holder, grant: Grant) {
        let wallet = self.wallets.entry(holder).or_default();
        wallet.is_unlimited = grant == Grant::Unlimited;
        match grant {
            Grant::Add(amount) => wallet.remaining += amount.micros(),
            Grant::Set(amount) => wallet.remaining = amount.micros(),
            Grant::Unlimited => {}
        }
    }

    /// What is given, if anything is.
    fn reserve(&mut self, id: &str, holders: &[Holder], least: u64, most: u64) -> Option<u64> {
        let limited = holders.iter().filter_map(|holder| self.wallets.get(holder));
        let limited = limited.filter(|wallet| !wallet.is_unlimited).map(|wallet| wallet.remaining);
        let given = limited.fold(most, u64::min);
        if given < least {
            return None;
        }
        let mut shares = Shares::new();
        for &holder in holders {
            let unlimited = Sums { is_unlimited: true, ..Sums::default() };
            let wallet = self.wallets.entry(holder).or_insert(unlimited);
            wallet.held += given;
            if !wallet.is_unlimited {
                wallet.remaining -= given;
            }
            shares.push((holder, given, wallet.is_unlimited));
        }
        self.holds.insert(id.to_owned(), shares);
        Some(given)
    }

    fn settle(&mut self, id: &str, cost: u64) -> Settled {
        match self.ended.get(id) {
            Some(true) => return Settled::Void,
            Some(false) => return Settled::Before,
            None => {}
        }
        let mut unpaid = 0;
        for (holder, amount, is_credit) in self.holds.remove(id).unwrap() {
            let wallet = self.wallets.get_mut(&holder).unwrap();
            wallet.held -= amount;
            if is_credit {
                wallet.used += cost;
                continue;
            }
            wallet.remaining += amount;
            let paid = cost.min(wallet.remaining);
            wallet.remaining -= paid;
            wallet.used += paid;
            unpaid = unpaid.max(cost - paid);
        }
        self.ended.insert(id.to_owned(), false);
        Settled::Now { unpaid: money(unpaid) }
    }

    fn give_back(&mut self, id: &str) -> bool {
        let Some(shares) = self.holds.remove(id) else { return false };
        for (holder, amount, is_credit) in shares {
            let wallet = self.wallets.get_mut(&holder).unwrap();
            wallet.held -= amount;
            wallet.remaining += if is_credit { 0 } else { amount };
        }
        true
    }
}

#[tokio::test]
async fn random_plays_end_with_the_sums_of_a_plain_model() {
    for seed in 0..PLAYS {
        let Fixture { mut store, dir } = Fixture::new();
        for name in ["ann", "bob"] {
            store.users().create(new_user(name, UserRole::User)).await.unwrap();
        }
        let mut random = Random(seed);
        let mut model = Model::default();
        for step in 0..STEPS {
            if random.below(60) == 0 {
                // A process that ends without a word.
                drop(store);
                store = Store::open(dir.path()).unwrap();
                let held: Vec<String> = model.holds.keys().cloned().collect();
                for id in &held {
                    model.give_back(id);
                }
                // Nobody is left who could settle them.
                model.ended.extend(held.into_iter().map(|id| (id, true)));
                model.ended.retain(|_, is_void| !*is_void);
            }
            play(&store, &mut model, &mut random, step).await;
            for (holder, expected) in &model.wallets {
                let expected = (expected.remaining, expected.held, expected.used);
                assert_eq!(sums(&store, *holder).await, expected, "seed {seed}, step {step}");
            }
        }
        assert_sound(&store).await;
    }
}

/// One thing that may happen.
async fn play(store: &Store, model: &mut Model, random: &mut Random, step: u32) {
    let ledger = store.ledger();
    let user = UserId(1 + random.below(2).cast_signed());
    let token = (random.below(3) > 0).then(|| ApiTokenId(1 + random.below(3).cast_signed()));
    let holders: Vec<Holder> =
        [Some(Holder::User(user)), token.map(Holder::Token)].into_iter().flatten().collect();
    let known = |random: &mut Random| {
        let mut ids: Vec<&String> = model.holds.keys().chain(model.ended.keys()).collect();
        ids.sort();
        ids.get(random.below(ids.len() as u64) as usize).map(|id| (*id).clone())
    };
    match random.below(10) {
        0 => {
            let holder = holders[random.below(holders.len() as u64) as usize];
            let amount = money(random.below(300));
            let grant = [Grant::Add(amount), Grant::Set(amount), Grant::Unlimited]
                [random.below(3) as usize];
            ledger.grant(holder, grant, "play".to_owned(), 1).await.unwrap();
            model.grant(holder, grant);
        }
        1..5 => {
            let (id, least) = (format!("r{step}"), random.below(50));
            let most = least.max(1) + random.below(100);
            let wish = Reservation {
                user_id: Some(user),
                token_id: token,
                least: Amounts { money: money(least), tokens: 1 },
                most: Amounts { money: money(most), tokens: 1 },
                calendar: thousands,
                ..wish(&id, 0)
            };
            let given = match ledger.reserve(wish).await {
                Ok(given) => Some(given.money.micros()),
                Err(Error::Short(_)) => None,
                Err(other) => panic!("{other}"),
            };
            assert_eq!(given, model.reserve(&id, &holders, least, most));
        }
        5..8 => {
            let Some(id) = known(random) else { return };
            let cost = [0, random.below(40), random.below(200)][random.below(3) as usize];
            let row = UsageRow { user_id: None, token_id: None, ..used(&id, cost) };
            assert_eq!(ledger.settle(row).await.unwrap(), model.settle(&id, cost));
        }
        _ => {
            let Some(id) = known(random) else { return };
            let is_back = model.give_back(&id);
            assert_eq!(ledger.void(id.clone()).await.unwrap(), is_back);
            if is_back {
                model.ended.insert(id, true);
            }
        }
    }
    assert!(model.wallets.values().all(|wallet| wallet.held <= MicroDollars::MAX.micros()));
}

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % end.max(1)
    }
}

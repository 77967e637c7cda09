//! Slows down guessing: so many attempts at once per key, then one per interval.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Most keys that are remembered.
const MAX_KEYS: usize = 10_000;

/// Counts attempts per key. Each key has `burst` attempts; one comes back every `interval_s`.
pub(super) struct Attempts<K> {
    burst: i64,
    interval_s: i64,
    max_keys: usize,
    /// When each key will have all its attempts back.
    whole_at: Mutex<HashMap<K, i64>>,
}

impl<K: Hash + Eq + Clone> Attempts<K> {
    pub(super) fn new(burst: i64, interval_s: i64) -> Attempts<K> {
        Attempts { burst, interval_s, max_keys: MAX_KEYS, whole_at: Mutex::default() }
    }

    /// Takes an attempt, or says how long until there is one.
    pub(super) fn take(&self, key: K, now: i64) -> Result<(), Duration> {
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        let known = whole_at.get(&key).copied();
        let next = known.unwrap_or(now).max(now) + self.interval_s;
        let wait_s = next - now - self.burst * self.interval_s;
        if wait_s > 0 {
            return Err(Duration::from_secs(wait_s.unsigned_abs()));
        }
        if known.is_none() && whole_at.len() >= self.max_keys {
            make_room(&mut whole_at, now, self.max_keys);
        }
        whole_at.insert(key, next);
        Ok(())
    }

    /// Gives an attempt back that was taken by somebody who proved to be right.
    pub(super) fn give_back(&self, key: &K) {
        let mut whole_at = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = whole_at.get_mut(key) {
            *at -= self.interval_s;
        }
    }
}

/// Forgets keys that have all attempts back; failing that, the one nearest to it, so that a
/// flood of new keys does not wash away those that are nearly used up.
fn make_room<K: Hash + Eq + Clone>(whole_at: &mut HashMap<K, i64>, now: i64, max_keys: usize) {
    whole_at.retain(|_, at| *at > now);
    if whole_at.len() >= max_keys {
        let nearest = whole_at.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
        if let Some(key) = nearest {
            whole_at.remove(&key);
        }
    }
}

/// The part of an address that one person controls: all of IPv4, the first half of IPv6.
pub(super) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let half = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(half))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The neighbourhood of an address, larger than what one person usually has: a /24 of IPv4, the
/// first half of IPv6.
pub(super) fn neighbourhood_of(address: IpAddr) -> IpAddr {
    match network_of(address) {
        IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from(u32::from(address) & (u32::MAX << 8))),
        half @ IpAddr::V6(_) => half,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_run_out_and_come_back_one_by_one() {
        let attempts = Attempts::new(3, 10);
        for _ in 0..3 {
            attempts.take("a", 100).unwrap();
        }
        assert_eq!(attempts.take("a", 100), Err(Duration::from_secs(10)));
        assert_eq!(attempts.take("a", 104), Err(Duration::from_secs(6)));
        attempts.take("b", 104).unwrap();
        attempts.take("a", 110).unwrap();
        assert!(attempts.take("a", 110).is_err());
        for _ in 0..3 {
            attempts.take("a", 1_000).unwrap();
        }
        assert!(attempts.take("a", 1_000).is_err(), "rest does not save up more than the burst");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_but_not_saved_up() {
        let attempts = Attempts::new(2, 10);
        for _ in 0..50 {
            attempts.take("a", 100).unwrap();
            attempts.give_back(&"a");
        }
        attempts.take("a", 100).unwrap();
        attempts.take("a", 100).unwrap();
        assert!(attempts.take("a", 100).is_err());
        attempts.give_back(&"unknown");
    }

    #[test]
    fn a_flood_of_keys_is_bounded_and_forgets_nobody_who_is_used_up() {
        let attempts = Attempts { max_keys: 100, ..Attempts::new(2, 10) };
        attempts.take(0, 100).unwrap();
        attempts.take(0, 100).unwrap();
        for key in 1..=300 {
            attempts.take(key, 100).unwrap();
        }
        assert!(attempts.whole_at.lock().unwrap().len() <= 100);
        assert!(attempts.take(0, 100).is_err());
    }

    #[test]
    fn neighbours_in_one_ipv6_network_share_their_attempts() {
        let network = |text: &str| network_of(text.parse().unwrap());
        assert_eq!(network("2001:db8:1:2:a::1"), network("2001:db8:1:2:b::2"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:10.0.0.1"), network("10.0.0.1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
        let neighbourhood = |text: &str| neighbourhood_of(text.parse().unwrap());
        assert_eq!(neighbourhood("10.0.0.1"), neighbourhood("10.0.0.255"));
        assert_ne!(neighbourhood("10.0.0.1"), neighbourhood("10.0.1.1"));
        assert_eq!(neighbourhood("2001:db8:1:2::1"), neighbourhood("2001:db8:1:2::2"));
        assert_ne!(neighbourhood("2001:db8:1:2::1"), neighbourhood("2001:db8:1:3::1"));
    }
}

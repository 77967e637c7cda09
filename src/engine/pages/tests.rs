//! Free, held and cached pages always add up.

use super::{Lease, Pages};
use crate::prefix::{Chain, PageHash};
use crate::request::CallerKey;

fn hashes(tokens: &[u32]) -> Vec<PageHash> {
    Chain::new(CallerKey(1), 1, tokens).full().to_vec()
}

/// A lease whose pages hold these tokens, one each.
fn filled(pages: &Pages, hashes: &[PageHash]) -> Lease {
    let lease = pages.lease_after(hashes, hashes.len()).expect("there is room");
    hashes.iter().enumerate().for_each(|(index, &hash)| lease.name(index, hash));
    lease
}

fn check(pages: &Pages, leases: &[&Lease]) {
    assert!(pages.check(leases.iter().copied()));
}

#[test]
fn a_dropped_lease_frees_its_pages() {
    let pages = Pages::new(4);
    let mut lease = pages.lease();
    assert!(lease.grow(3) && lease.grow(2));
    assert_eq!((lease.pages().len(), pages.held()), (3, 3));
    check(&pages, &[&lease]);
    assert!(!pages.check([].iter()), "a lease that is not counted is missed");
    drop(lease);
    assert_eq!((pages.held(), pages.cached()), (0, 0));
    check(&pages, &[]);
}

#[test]
fn a_lease_that_cannot_grow_takes_nothing() {
    let pages = Pages::new(4);
    let (mut first, mut second) = (pages.lease(), pages.lease());
    assert!(first.grow(3));
    assert!(!second.grow(2));
    assert_eq!(pages.held(), 3);
    assert!(second.grow(1));
    check(&pages, &[&first, &second]);
}

#[test]
fn a_named_page_is_found_after_its_lease_and_shared_while_it_is_held() {
    let pages = Pages::new(4);
    let names = hashes(&[1, 2, 3]);
    let first = filled(&pages, &names);
    let ids = first.pages().to_vec();
    drop(first);
    assert_eq!((pages.held(), pages.cached()), (0, 3));
    let one = pages.lease_after(&names[..2], 3).expect("two are there, one is free");
    assert_eq!(one.pages()[..2], ids[..2]);
    let two = pages.lease_after(&names, 3).expect("all are there");
    assert_eq!(two.pages(), ids);
    assert_eq!((pages.held(), pages.cached()), (4, 0), "shared ones count once");
    check(&pages, &[&one, &two]);
    drop(one);
    assert_eq!((pages.held(), pages.cached()), (3, 0));
    drop(two);
    check(&pages, &[]);
}

#[test]
fn the_page_let_go_longest_ago_makes_room_and_ends_before_beginnings() {
    let pages = Pages::new(4);
    let (old, new) = (hashes(&[1, 2]), hashes(&[7, 8]));
    drop(filled(&pages, &old));
    drop(filled(&pages, &new));
    let mut lease = pages.lease();
    assert!(lease.grow(1));
    assert_eq!((pages.known(&old), pages.known(&new)), (1, 2), "the end of the older");
    // Used again, the older one is the newer one.
    drop(pages.lease_after(&old[..1], 1));
    assert!(lease.grow(3));
    assert_eq!((pages.known(&old), pages.known(&new)), (1, 0));
    check(&pages, &[&lease]);
}

#[test]
fn pages_about_to_be_reused_do_not_count_as_room() {
    let pages = Pages::new(3);
    let names = hashes(&[1, 2]);
    drop(filled(&pages, &names));
    assert!(pages.lease_after(&names, 4).is_none());
    assert_eq!((pages.held(), pages.cached()), (0, 2), "nothing was taken");
    let lease = pages.lease_after(&names, 3).expect("one is free");
    check(&pages, &[&lease]);
}

#[test]
fn of_two_pages_with_the_same_content_one_is_kept() {
    let pages = Pages::new(4);
    let names = hashes(&[1]);
    let (mut first, mut second) = (pages.lease(), pages.lease());
    assert!(first.grow(1) && second.grow(1));
    first.name(0, names[0]);
    second.name(0, names[0]);
    check(&pages, &[&first, &second]);
    drop(first);
    drop(second);
    assert_eq!(pages.cached(), 1);
    check(&pages, &[]);
}

#[test]
fn forgotten_pages_are_not_found_again() {
    let pages = Pages::new(4);
    let names = hashes(&[1, 2]);
    let lease = filled(&pages, &names);
    lease.forget();
    assert_eq!(pages.known(&names), 0);
    check(&pages, &[&lease]);
    drop(lease);
    assert_eq!(pages.cached(), 0);
    check(&pages, &[]);
}

//! Who holds which page of the KV cache. Integers only; the data lies in `kv.rs`.

use std::cell::RefCell;
use std::rc::Rc;

/// Index of a page of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PageId(pub(crate) u32);

/// All pages of one model.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    book: Rc<RefCell<Book>>,
}

/// Every page is either in `free` or marked in `is_held`, never both, never neither.
#[derive(Debug)]
struct Book {
    free: Vec<PageId>,
    is_held: Vec<bool>,
}

/// Pages held by one sequence, in the order of its tokens. Dropping it frees them.
#[derive(Debug)]
pub(crate) struct Lease {
    pages: Vec<PageId>,
    book: Rc<RefCell<Book>>,
}

impl Pages {
    pub(crate) fn new(total: usize) -> Pages {
        let count = u32::try_from(total).expect("page counts are bounded by memory");
        // Backwards, so that the first lease gets the first pages.
        let free = (0..count).rev().map(PageId).collect();
        Pages { book: Rc::new(RefCell::new(Book { free, is_held: vec![false; total] })) }
    }

    pub(crate) fn total(&self) -> usize {
        self.book.borrow().is_held.len()
    }

    pub(crate) fn free(&self) -> usize {
        self.book.borrow().free.len()
    }

    /// A lease of no pages yet.
    pub(crate) fn lease(&self) -> Lease {
        Lease { pages: Vec::new(), book: Rc::clone(&self.book) }
    }

    /// Whether free + held = total, with `held` as counted by the holders.
    pub(crate) fn check(&self, held: usize) -> bool {
        let book = self.book.borrow();
        let marked = book.is_held.iter().filter(|&&is_held| is_held).count();
        let free_are_unmarked = book.free.iter().all(|page| !book.is_held[page.0 as usize]);
        free_are_unmarked && marked == held && book.free.len() + held == book.is_held.len()
    }
}

impl Lease {
    /// Takes pages until there are `count`. Takes none and says `false` if too few are free.
    pub(crate) fn grow(&mut self, count: usize) -> bool {
        let more = count.saturating_sub(self.pages.len());
        let mut book = self.book.borrow_mut();
        if book.free.len() < more {
            return false;
        }
        for _ in 0..more {
            let page = book.free.pop().expect("counted above");
            debug_assert!(!book.is_held[page.0 as usize], "a free page is not held");
            book.is_held[page.0 as usize] = true;
            self.pages.push(page);
        }
        true
    }

    pub(crate) fn pages(&self) -> &[PageId] {
        &self.pages
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut book = self.book.borrow_mut();
        for page in self.pages.drain(..).rev() {
            debug_assert!(book.is_held[page.0 as usize], "a leased page is held");
            book.is_held[page.0 as usize] = false;
            book.free.push(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_frees_its_pages() {
        let pages = Pages::new(4);
        let mut lease = pages.lease();
        assert!(lease.grow(3) && lease.grow(2));
        assert_eq!((lease.pages().len(), pages.free()), (3, 1));
        assert!(pages.check(3) && !pages.check(2));
        drop(lease);
        assert_eq!(pages.free(), 4);
        assert!(pages.check(0));
    }

    #[test]
    fn a_lease_that_cannot_grow_takes_nothing() {
        let pages = Pages::new(4);
        let (mut first, mut second) = (pages.lease(), pages.lease());
        assert!(first.grow(3));
        assert!(!second.grow(2));
        assert_eq!(pages.free(), 1);
        assert!(second.grow(1) && pages.check(4));
    }
}

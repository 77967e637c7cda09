//! Who holds which page of the KV cache, and which pages hold what. Integers only; the data lies
//! in `kv.rs`.
//!
//! A page is free, held or cached. A held one may be shared by sequences that begin alike; a
//! cached one is held by nobody but keeps what it holds until its place is needed, the one that
//! was let go longest ago first.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::prefix::PageHash;

/// Index of a page of the KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PageId(pub(crate) u32);

/// All pages of one model.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    book: Rc<RefCell<Book>>,
}

/// Every page is either in `free`, or in `cached`, or has holders: free + cached + held = total,
/// a page with many holders counted once.
#[derive(Debug)]
struct Book {
    pages: Vec<Page>,
    free: Vec<PageId>,
    /// Pages that nobody holds, by when they were let go.
    cached: BTreeMap<u64, PageId>,
    /// Pages whose content is named, held or cached.
    by_hash: HashMap<PageHash, PageId>,
    /// Counts pages that were let go.
    clock: u64,
}

#[derive(Clone, Debug, Default)]
struct Page {
    holders: u32,
    /// What it holds, if that may be shared.
    hash: Option<PageHash>,
    /// Its key in `cached`.
    let_go: u64,
}

/// Pages held by one sequence, in the order of its tokens. Dropping it lets them go.
#[derive(Debug)]
pub(crate) struct Lease {
    pages: Vec<PageId>,
    book: Rc<RefCell<Book>>,
}

impl Pages {
    pub(crate) fn new(total: usize) -> Pages {
        let count = u32::try_from(total).expect("page counts are bounded by memory");
        let book = Book {
            pages: vec![Page::default(); total],
            // Backwards, so that the first lease gets the first pages.
            free: (0..count).rev().map(PageId).collect(),
            cached: BTreeMap::new(),
            by_hash: HashMap::new(),
            clock: 0,
        };
        Pages { book: Rc::new(RefCell::new(book)) }
    }

    pub(crate) fn total(&self) -> usize {
        self.book.borrow().pages.len()
    }

    pub(crate) fn cached(&self) -> usize {
        self.book.borrow().cached.len()
    }

    pub(crate) fn held(&self) -> usize {
        let book = self.book.borrow();
        book.pages.len() - book.free.len() - book.cached.len()
    }

    /// A lease of no pages yet.
    pub(crate) fn lease(&self) -> Lease {
        Lease { pages: Vec::new(), book: Rc::clone(&self.book) }
    }

    /// How many of these pages, from the first on, are there.
    pub(crate) fn known(&self, hashes: &[PageHash]) -> usize {
        self.book.borrow().known(hashes).count()
    }

    /// A lease of `count` pages: those of `hashes` that are there, from the first on, and then
    /// new ones. `None` if too few can be had.
    pub(crate) fn lease_after(&self, hashes: &[PageHash], count: usize) -> Option<Lease> {
        let mut book = self.book.borrow_mut();
        let known: Vec<PageId> = book.known(hashes).take(count).collect();
        let idle = known.iter().filter(|page| book.page(**page).holders == 0).count();
        if book.free.len() + book.cached.len() - idle < count - known.len() {
            return None;
        }
        known.iter().for_each(|&page| book.hold(page));
        drop(book);
        let mut lease = Lease { pages: known, book: Rc::clone(&self.book) };
        let has_grown = lease.grow(count);
        debug_assert!(has_grown, "counted above");
        Some(lease)
    }

    /// Whether free + held + cached = total, with holders as these leases count them.
    pub(crate) fn check<'a>(&self, leases: impl Iterator<Item = &'a Lease>) -> bool {
        let book = self.book.borrow();
        let mut holders = vec![0; book.pages.len()];
        for page in leases.flat_map(Lease::pages) {
            holders[page.0 as usize] += 1;
        }
        let held = holders.iter().filter(|&&count| count > 0).count();
        book.pages.iter().map(|page| page.holders).eq(holders)
            && book.free.len() + held + book.cached.len() == book.pages.len()
            && book.free.iter().all(|&page| {
                let page = book.page(page);
                page.holders == 0 && page.hash.is_none()
            })
            && book.cached.iter().all(|(&at, &page)| {
                let page = book.page(page);
                page.holders == 0 && page.hash.is_some() && page.let_go == at
            })
            && book.by_hash.iter().all(|(&hash, &page)| book.page(page).hash == Some(hash))
            && book.by_hash.len() == book.pages.iter().filter(|page| page.hash.is_some()).count()
    }
}

impl Lease {
    /// Takes pages until there are `count`. Takes none and says `false` if too few can be had.
    pub(crate) fn grow(&mut self, count: usize) -> bool {
        let more = count.saturating_sub(self.pages.len());
        let mut book = self.book.borrow_mut();
        if book.free.len() + book.cached.len() < more {
            return false;
        }
        for _ in 0..more {
            let page = book.take();
            self.pages.push(page);
        }
        true
    }

    pub(crate) fn pages(&self) -> &[PageId] {
        &self.pages
    }

    /// Says what a page of this lease holds from now on. A page with the same content that was
    /// named before stays the one that others find.
    pub(crate) fn name(&self, index: usize, hash: PageHash) {
        let mut book = self.book.borrow_mut();
        let id = self.pages[index];
        if book.page(id).hash.is_none() && !book.by_hash.contains_key(&hash) {
            book.by_hash.insert(hash, id);
            book.page_mut(id).hash = Some(hash);
        }
    }

    /// Takes the names of all pages back, so that nobody finds them any more.
    pub(crate) fn forget(&self) {
        let mut book = self.book.borrow_mut();
        for &page in &self.pages {
            book.forget(page);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut book = self.book.borrow_mut();
        // The last page first: it goes first too, because it is of no use without those before.
        for page in self.pages.drain(..).rev() {
            book.let_go(page);
        }
    }
}

impl Book {
    fn page(&self, id: PageId) -> &Page {
        &self.pages[id.0 as usize]
    }

    fn page_mut(&mut self, id: PageId) -> &mut Page {
        &mut self.pages[id.0 as usize]
    }

    fn known(&self, hashes: &[PageHash]) -> impl Iterator<Item = PageId> {
        hashes.iter().map_while(|hash| self.by_hash.get(hash).copied())
    }

    /// A page of no content, for a holder; some is there.
    fn take(&mut self) -> PageId {
        let id = self.free.pop().unwrap_or_else(|| {
            let (_, oldest) = self.cached.pop_first().expect("a free or cached page was counted");
            self.forget(oldest);
            oldest
        });
        let page = self.page_mut(id);
        debug_assert!(page.holders == 0, "a free page is not held");
        page.holders = 1;
        id
    }

    fn hold(&mut self, id: PageId) {
        let page = self.page_mut(id);
        page.holders += 1;
        if page.holders == 1 {
            let at = page.let_go;
            self.cached.remove(&at);
        }
    }

    fn let_go(&mut self, id: PageId) {
        self.clock += 1;
        let clock = self.clock;
        let page = self.page_mut(id);
        debug_assert!(page.holders > 0, "a leased page is held");
        page.holders -= 1;
        if page.holders > 0 {
            return;
        }
        page.let_go = clock;
        match page.hash {
            Some(_) => {
                self.cached.insert(clock, id);
            }
            None => self.free.push(id),
        }
    }

    fn forget(&mut self, id: PageId) {
        if let Some(hash) = self.page_mut(id).hash.take() {
            self.by_hash.remove(&hash);
        }
    }
}

#[cfg(test)]
mod tests;

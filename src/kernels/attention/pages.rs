//! Keys and values of one layer, in pages.
//!
//! ```text
//! keys    [page, kv_head, 16 tokens of the page, head_dim, token of 16]
//! values  [page, kv_head, token of the page, head_dim, filled up to a multiple of 16]
//! ```
//!
//! Keys of 16 tokens lie side by side, so that one register holds a column of 16 of them and a
//! score needs no sum across a register.

use std::io;

use crate::half::narrow_all;
use crate::memory::Memory;
use crate::packed::TILE;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvNumber {
    F32,
    F16,
}

/// One layer's keys and values.
#[derive(Debug)]
pub struct KvPages {
    number: KvNumber,
    pages: usize,
    page_tokens: usize,
    heads: usize,
    head_dim: usize,
    keys: Memory<u8>,
    values: Memory<u8>,
}

impl KvNumber {
    /// Bytes of one number.
    pub fn bytes(self) -> usize {
        match self {
            KvNumber::F32 => 4,
            KvNumber::F16 => 2,
        }
    }
}

impl KvPages {
    /// Pages that hold nothing yet. Memory is taken page by page, when it is first written.
    pub fn new(
        number: KvNumber,
        (pages, page_tokens): (usize, usize),
        (heads, head_dim): (usize, usize),
    ) -> io::Result<KvPages> {
        assert!(page_tokens > 0 && heads > 0 && head_dim > 0, "a page holds something");
        let key_len = page_tokens.div_ceil(TILE) * TILE * head_dim;
        let value_len = page_tokens * head_dim.div_ceil(TILE) * TILE;
        let bytes = |len: usize| pages * heads * len * number.bytes();
        let (keys, values) = (Memory::zeroed(bytes(key_len))?, Memory::zeroed(bytes(value_len))?);
        Ok(KvPages { number, pages, page_tokens, heads, head_dim, keys, values })
    }

    pub fn number(&self) -> KvNumber {
        self.number
    }

    pub fn pages(&self) -> usize {
        self.pages
    }

    pub fn page_tokens(&self) -> usize {
        self.page_tokens
    }

    pub fn heads(&self) -> usize {
        self.heads
    }

    pub fn head_dim(&self) -> usize {
        self.head_dim
    }

    /// Writes the key and value of one token. `key`, `value`: [heads, head_dim].
    pub fn store(&mut self, (page, place): (usize, usize), key: &[f32], value: &[f32]) {
        assert!(page < self.pages && place < self.page_tokens, "a place in the cache");
        assert!(key.len() == self.heads * self.head_dim && value.len() == key.len());
        match self.number {
            KvNumber::F32 => {
                let bytes =
                    |values: &[f32]| values.iter().map(|value| value.to_ne_bytes()).collect();
                self.put::<4>((page, place), bytes(key), bytes(value));
            }
            KvNumber::F16 => {
                let bytes = |values: &[f32]| {
                    let mut halves = vec![0; values.len()];
                    narrow_all(values, &mut halves);
                    halves.into_iter().map(u16::to_ne_bytes).collect()
                };
                self.put::<2>((page, place), bytes(key), bytes(value));
            }
        }
    }

    /// Writes numbers of `N` bytes: a key down its column, a value along its row.
    fn put<const N: usize>(
        &mut self,
        (page, place): (usize, usize),
        key: Vec<[u8; N]>,
        value: Vec<[u8; N]>,
    ) {
        let (tiles, stride) = (self.page_tokens.div_ceil(TILE), self.value_stride());
        let keys = self.keys.as_chunks_mut::<N>().0;
        let values = self.values.as_chunks_mut::<N>().0;
        let heads = key.chunks_exact(self.head_dim).zip(value.chunks_exact(self.head_dim));
        for (head, (key, value)) in heads.enumerate() {
            let block = page * self.heads + head;
            let tile = (block * tiles + place / TILE) * self.head_dim * TILE + place % TILE;
            for (to, from) in keys[tile..].iter_mut().step_by(TILE).zip(key) {
                *to = *from;
            }
            let row = (block * self.page_tokens + place) * stride;
            values[row..row + self.head_dim].copy_from_slice(value);
        }
    }

    /// Numbers from one token's value to the next one's.
    pub(super) fn value_stride(&self) -> usize {
        self.head_dim.div_ceil(TILE) * TILE
    }

    /// The first token of the tile of keys in which a sequence's token lies. A page starts a tile.
    pub(super) fn tile_start(&self, token: usize) -> usize {
        token - token % self.page_tokens % TILE
    }

    /// The first token of the tile after the one that starts with `tile`.
    pub(super) fn next_tile(&self, tile: usize) -> usize {
        tile + TILE.min(self.page_tokens - tile % self.page_tokens)
    }

    /// The keys of a sequence's tile. Unsafe: `token` starts one, and the pages hold it.
    #[inline(always)]
    pub(super) unsafe fn keys_at(&self, pages: &[u32], head: usize, token: usize) -> *const u8 {
        let page = pages[token / self.page_tokens] as usize;
        let tiles = self.page_tokens.div_ceil(TILE);
        let tile = (page * self.heads + head) * tiles + token % self.page_tokens / TILE;
        // SAFETY: a tile of the cache.
        unsafe { self.keys.as_ptr().add(tile * TILE * self.head_dim * self.number.bytes()) }
    }

    /// The value of a token of a sequence; those of the rest of its page follow. Unsafe: the pages
    /// must hold it.
    #[inline(always)]
    pub(super) unsafe fn values_at(&self, pages: &[u32], head: usize, token: usize) -> *const u8 {
        let page = pages[token / self.page_tokens] as usize;
        let row = (page * self.heads + head) * self.page_tokens + token % self.page_tokens;
        // SAFETY: a row of the cache.
        unsafe { self.values.as_ptr().add(row * self.value_stride() * self.number.bytes()) }
    }

    /// The key and value of one token, as they are kept; for the plain twin.
    pub(crate) fn token(&self, (page, place): (usize, usize), head: usize) -> (Vec<f32>, Vec<f32>) {
        let (tiles, stride) = (self.page_tokens.div_ceil(TILE), self.value_stride());
        let block = page * self.heads + head;
        let tile = (block * tiles + place / TILE) * self.head_dim * TILE + place % TILE;
        let row = (block * self.page_tokens + place) * stride;
        let columns = 0..self.head_dim;
        let key = columns.clone().map(|column| get(self.number, &self.keys, tile + column * TILE));
        let value = columns.map(|column| get(self.number, &self.values, row + column));
        (key.collect(), value.collect())
    }
}

fn get(kind: KvNumber, bytes: &[u8], index: usize) -> f32 {
    match kind {
        KvNumber::F32 => {
            let bytes = &bytes[4 * index..4 * index + 4];
            f32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        }
        KvNumber::F16 => {
            crate::half::widen(u16::from_ne_bytes([bytes[2 * index], bytes[2 * index + 1]]))
        }
    }
}

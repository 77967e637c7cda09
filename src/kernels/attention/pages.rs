//! Keys and values of one layer, in pages.
//!
//! ```text
//! keys    [page, kv_head, 16 tokens of the page, head_dim, token of 16]
//! values  [page, kv_head, token of the page, head_dim, filled up to a multiple of 16]
//! ```
//!
//! Keys of 16 tokens lie side by side, so that one register holds a column of 16 of them and a
//! score needs no sum across a register. Where the scales of 8-bit numbers lie, `kept.rs` says.

use std::io;
use std::ops::Range;

use crate::half::{narrow, narrow_all, widen};
use crate::memory::Memory;
use crate::packed::TILE;
use crate::team::{Shares, Team};

use super::kept::{BLOCK, SCALES_BYTES};

/// Tokens from which on storing them is shared out.
const SHARED_ROWS: usize = 16;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvNumber {
    F32,
    F16,
    /// Bytes, and a half float for each 32 of a token's in one head: each is off by at most
    /// 1/254 of the largest of them, and the rounding of the scale.
    Q8,
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
    /// Bytes of one number, without a scale.
    fn bytes(self) -> usize {
        match self {
            KvNumber::F32 => 4,
            KvNumber::F16 => 2,
            KvNumber::Q8 => 1,
        }
    }

    /// Bytes of one tile of keys.
    fn tile_bytes(self, head_dim: usize) -> usize {
        let scales = if self == KvNumber::Q8 { head_dim.div_ceil(BLOCK) * SCALES_BYTES } else { 0 };
        TILE * head_dim * self.bytes() + scales
    }

    /// Bytes of one page's values in one head.
    fn values_bytes(self, page_tokens: usize, head_dim: usize) -> usize {
        let scales = match self {
            KvNumber::Q8 => head_dim.div_ceil(BLOCK) * page_tokens.next_multiple_of(TILE) * 2,
            KvNumber::F32 | KvNumber::F16 => 0,
        };
        page_tokens * head_dim.next_multiple_of(TILE) * self.bytes() + scales
    }

    /// Bytes of one page of one layer, keys and values of all heads.
    pub fn page_bytes(self, page_tokens: usize, (heads, head_dim): (usize, usize)) -> usize {
        let keys = page_tokens.div_ceil(TILE) * self.tile_bytes(head_dim);
        heads * (keys + self.values_bytes(page_tokens, head_dim))
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
        let key_bytes = page_tokens.div_ceil(TILE) * number.tile_bytes(head_dim);
        let value_bytes = number.values_bytes(page_tokens, head_dim);
        let (keys, values) = (pages * heads * key_bytes, pages * heads * value_bytes);
        let (keys, values) = (Memory::zeroed(keys)?, Memory::zeroed(values)?);
        Ok(KvPages { number, pages, page_tokens, heads, head_dim, keys, values })
    }

    pub fn number(&self) -> KvNumber {
        self.number
    }

    pub fn pages(&self) -> usize {
        self.pages
    }

    /// Bytes of all pages.
    pub fn bytes(&self) -> usize {
        self.keys.len() + self.values.len()
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
    pub fn store(&mut self, slot: (usize, usize), key: &[f32], value: &[f32]) {
        self.store_rows(None, &[slot], key, value);
    }

    /// Writes keys and values of many tokens, each to a page and a place in it. `keys`, `values`:
    /// [slots, heads, head_dim]. Heads are shared out: no two of them have bytes in common.
    pub fn store_all(
        &mut self,
        team: &Team,
        slots: &[(usize, usize)],
        keys: &[f32],
        values: &[f32],
    ) {
        let team = (slots.len() >= SHARED_ROWS).then_some(team);
        self.store_rows(team, slots, keys, values);
    }

    fn store_rows(
        &mut self,
        team: Option<&Team>,
        slots: &[(usize, usize)],
        keys: &[f32],
        values: &[f32],
    ) {
        let (heads, dim, page_tokens) = (self.heads, self.head_dim, self.page_tokens);
        let is_place = |&(page, place): &(usize, usize)| page < self.pages && place < page_tokens;
        assert!(slots.iter().all(is_place), "places in the cache");
        assert!(keys.len() == slots.len() * heads * dim && values.len() == keys.len());
        let number = self.number;
        let key_bytes = page_tokens.div_ceil(TILE) * number.tile_bytes(dim);
        let value_bytes = number.values_bytes(page_tokens, dim);
        let to_keys = Shares(self.keys.as_mut_ptr());
        let to_values = Shares(self.values.as_mut_ptr());
        let store_head = |head: usize| {
            for (row, &(page, place)) in slots.iter().enumerate() {
                let (block, from) = (page * heads + head, (row * heads + head) * dim);
                // SAFETY: one page and head, within the cache as asserted; other heads are other
                // tasks', and each head is one task's.
                let to = unsafe {
                    let keys = to_keys.get().add(block * key_bytes);
                    let values = to_values.get().add(block * value_bytes);
                    Store {
                        keys: std::slice::from_raw_parts_mut(keys, key_bytes),
                        values: std::slice::from_raw_parts_mut(values, value_bytes),
                        page_tokens,
                    }
                };
                let (key, value) = (&keys[from..from + dim], &values[from..from + dim]);
                match number {
                    KvNumber::F32 => to.put(place, key, value, f32::to_ne_bytes),
                    KvNumber::F16 => to.put_halves(place, key, value),
                    KvNumber::Q8 => to.put_blocks(place, key, value),
                }
            }
        };
        match team {
            Some(team) => team.run(heads, &store_head),
            None => (0..heads).for_each(store_head),
        }
    }

    /// Where the tile of a token's keys in one head lies, and the values of its page.
    fn places(&self, (page, place): (usize, usize), head: usize) -> (Range<usize>, Range<usize>) {
        let block = page * self.heads + head;
        let tile = block * self.page_tokens.div_ceil(TILE) + place / TILE;
        let tile_bytes = self.number.tile_bytes(self.head_dim);
        let values_bytes = self.number.values_bytes(self.page_tokens, self.head_dim);
        let keys = tile * tile_bytes..(tile + 1) * tile_bytes;
        (keys, block * values_bytes..(block + 1) * values_bytes)
    }

    /// Numbers from one token's value to the next one's.
    pub(super) fn value_stride(&self) -> usize {
        self.head_dim.div_ceil(TILE) * TILE
    }

    /// The tokens of a sequence that lie about one of them, at most `most`: whole pages, or a part
    /// of a page that starts a tile. Where blocks begin does not depend on who asks.
    pub(super) fn block(&self, token: usize, most: usize) -> Range<usize> {
        if self.page_tokens < most {
            let span = most / self.page_tokens * self.page_tokens;
            let start = token - token % span;
            return start..start + span;
        }
        let place = token % self.page_tokens;
        let start = place - place % most;
        let end = self.page_tokens.min(start + most);
        token - place + start..token - place + end
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
        unsafe { self.keys.as_ptr().add(tile * self.number.tile_bytes(self.head_dim)) }
    }

    /// The values of the page that holds a token of a sequence. Unsafe: the pages must hold it.
    #[inline(always)]
    pub(super) unsafe fn values_at(&self, pages: &[u32], head: usize, token: usize) -> *const u8 {
        let page = pages[token / self.page_tokens] as usize;
        let bytes = self.number.values_bytes(self.page_tokens, self.head_dim);
        // SAFETY: a page of the cache.
        unsafe { self.values.as_ptr().add((page * self.heads + head) * bytes) }
    }

    /// The key and value of one token, as they are kept; for the plain twin.
    pub(crate) fn token(&self, (page, place): (usize, usize), head: usize) -> (Vec<f32>, Vec<f32>) {
        let (tile, values) = self.places((page, place), head);
        let (tile, values) = (&self.keys[tile], &self.values[values]);
        let (lane, row) = (place % TILE, place * self.value_stride());
        let scales = self.page_tokens * self.value_stride();
        let block_scales = self.page_tokens.next_multiple_of(TILE);
        let value_and_key = |column: usize| match self.number {
            KvNumber::F32 => (four(tile, column * TILE + lane), four(values, row + column)),
            KvNumber::F16 => (half(tile, column * TILE + lane), half(values, row + column)),
            KvNumber::Q8 => {
                let block = column / BLOCK;
                let tile = &tile[block * (SCALES_BYTES + BLOCK * TILE)..];
                let key = f32::from(tile[SCALES_BYTES + column % BLOCK * TILE + lane] as i8);
                let value = f32::from(values[row + column] as i8);
                let value_scale = half(&values[scales..], block * block_scales + place);
                (key * half(tile, lane), value * value_scale)
            }
        };
        (0..self.head_dim).map(value_and_key).unzip()
    }
}

/// The keys and values of one head in one page, to be written.
struct Store<'a> {
    keys: &'a mut [u8],
    values: &'a mut [u8],
    page_tokens: usize,
}

impl Store<'_> {
    /// Writes numbers of `N` bytes: a key down its column, a value along its row.
    fn put<T: Copy, const N: usize>(
        self,
        place: usize,
        key: &[T],
        value: &[T],
        bytes: impl Fn(T) -> [u8; N],
    ) {
        let dim = key.len();
        let keys = self.keys.as_chunks_mut::<N>().0;
        let column = keys[place / TILE * dim * TILE + place % TILE..].iter_mut().step_by(TILE);
        column.zip(key).for_each(|(to, &from)| *to = bytes(from));
        let row = place * dim.next_multiple_of(TILE);
        let row = self.values.as_chunks_mut::<N>().0[row..row + dim].iter_mut();
        row.zip(value).for_each(|(to, &from)| *to = bytes(from));
    }

    fn put_halves(self, place: usize, key: &[f32], value: &[f32]) {
        let mut halves = vec![0; 2 * key.len()];
        let (half_key, half_value) = halves.split_at_mut(key.len());
        narrow_all(key, half_key);
        narrow_all(value, half_value);
        self.put(place, half_key, half_value, u16::to_ne_bytes);
    }

    /// Writes blocks of bytes and their scales, places as in [`Store::put`].
    fn put_blocks(self, place: usize, key: &[f32], value: &[f32]) {
        let dim = key.len();
        let tile_bytes = KvNumber::Q8.tile_bytes(dim);
        let tile = &mut self.keys[place / TILE * tile_bytes..][..tile_bytes];
        for block in (0..dim).step_by(BLOCK) {
            let end = dim.min(block + BLOCK);
            let (scale, bytes) = quantize(&key[block..end]);
            let tile = &mut tile[block / BLOCK * (SCALES_BYTES + BLOCK * TILE)..];
            tile[2 * (place % TILE)..][..2].copy_from_slice(&scale.to_ne_bytes());
            let column = tile[SCALES_BYTES + place % TILE..].iter_mut().step_by(TILE);
            column.zip(&bytes[..end - block]).for_each(|(to, byte)| *to = *byte as u8);

            let (scale, bytes) = quantize(&value[block..end]);
            let stride = dim.next_multiple_of(TILE);
            let row = self.values[place * stride..][block..end].iter_mut();
            row.zip(bytes).for_each(|(to, byte)| *to = byte as u8);
            let scales = self.page_tokens * stride;
            let scales = scales + block / BLOCK * self.page_tokens.next_multiple_of(TILE) * 2;
            self.values[scales + 2 * place..][..2].copy_from_slice(&scale.to_ne_bytes());
        }
    }
}

/// The `index`th float.
fn four(bytes: &[u8], index: usize) -> f32 {
    f32::from_ne_bytes(bytes.as_chunks().0[index])
}

/// The `index`th half float.
fn half(bytes: &[u8], index: usize) -> f32 {
    widen(u16::from_ne_bytes(bytes.as_chunks().0[index]))
}

/// Up to 32 numbers as bytes, and their scale: a half float, not a number if one of them is not.
fn quantize(values: &[f32]) -> (u16, [i8; BLOCK]) {
    let highest = values.iter().fold(0.0f32, |highest, value| highest.max(value.abs()));
    let nothing: f32 = values.iter().map(|value| value * 0.0).sum();
    let scale = narrow(highest / 127.0 + nothing);
    let inverse = if widen(scale) > 0.0 { 1.0 / widen(scale) } else { 0.0 };
    let mut bytes = [0; BLOCK];
    for (byte, value) in bytes.iter_mut().zip(values) {
        // A scale that was rounded down makes a hair more than 127 of the largest.
        *byte = (value * inverse).round_ties_even().clamp(-127.0, 127.0) as i8;
    }
    (scale, bytes)
}

//! The key–value part of a GGUF header, with getters that say which key was wrong.

use std::collections::HashMap;
use std::io::Read;

use crate::error::{Error, Result, shown};
use crate::gguf::source::Source;
use crate::gguf::{MAX_ARRAY_DEPTH, MAX_ARRAY_ELEMENTS, MAX_KEY_BYTES, MAX_STRING_BYTES};

/// One metadata value. Integers and floats are widened: their width in the file carries no meaning.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    String(String),
    Array(Array),
}

/// An array, kept as compact as in the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    /// Numbers and booleans, still encoded.
    Fixed {
        kind: FixedKind,
        bytes: Vec<u8>,
    },
    Strings(Vec<String>),
    Arrays(Vec<Array>),
}

/// A value type of constant size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixedKind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    U64,
    I64,
    F64,
}

/// The metadata of a file: keys are unique and keep the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    // `index` maps every key in `entries` to its place; both only grow together, in `insert`.
    entries: Vec<(String, Value)>,
    index: HashMap<String, usize>,
}

impl Metadata {
    /// Reads `count` pairs.
    pub(super) fn read(source: &mut Source<impl Read>, count: u64) -> Result<Metadata> {
        let mut metadata = Metadata::default();
        for _ in 0..count {
            let key = source.string(MAX_KEY_BYTES, "a metadata key")?;
            let what = format!("the value of `{}`", shown(&key));
            let value = read_value(source, &what)?;
            metadata.insert(key, value)?;
        }
        Ok(metadata)
    }

    /// Adds a pair; a key may come only once.
    pub fn insert(&mut self, key: String, value: Value) -> Result<()> {
        if self.index.insert(key.clone(), self.entries.len()).is_some() {
            return Err(Error::key(&key, "appears twice"));
        }
        self.entries.push((key, value));
        Ok(())
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.index.get(key).map(|&at| &self.entries[at].1)
    }

    /// All pairs in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// An unsigned integer of any width that fits 64 bits; an error if the key holds anything else.
    pub fn u64(&self, key: &str) -> Result<Option<u64>> {
        self.typed(key, "a non-negative integer", |value| match value {
            Value::Unsigned(number) => Some(*number),
            Value::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        })
    }

    /// An unsigned integer that fits 32 bits.
    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        let Some(number) = self.u64(key)? else { return Ok(None) };
        u32::try_from(number).map(Some).map_err(|_| Error::key(key, format!("{number} is too big")))
    }

    /// A floating-point number.
    pub fn f32(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, "a floating-point number", |value| match value {
            Value::Float(number) => Some(*number as f32),
            _ => None,
        })
    }

    /// A boolean.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a boolean", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A string.
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", |value| match value {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// An array of any element type.
    pub fn array(&self, key: &str) -> Result<Option<&Array>> {
        self.typed(key, "an array", |value| match value {
            Value::Array(array) => Some(array),
            _ => None,
        })
    }

    /// An array of strings.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>> {
        self.typed(key, "an array of strings", |value| match value {
            Value::Array(Array::Strings(strings)) => Some(strings.as_slice()),
            // Writers give an empty list whatever element type they like.
            Value::Array(array) if array.is_empty() => Some(&[]),
            _ => None,
        })
    }

    /// An array of 32-bit floats, decoded.
    pub fn f32s(&self, key: &str) -> Result<Option<Vec<f32>>> {
        self.typed(key, "an array of 32-bit floats", |value| match value {
            Value::Array(Array::Fixed { kind: FixedKind::F32, bytes }) => {
                let (words, _) = bytes.as_chunks::<4>();
                Some(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
            }
            _ => None,
        })
    }

    /// An array of 32-bit integers, decoded; unsigned ones must fit.
    pub fn i32s(&self, key: &str) -> Result<Option<Vec<i32>>> {
        self.typed(key, "an array of 32-bit integers", |value| match value {
            Value::Array(Array::Fixed { kind: FixedKind::I32 | FixedKind::U32, bytes }) => {
                let (words, _) = bytes.as_chunks::<4>();
                Some(words.iter().map(|word| i32::from_le_bytes(*word)).collect())
            }
            _ => None,
        })
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| Error::key(key, format!("is not {expected}")))
    }
}

impl Array {
    /// Elements in the array.
    pub fn len(&self) -> usize {
        match self {
            Array::Fixed { kind, bytes } => bytes.len() / kind.bytes(),
            Array::Strings(strings) => strings.len(),
            Array::Arrays(arrays) => arrays.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FixedKind {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            FixedKind::U8 | FixedKind::I8 | FixedKind::Bool => 1,
            FixedKind::U16 | FixedKind::I16 => 2,
            FixedKind::U32 | FixedKind::I32 | FixedKind::F32 => 4,
            FixedKind::U64 | FixedKind::I64 | FixedKind::F64 => 8,
        }
    }

    fn from_id(id: u32) -> Option<FixedKind> {
        Some(match id {
            0 => FixedKind::U8,
            1 => FixedKind::I8,
            2 => FixedKind::U16,
            3 => FixedKind::I16,
            4 => FixedKind::U32,
            5 => FixedKind::I32,
            6 => FixedKind::F32,
            7 => FixedKind::Bool,
            10 => FixedKind::U64,
            11 => FixedKind::I64,
            12 => FixedKind::F64,
            _ => return None,
        })
    }
}

// `enum gguf_type`: the two that are not of constant size.
const STRING_ID: u32 = 8;
const ARRAY_ID: u32 = 9;

fn read_value(source: &mut Source<impl Read>, what: &str) -> Result<Value> {
    let id = source.u32(what)?;
    Ok(match id {
        STRING_ID => Value::String(source.string(MAX_STRING_BYTES, what)?),
        ARRAY_ID => Value::Array(read_array(source, what, MAX_ARRAY_DEPTH)?),
        _ => {
            let kind = FixedKind::from_id(id).ok_or_else(|| unknown_type(what, id))?;
            read_fixed(source, kind, what)?
        }
    })
}

fn read_fixed(source: &mut Source<impl Read>, kind: FixedKind, what: &str) -> Result<Value> {
    Ok(match kind {
        FixedKind::U8 => Value::Unsigned(u8::from_le_bytes(source.fixed(what)?).into()),
        FixedKind::I8 => Value::Signed(i8::from_le_bytes(source.fixed(what)?).into()),
        FixedKind::U16 => Value::Unsigned(u16::from_le_bytes(source.fixed(what)?).into()),
        FixedKind::I16 => Value::Signed(i16::from_le_bytes(source.fixed(what)?).into()),
        FixedKind::U32 => Value::Unsigned(source.u32(what)?.into()),
        FixedKind::I32 => Value::Signed(i32::from_le_bytes(source.fixed(what)?).into()),
        FixedKind::F32 => Value::Float(f32::from_le_bytes(source.fixed(what)?).into()),
        FixedKind::U64 => Value::Unsigned(source.u64(what)?),
        FixedKind::I64 => Value::Signed(i64::from_le_bytes(source.fixed(what)?)),
        FixedKind::F64 => Value::Float(f64::from_le_bytes(source.fixed(what)?)),
        FixedKind::Bool => match source.fixed::<1>(what)? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            [other] => {
                return Err(Error::Damaged(format!("{what} is the boolean {other}, not 0 or 1")));
            }
        },
    })
}

/// `depth`: how many arrays deep we may still go.
fn read_array(source: &mut Source<impl Read>, what: &str, depth: u32) -> Result<Array> {
    if depth == 0 {
        return Err(Error::Damaged(format!(
            "{what} nests arrays more than {MAX_ARRAY_DEPTH} deep"
        )));
    }
    let id = source.u32(what)?;
    let count = source.u64(what)?;
    if count > MAX_ARRAY_ELEMENTS {
        return Err(Error::Damaged(format!(
            "{what} claims {count} elements, the limit is {MAX_ARRAY_ELEMENTS}"
        )));
    }
    match id {
        STRING_ID => {
            let mut strings = Vec::new();
            for _ in 0..count {
                strings.push(source.string(MAX_STRING_BYTES, what)?);
            }
            Ok(Array::Strings(strings))
        }
        ARRAY_ID => {
            let mut arrays = Vec::new();
            for _ in 0..count {
                arrays.push(read_array(source, what, depth - 1)?);
            }
            Ok(Array::Arrays(arrays))
        }
        _ => {
            let kind = FixedKind::from_id(id).ok_or_else(|| unknown_type(what, id))?;
            // The cap on elements keeps this product far from overflow.
            Ok(Array::Fixed { kind, bytes: source.bytes(count * kind.bytes() as u64, what)? })
        }
    }
}

fn unknown_type(what: &str, id: u32) -> Error {
    Error::Damaged(format!("{what} has the unknown type {id}"))
}

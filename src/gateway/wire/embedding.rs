//! What the readers of vectors share.

use serde_json::Value;

use super::estimate::Guess;
use super::{EmbedCall, Read, Refusal};
use crate::event::Usage;

/// The vectors by the numbers of their texts: each text has one, all have one length, and each
/// number is one.
pub(super) fn in_order(call: &EmbedCall, found: Vec<(usize, Vec<f32>)>) -> Read<Vec<Vec<f32>>> {
    let mut vectors: Vec<Vec<f32>> = vec![Vec::new(); call.texts];
    for (index, vector) in found {
        let place = vectors.get_mut(index).filter(|place| place.is_empty());
        *place.ok_or_else(|| Refusal::broken("The provider numbers its vectors wrongly."))? =
            vector;
    }
    let length = vectors.first().map_or(0, Vec::len);
    let is_whole = |vector: &Vec<f32>| {
        !vector.is_empty() && vector.len() == length && vector.iter().all(|x| x.is_finite())
    };
    match vectors.iter().all(is_whole) {
        true => Ok(vectors),
        false => Err(Refusal::broken("The provider's answer lacks vectors or numbers of them.")),
    }
}

/// The usage that was told, or a guess by the length of what was sent.
pub(super) fn usage(call: &EmbedCall, told: Option<u32>) -> Usage {
    let mut guess = Guess::default();
    if told.is_none() {
        call.call.body.values().for_each(|value| guess_of(value, &mut guess));
    }
    let prompt_tokens = told.unwrap_or_else(|| guess.total());
    Usage { prompt_tokens, is_estimated: told.is_none(), ..Usage::default() }
}

fn guess_of(value: &Value, guess: &mut Guess) {
    match value {
        Value::String(text) => guess.text(text),
        Value::Array(list) => list.iter().for_each(|value| guess_of(value, guess)),
        Value::Object(members) => members.values().for_each(|value| guess_of(value, guess)),
        _ => {}
    }
}

//! What tokens cost: whole micro-dollars, rounded up, and refused rather than wrapped.

use hearth_store::{ChannelId, MicroDollars, Price};

/// Prices are for so many tokens.
const MILLION: u128 = 1_000_000;

/// What a request used, or may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens of the prompt.
    pub prompt: u64,
    /// Part of them that was not computed again.
    pub cached: u64,
    /// Tokens of the answers.
    pub completion: u64,
}

/// What a model costs, by who answers for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelPrice {
    /// Where no other price is set.
    pub own: Price,
    /// Where these channels answer.
    pub channels: Vec<(ChannelId, Price)>,
}

/// What these tokens cost; `None` beyond all that a wallet can hold.
pub fn cost(price: &Price, counts: Counts) -> Option<MicroDollars> {
    let part = |micros: MicroDollars, tokens: u64| u128::from(micros.micros()) * u128::from(tokens);
    let cached = counts.cached.min(counts.prompt);
    // Three products of 50 by 64 bits: their sum is far from 128.
    let parts = part(price.input_micros_per_million, counts.prompt - cached)
        + part(price.cached_micros_per_million, cached)
        + part(price.output_micros_per_million, counts.completion);
    let micros = parts.div_ceil(MILLION) + u128::from(price.call_micros.micros());
    MicroDollars::new(u64::try_from(micros).ok()?)
}

/// The longest answer that this much money pays for beside its prompt; `None` if it does not even
/// pay for the prompt.
pub fn longest(price: &Price, prompt: u64, money: MicroDollars) -> Option<u64> {
    let fixed = cost(price, Counts { prompt, ..Counts::default() })?;
    if fixed > money {
        return None;
    }
    let output = u128::from(price.output_micros_per_million.micros());
    if output == 0 {
        return Some(u64::MAX);
    }
    let input = u128::from(price.input_micros_per_million.micros()) * u128::from(prompt);
    let call = u128::from(price.call_micros.micros());
    let left = (u128::from(money.micros()) - call) * MILLION - input;
    Some(u64::try_from(left / output).unwrap_or(u64::MAX))
}

impl ModelPrice {
    /// The price where this channel answers; `None` is this machine.
    pub fn of(&self, channel: Option<ChannelId>) -> Price {
        let of_channel = |channel: ChannelId| {
            self.channels.iter().find(|(id, _)| *id == channel).map(|(_, price)| *price)
        };
        channel.and_then(of_channel).unwrap_or(self.own)
    }

    /// No answer costs more, whoever gives it and whatever of its prompt is known already.
    pub fn worst(&self) -> Price {
        let all = self.channels.iter().map(|(_, price)| *price);
        all.fold(with_dear_prompt(self.own), |worst, price| {
            let price = with_dear_prompt(price);
            Price {
                input_micros_per_million: worst
                    .input_micros_per_million
                    .max(price.input_micros_per_million),
                cached_micros_per_million: worst
                    .cached_micros_per_million
                    .max(price.cached_micros_per_million),
                output_micros_per_million: worst
                    .output_micros_per_million
                    .max(price.output_micros_per_million),
                call_micros: worst.call_micros.max(price.call_micros),
            }
        })
    }

    /// Whether nothing of it costs anything.
    pub fn is_free(&self) -> bool {
        self.worst() == Price::default()
    }
}

/// The price in which the whole prompt costs what its dearest token may.
fn with_dear_prompt(price: Price) -> Price {
    let dear = price.input_micros_per_million.max(price.cached_micros_per_million);
    Price { input_micros_per_million: dear, cached_micros_per_million: dear, ..price }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(micros: u64) -> MicroDollars {
        MicroDollars::new(micros).unwrap()
    }

    fn price(input: u64, cached: u64, output: u64, call: u64) -> Price {
        Price {
            input_micros_per_million: micros(input),
            cached_micros_per_million: micros(cached),
            output_micros_per_million: micros(output),
            call_micros: micros(call),
        }
    }

    #[test]
    fn tokens_cost_their_parts_rounded_up_once() {
        let price = price(3_000_000, 300_000, 15_000_000, 7);
        let counts = Counts { prompt: 1_000, cached: 400, completion: 100 };
        assert_eq!(cost(&price, counts), Some(micros(1_800 + 120 + 1_500 + 7)));
        let cheap = Price { input_micros_per_million: micros(1), ..Price::default() };
        assert_eq!(cost(&cheap, Counts { prompt: 1, ..Counts::default() }), Some(micros(1)));
        assert_eq!(cost(&cheap, Counts::default()), Some(MicroDollars::ZERO));
        // More cached than prompt: a provider's mistake makes nothing cheaper than cached.
        let odd = Counts { prompt: 10, cached: 99, completion: 0 };
        assert_eq!(cost(&price, odd), Some(micros(3 + 7)));
    }

    #[test]
    fn what_no_wallet_can_hold_is_refused_and_never_wraps() {
        let dearest = price(MicroDollars::MAX.micros(), 0, MicroDollars::MAX.micros(), 0);
        let all = Counts { prompt: u64::MAX, cached: 0, completion: u64::MAX };
        assert_eq!(cost(&dearest, all), None);
        assert_eq!(
            cost(&dearest, Counts { prompt: 1_000_000, ..Counts::default() }),
            Some(MicroDollars::MAX)
        );
        assert_eq!(cost(&dearest, Counts { prompt: 1_000_001, ..Counts::default() }), None);
    }

    #[test]
    fn the_longest_answer_costs_what_there_is_and_one_token_more_does_not_fit() {
        for price in [
            price(3_000_000, 300_000, 15_000_000, 7),
            price(1, 1, 1, 0),
            price(0, 0, 999_983, 3),
            price(7, 0, 1_000_000_000_000, 0),
        ] {
            for prompt in [0, 1, 999, 1_000_000] {
                for money in [0, 1, 8, 1_000, 123_457, 10_000_000_000] {
                    let fits = |completion| {
                        let counts = Counts { prompt, cached: 0, completion };
                        cost(&price, counts).is_some_and(|cost| cost <= micros(money))
                    };
                    match longest(&price, prompt, micros(money)) {
                        None => assert!(!fits(0), "{price:?} {prompt} {money}"),
                        Some(tokens) => {
                            assert!(fits(tokens), "{price:?} {prompt} {money} {tokens}");
                            assert!(!fits(tokens + 1), "{price:?} {prompt} {money} {tokens}");
                        }
                    }
                }
            }
        }
        assert_eq!(longest(&price(1, 1, 0, 0), 5, micros(9)), Some(u64::MAX));
    }

    #[test]
    fn a_channels_price_stands_before_the_models_and_the_worst_covers_both() {
        let prices = ModelPrice {
            own: price(10, 20, 5, 0),
            channels: vec![(ChannelId(3), price(1, 0, 50, 9))],
        };
        assert_eq!(prices.of(Some(ChannelId(3))), price(1, 0, 50, 9));
        assert_eq!(prices.of(Some(ChannelId(4))), prices.own);
        assert_eq!(prices.of(None), prices.own);
        assert_eq!(prices.worst(), price(20, 20, 50, 9));
        assert!(!prices.is_free() && ModelPrice::default().is_free());
    }
}

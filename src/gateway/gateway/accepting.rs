//! Has a request accepted: by a kept answer, or by a backend once what it may cost is set aside.

use std::sync::Arc;

use super::Gateway;
use super::books::Account;
use super::cache::{Look, Recording};
use super::held::Wish;
use crate::backend::Backend;
use crate::caller::Caller;
use crate::error::Result;
use crate::event::EventStream;
use crate::request::GenerateRequest;

impl Gateway {
    /// Has a request answered: by a kept answer, or by its backend once it is paid for.
    pub(super) async fn accept(
        &self,
        account: &mut Account,
        caller: &Caller,
        backend: &Arc<dyn Backend>,
        mut request: GenerateRequest,
    ) -> Result<(EventStream, Option<Recording>)> {
        let looked = self.inner.cache.look(caller, &request).await?;
        if let Look::Hit(hit) = looked {
            account.is_kept = true;
            if hit.bills {
                self.set_aside(account, caller, backend, &mut request).await?;
            }
            return Ok((hit.stream(), None));
        }
        let most = request.max_tokens;
        self.set_aside(account, caller, backend, &mut request).await?;
        let recording = match looked {
            // An answer that is shorter for want of money is not everybody's.
            Look::Miss(recording) if request.max_tokens == most => Some(recording),
            _ => None,
        };
        Ok((backend.generate(caller.asker(), request).await?, recording))
    }

    /// Sets aside what the request may cost at most, and lowers its limit on tokens to what it was
    /// given. What is free and bound by no budget goes on at once.
    async fn set_aside(
        &self,
        account: &mut Account,
        caller: &Caller,
        backend: &Arc<dyn Backend>,
        request: &mut GenerateRequest,
    ) -> Result<()> {
        let Some(prices) = self.inner.books.terms(caller, &request.model).await? else {
            return Ok(());
        };
        let prompt_tokens = u64::from(backend.reckon(request.clone()).await?);
        let answers = u64::from(request.choices.max(1));
        let config = &self.inner.config;
        let (least, most, step) = match request.max_tokens {
            Some(most) if config.lower_max_tokens => (most.min(1), most, None),
            Some(most) => (most, most, None),
            None => (1, config.reserve_tokens, Some(u64::from(config.reserve_tokens) * answers)),
        };
        let least_tokens = u64::from(least) * answers;
        let most_tokens = u64::from(most) * answers;
        let wish =
            Wish { prices, prompt_tokens, more_prompt_tokens: 0, least_tokens, most_tokens, step };
        self.inner.books.hold(account, wish).await?;
        if let (Some(most), Some(held)) = (request.max_tokens, &account.held) {
            let longest = held.longest(prompt_tokens) / answers;
            request.max_tokens = Some(most.min(u32::try_from(longest).unwrap_or(u32::MAX)));
        }
        Ok(())
    }
}

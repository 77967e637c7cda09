//! The rules that look at budgets and usage from time to time.

use hearth_store::{
    AlertAudience, AlertRule, Dimension, Holder, NewAlert, Span, Summary, Unit, UsageFilter,
    UsageSum,
};
use serde_json::json;

use super::{Alerts, rules_of};
use crate::error::Result;

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 86_400;
/// Days before today that say what is usual.
const USUAL_DAYS: u64 = 14;

impl Alerts {
    /// Looks at all that is watched, and writes down what is unusual.
    pub async fn watch(&self) -> Result<()> {
        for rule in rules_of(&self.inner.store).await? {
            if !rule.is_on {
                continue;
            }
            match rule.rule.as_str() {
                "budget" => self.watch_budgets(&rule).await?,
                "spend" => self.watch_spending(&rule).await?,
                "failures" => self.watch_failures(&rule).await?,
                // Written where it happens.
                _ => {}
            }
        }
        Ok(())
    }

    async fn watch_budgets(&self, rule: &AlertRule) -> Result<()> {
        let now = self.inner.clock.now();
        let ledger = self.inner.store.ledger();
        let budgets = ledger.all_budgets().await?.into_iter().filter(|budget| {
            let percent = percent(budget.used, budget.most);
            (budget.window_start..budget.window_end).contains(&now) && percent >= rule.threshold
        });
        let budgets: Vec<_> = budgets.collect();
        let holders = budgets.iter().map(|budget| budget.holder).collect();
        let names = self.inner.store.holders().names(holders).await?;
        for budget in budgets {
            let percent = percent(budget.used, budget.most);
            let reached = if percent >= 100 { 100 } else { rule.threshold };
            let who = named(budget.holder, names.get(&budget.holder));
            let (period, unit) = (budget.period.as_str(), budget.unit.as_str());
            let amount = |number: u64| match budget.unit {
                Unit::Money => format!("${}.{:06}", number / 1_000_000, number % 1_000_000),
                Unit::Tokens | Unit::Requests => format!("{number} {unit}"),
            };
            self.write(NewAlert {
                occasion: format!("budget:{}:{}:{reached}", budget.id, budget.window_start),
                rule: rule.rule.clone(),
                subject: format!("Hearth: {who} has used {percent} % of a budget"),
                body: format!(
                    "{who} has used {} of the {} that the budget of this {period} allows.",
                    amount(budget.used),
                    amount(budget.most)
                ),
                detail: json!({ "budget": budget, "percent": percent, "reached": reached }),
                created_at: now,
                person: None,
                audience: AlertAudience::All,
            })
            .await?;
        }
        Ok(())
    }

    async fn watch_spending(&self, rule: &AlertRule) -> Result<()> {
        let now = self.inner.clock.now();
        let today = now - now.rem_euclid(DAY_S);
        let spent = self.sums(Dimension::User, today, now + 1).await?;
        let before = today - USUAL_DAYS as i64 * DAY_S;
        let usual = self.sums(Dimension::User, before, today).await?;
        for sum in spent.iter().filter(|sum| sum.key != "0") {
            let before = usual.iter().find(|before| before.key == sum.key);
            let usual = before.map_or(0, |before| before.cost_micros / USUAL_DAYS);
            let usual = usual.max(rule.floor).max(1);
            let percent = percent(sum.cost_micros, usual);
            if percent < rule.threshold {
                continue;
            }
            let who = sum.name.clone().unwrap_or_else(|| format!("user {}", sum.key));
            let dollars = |micros: u64| format!("${:.2}", micros as f64 / 1e6);
            self.write(NewAlert {
                occasion: format!("spend:{}:{today}", sum.key),
                rule: rule.rule.clone(),
                subject: format!("Hearth: {who} spends more than usual"),
                body: format!(
                    "{who} has spent {} today, {percent} % of a usual day's {}.",
                    dollars(sum.cost_micros),
                    dollars(usual)
                ),
                detail: json!({
                    "user_id": sum.key.parse::<i64>().ok(), "user": sum.name,
                    "cost_micros": sum.cost_micros, "usual_micros": usual,
                }),
                created_at: now,
                person: None,
                audience: AlertAudience::All,
            })
            .await?;
        }
        Ok(())
    }

    async fn watch_failures(&self, rule: &AlertRule) -> Result<()> {
        let now = self.inner.clock.now();
        let hour = now - now.rem_euclid(HOUR_S);
        for sum in self.sums(Dimension::Model, hour, now + 1).await? {
            let percent = percent(sum.failed, sum.requests);
            if sum.failed == 0 || sum.requests < rule.floor || percent < rule.threshold {
                continue;
            }
            let model = &sum.key;
            self.write(NewAlert {
                occasion: format!("failures:{model}:{hour}"),
                rule: rule.rule.clone(),
                subject: format!("Hearth: many requests to {model} fail"),
                body: format!(
                    "{} of {} requests to {model} have failed in this hour.",
                    sum.failed, sum.requests
                ),
                detail: json!({ "model": model, "failed": sum.failed, "requests": sum.requests }),
                created_at: now,
                person: None,
                audience: AlertAudience::All,
            })
            .await?;
        }
        Ok(())
    }

    async fn sums(&self, by: Dimension, start: i64, end: i64) -> Result<Vec<UsageSum>> {
        let filter = UsageFilter::default();
        let question = Summary { span: Span { start, end }, by: Some(by), filter };
        Ok(self.inner.store.usage().summary(question).await?)
    }

    async fn write(&self, alert: NewAlert) -> Result<()> {
        let subject = alert.subject.clone();
        if self.inner.store.alerts().add(alert).await?.is_some() {
            tracing::warn!(alert.subject = %subject, "something unusual has happened");
        }
        Ok(())
    }
}

/// A part of a whole; of nothing, everything.
fn percent(part: u64, whole: u64) -> u64 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u64::try_from(percent).unwrap_or(u64::MAX)
}

fn named(holder: Holder, name: Option<&String>) -> String {
    match name {
        Some(name) => format!("{} {name}", holder.kind()),
        None => format!("{} {}", holder.kind(), holder.id()),
    }
}

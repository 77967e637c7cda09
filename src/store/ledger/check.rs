//! Adds the whole ledger up anew, for `hearth doctor` and for tests.

use rusqlite::{Connection, Params};
use serde::Serialize;

use crate::error::Result;

/// Differences that one check lists of each kind.
const LISTED: i64 = 100;

/// What the ledger holds, and where it does not add up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LedgerReport {
    /// Wallets that were added up.
    pub wallets: u64,
    /// Requests that hold something now.
    pub holds: u64,
    /// Requests that were settled.
    pub settled: u64,
    /// What does not add up, a sentence each; empty is good.
    pub problems: Vec<String>,
}

/// Wallets whose four sums do not agree with each other, with their entries or with the holds.
const WALLETS: &str = "
    WITH entries AS (
        SELECT kind, holder_id, count(DISTINCT sequence) AS count, max(sequence) AS last,
            sum(iif(entry IN ('grant', 'credit'), amount_micros, 0))
                - sum(iif(entry = 'revoke', amount_micros, 0)) AS granted,
            sum(iif(entry IN ('charge', 'credit'), amount_micros, 0)) AS used
        FROM ledger_entries GROUP BY kind, holder_id
    ), lines AS (
        SELECT 'user' AS kind, user_id AS holder_id, amount_micros, credit & 1 AS is_credit
            FROM holds WHERE state = 'held' AND wallets & 1
        UNION ALL SELECT 'token', token_id, amount_micros, credit & 2
            FROM holds WHERE state = 'held' AND wallets & 2
        UNION ALL SELECT 'group', group_id, amount_micros, credit & 4
            FROM holds WHERE state = 'held' AND wallets & 4
    ), held AS (
        SELECT kind, holder_id, sum(amount_micros) AS held,
            sum(iif(is_credit, amount_micros, 0)) AS credit
        FROM lines GROUP BY kind, holder_id
    )
    SELECT format('the wallet of %s %d: granted %d of %d, held %d of %d, used %d of %d, '
            || 'remaining %d, entries %d of %d',
        w.kind, w.holder_id, w.granted_micros, coalesce(e.granted, 0) + coalesce(h.credit, 0),
        w.held_micros, coalesce(h.held, 0), w.used_micros, coalesce(e.used, 0),
        w.remaining_micros, w.entries, coalesce(e.count, 0))
    FROM wallets w LEFT JOIN entries e USING (kind, holder_id) LEFT JOIN held h USING (kind, holder_id)
    WHERE w.granted_micros <> w.remaining_micros + w.held_micros + w.used_micros
        OR w.remaining_micros < 0
        OR w.granted_micros <> coalesce(e.granted, 0) + coalesce(h.credit, 0)
        OR w.held_micros <> coalesce(h.held, 0)
        OR w.used_micros <> coalesce(e.used, 0)
        OR w.entries <> coalesce(e.count, 0) OR w.entries <> coalesce(e.last, 0)
    LIMIT ?1";

/// Charges without their request, or of more than it cost.
const CHARGES: &str = "
    SELECT format('%s %d was charged %d for request %s, which cost %d', e.kind, e.holder_id,
        sum(e.amount_micros), e.reference, coalesce(u.cost_micros, -1))
    FROM ledger_entries e LEFT JOIN usage u ON u.request_id = e.reference
    WHERE e.entry IN ('charge', 'credit')
    GROUP BY e.kind, e.holder_id, e.reference
    HAVING u.request_id IS NULL OR sum(e.amount_micros) > u.cost_micros
        OR sum(e.amount_micros) < u.cost_micros - u.unpaid_micros
    LIMIT ?1";

/// Requests that hold something although they were settled.
const HOLDS: &str = "
    SELECT format('request %s is settled and %s', h.request_id, h.state)
    FROM holds h JOIN usage u USING (request_id) LIMIT ?1";

/// Budgets whose held amount is not the sum of what requests hold of it.
const BUDGETS: &str = "
    SELECT format('budget %d holds %d, its requests %d', b.id, b.held, coalesce(sum(h.amount), 0))
    FROM budgets b LEFT JOIN budget_holds h
        ON h.budget_id = b.id AND h.window_start = b.window_start
    GROUP BY b.id HAVING b.held <> coalesce(sum(h.amount), 0) LIMIT ?1";

/// Hours whose sums are not the sums of their rows.
const HOURS: &str = "
    WITH rows AS (
        SELECT created_at - created_at % 3600 AS hour, count(*) AS requests,
            sum(prompt_tokens) AS prompt, sum(completion_tokens) AS completion,
            sum(cost_micros) AS cost
        FROM usage GROUP BY 1
    ), sums AS (
        SELECT start AS hour, sum(requests) AS requests, sum(prompt_tokens) AS prompt,
            sum(completion_tokens) AS completion, sum(cost_micros) AS cost
        FROM usage_hours GROUP BY start
    )
    SELECT format('hour %d: %d requests of %d, cost %d of %d', hour, coalesce(sums.requests, 0),
        coalesce(rows.requests, 0), coalesce(sums.cost, 0), coalesce(rows.cost, 0))
    FROM rows FULL JOIN sums USING (hour)
    WHERE rows.requests IS NOT sums.requests OR rows.prompt IS NOT sums.prompt
        OR rows.completion IS NOT sums.completion OR rows.cost IS NOT sums.cost
    LIMIT ?1";

/// Days whose sums are not the sums of their hours.
const DAYS: &str = "
    WITH hours AS (
        SELECT start - start % 86400 AS day, user_id, token_id, group_id, channel_id, model,
            sum(requests) AS requests, sum(cost_micros) AS cost
        FROM usage_hours GROUP BY 1, 2, 3, 4, 5, 6
    )
    SELECT format('day %d, user %d, model %s: %d requests of %d, cost %d of %d', d.start,
        d.user_id, d.model, d.requests, coalesce(h.requests, 0), d.cost_micros,
        coalesce(h.cost, 0))
    FROM usage_days d LEFT JOIN hours h ON h.day = d.start AND h.user_id = d.user_id
        AND h.token_id = d.token_id AND h.group_id = d.group_id
        AND h.channel_id = d.channel_id AND h.model = d.model
    WHERE d.requests IS NOT h.requests OR d.cost_micros IS NOT h.cost
    UNION ALL
    SELECT format('%d requests in hours, %d in days', hours, days) FROM (
        SELECT (SELECT coalesce(sum(requests), 0) FROM usage_hours) AS hours,
            (SELECT coalesce(sum(requests), 0) FROM usage_days) AS days
    ) WHERE hours <> days
    LIMIT ?1";

/// Checks everything, in one snapshot.
pub(super) fn check(connection: &Connection) -> Result<LedgerReport> {
    let snapshot = connection.unchecked_transaction()?;
    let mut problems = Vec::new();
    for question in [WALLETS, CHARGES, HOLDS, BUDGETS, HOURS, DAYS] {
        let mut statement = snapshot.prepare(question)?;
        for problem in statement.query_map([LISTED], |row| row.get(0))? {
            problems.push(problem?);
        }
    }
    Ok(LedgerReport {
        wallets: count(&snapshot, "SELECT count(*) FROM wallets", [])?,
        holds: count(&snapshot, "SELECT count(*) FROM holds WHERE state = ?1", ["held"])?,
        settled: count(&snapshot, "SELECT count(*) FROM usage", [])?,
        problems,
    })
}

fn count(connection: &Connection, question: &str, values: impl Params) -> Result<u64> {
    let count: i64 = connection.query_row(question, values, |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

//! Usage as CSV, written a page at a time however many rows there are.

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use hearth_store::{ListedUsage, MAX_PAGE, Store, UsageCursor, UsageFilter};

const HEAD: &str = "time,id,request_id,user_id,user,token_id,token,group_id,model,channel_id,\
    prompt_tokens,cached_tokens,completion_tokens,reasoning_tokens,estimated,cost_usd,unpaid_usd,\
    queue_ms,first_token_ms,total_ms,outcome,reason\r\n";

/// Where the writing is.
enum Place {
    Head(Option<UsageCursor>),
    After(Option<UsageCursor>),
    End,
}

/// All rows that pass the filter, the newest first.
pub(super) fn answer(store: Store, filter: UsageFilter, before: Option<UsageCursor>) -> Response {
    let rows = stream::try_unfold(Place::Head(before), move |place| {
        let (store, filter) = (store.clone(), filter.clone());
        async move {
            let before = match place {
                Place::Head(before) => {
                    return Ok(Some((Bytes::from_static(HEAD.as_bytes()), Place::After(before))));
                }
                Place::After(before) => before,
                Place::End => return Ok(None),
            };
            let rows = store.usage().page(filter, before, MAX_PAGE).await?;
            let next = match rows.last() {
                Some(last) if rows.len() == MAX_PAGE as usize => {
                    let (created_at, id) = (last.row.created_at, last.row.request_id.clone());
                    Place::After(Some(UsageCursor { created_at, id }))
                }
                _ => Place::End,
            };
            let text: String = rows.iter().map(line).collect();
            Ok::<_, hearth_store::Error>(Some((Bytes::from(text), next)))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"usage.csv\""),
    ];
    (headers, Body::from_stream(rows)).into_response()
}

fn line(listed: &ListedUsage) -> String {
    let row = &listed.row;
    let time = jiff::Timestamp::from_second(row.created_at).unwrap_or_default();
    let number = |value: Option<i64>| value.map_or(String::new(), |value| value.to_string());
    let text = |value: Option<&str>| value.map_or(String::new(), escape);
    let dollars = |micros: u64| format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    let outcome = serde_json::to_value(row.outcome).unwrap_or_default();
    let cells = [
        time.to_string(),
        escape(&row.request_id),
        text(row.client_request_id.as_deref()),
        number(row.user_id.map(|id| id.0)),
        text(listed.user.as_deref()),
        number(row.token_id.map(|id| id.0)),
        text(listed.token.as_deref()),
        number(listed.group_id.map(|id| id.0)),
        escape(&row.model),
        number(row.channel_id.map(|id| id.0)),
        row.prompt_tokens.to_string(),
        row.cached_tokens.to_string(),
        row.completion_tokens.to_string(),
        row.reasoning_tokens.to_string(),
        row.is_estimated.to_string(),
        dollars(row.cost.micros()),
        dollars(listed.unpaid_micros),
        row.queue_ms.to_string(),
        row.first_token_ms.to_string(),
        row.total_ms.to_string(),
        outcome.as_str().unwrap_or_default().to_owned(),
        text(row.reason.as_deref()),
    ];
    cells.join(",") + "\r\n"
}

/// A cell in quotes where it needs them. A text that a spreadsheet would take for a formula gets an
/// apostrophe in front.
fn escape(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn a_cell_holds_any_text_and_is_no_formula() {
        for (text, wanted) in [
            ("qwen3:8b", "qwen3:8b"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("-1,2", "\"'-1,2\""),
            ("", ""),
        ] {
            assert_eq!(escape(text), wanted);
        }
    }
}

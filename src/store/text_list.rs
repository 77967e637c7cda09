//! A list of texts in a column, as JSON.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};

/// What such a column holds.
pub(crate) struct TextList(pub(crate) Vec<String>);

/// As it stands in the column.
pub(crate) fn to_json(list: &[String]) -> String {
    serde_json::Value::from(list).to_string()
}

impl FromSql for TextList {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<TextList> {
        // A damaged list must not read as "all allowed": it is an error.
        serde_json::from_str(value.as_str()?)
            .map(TextList)
            .map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

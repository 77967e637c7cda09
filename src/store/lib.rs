//! Rows in, rows out: the only room with SQL.

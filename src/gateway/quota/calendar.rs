//! When days, weeks and months begin in a time zone. The zones are part of the program.

use hearth_store::{Period, Span};
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// The period of this zone in which a moment lies; `None` if there is no such zone, or the moment
/// is out of all calendars.
pub fn span(zone: &str, period: Period, now: i64) -> Option<Span> {
    let zone = TimeZone::get(zone).ok()?;
    let today = Timestamp::from_second(now).ok()?.to_zoned(zone.clone()).date();
    let (first, next) = around(today, period)?;
    let start = |date: Date| Some(date.to_zoned(zone.clone()).ok()?.timestamp().as_second());
    Some(Span { start: start(first)?, end: start(next)? })
}

/// The periods of this zone from the one in which `since` lies to the one before `until`, at most
/// `most`; the first and the last are cut to the span.
pub fn spans(zone: &str, period: Period, whole: Span, most: usize) -> Option<Vec<Span>> {
    let mut spans = Vec::new();
    let mut start = whole.start;
    while start < whole.end {
        let Span { end, .. } = span(zone, period, start)?;
        if spans.len() == most || end <= start {
            return None;
        }
        spans.push(Span { start, end: end.min(whole.end) });
        start = end;
    }
    Some(spans)
}

/// The name of a zone as the database writes it.
pub fn zone_name(zone: &str) -> Option<String> {
    Some(TimeZone::get(zone).ok()?.iana_name()?.to_owned())
}

/// The first day of the period that a day lies in, and of the one after it.
fn around(today: Date, period: Period) -> Option<(Date, Date)> {
    let (first, length) = match period {
        Period::Day => (today, 1.day()),
        Period::Week => {
            let since_monday = today.weekday().since(Weekday::Monday);
            (today.checked_sub(i64::from(since_monday).days()).ok()?, 1.week())
        }
        Period::Month => (today.first_of_month(), 1.month()),
    };
    Some((first, first.checked_add(length).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn periods_begin_at_the_zones_own_midnight() {
        // A Wednesday, 01:30 in Berlin, still Tuesday in New York.
        let now = second("2026-07-14T23:30:00Z");
        for (zone, period, start, end) in [
            ("UTC", Period::Day, "2026-07-14T00:00:00Z", "2026-07-15T00:00:00Z"),
            ("Europe/Berlin", Period::Day, "2026-07-14T22:00:00Z", "2026-07-15T22:00:00Z"),
            ("America/New_York", Period::Day, "2026-07-14T04:00:00Z", "2026-07-15T04:00:00Z"),
            ("Europe/Berlin", Period::Week, "2026-07-12T22:00:00Z", "2026-07-19T22:00:00Z"),
            ("Asia/Kolkata", Period::Month, "2026-06-30T18:30:00Z", "2026-07-31T18:30:00Z"),
        ] {
            let wanted = Span { start: second(start), end: second(end) };
            assert_eq!(span(zone, period, now), Some(wanted), "{zone} {period:?}");
        }
    }

    #[test]
    fn days_on_which_clocks_change_are_shorter_and_longer() {
        let hours = |text: &str| {
            let Span { start, end } = span("Europe/Berlin", Period::Day, second(text)).unwrap();
            (end - start) / 3_600
        };
        assert_eq!(hours("2026-03-29T12:00:00Z"), 23);
        assert_eq!(hours("2026-10-25T12:00:00Z"), 25);
        // In Beirut that midnight does not exist: the day begins an hour later.
        let beirut = span("Asia/Beirut", Period::Day, second("2026-03-29T12:00:00Z")).unwrap();
        assert!(beirut.start < second("2026-03-29T12:00:00Z") && beirut.end > beirut.start);
    }

    #[test]
    fn what_is_no_zone_or_no_moment_is_no_period() {
        assert_eq!(span("Mars/Olympus", Period::Day, 0), None);
        assert_eq!(span("", Period::Day, 0), None);
        assert_eq!(span("UTC", Period::Day, i64::MAX), None);
        assert_eq!(span("UTC", Period::Month, i64::MIN), None);
        assert_eq!(zone_name("europe/berlin").as_deref(), Some("Europe/Berlin"));
    }

    #[test]
    fn a_span_is_cut_into_the_periods_of_its_zone() {
        let whole =
            Span { start: second("2026-01-15T10:00:00Z"), end: second("2026-03-01T00:00:00Z") };
        let months = spans("UTC", Period::Month, whole, 10).unwrap();
        assert_eq!(months.len(), 2);
        assert_eq!((months[0].start, months[1].end), (whole.start, whole.end));
        assert_eq!(months[0].end, second("2026-02-01T00:00:00Z"));
        assert_eq!(spans("UTC", Period::Day, whole, 10), None, "too many");
    }
}

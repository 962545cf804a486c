//! Conditions that keep their transition times: the time changes only with the status.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The wanted state of one condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The condition's type.
    pub type_: &'static str,
    /// Its status.
    pub status: bool,
    /// The reason, in CamelCase.
    pub reason: &'static str,
    /// The message: what happened, why, and what to do.
    pub message: String,
}

impl Verdict {
    /// A verdict.
    pub fn new(type_: &'static str, status: bool, reason: &'static str, message: impl Into<String>) -> Verdict {
        Verdict { type_, status, reason, message: message.into() }
    }
}

/// The conditions after these verdicts.
pub fn conditions(before: &[Condition], verdicts: &[Verdict], generation: Option<i64>, now: &Time) -> Vec<Condition> {
    let judge = |verdict: &Verdict| {
        let status = if verdict.status { "True" } else { "False" };
        let same = before.iter().find(|old| old.type_ == verdict.type_ && old.status == status);
        Condition {
            type_: verdict.type_.to_owned(),
            status: status.to_owned(),
            reason: verdict.reason.to_owned(),
            message: verdict.message.clone(),
            observed_generation: generation,
            last_transition_time: same.map_or_else(|| now.clone(), |old| old.last_transition_time.clone()),
        }
    };
    verdicts.iter().map(judge).collect()
}

/// The reason of a condition; `None`: there is no such condition.
pub fn reason<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a str> {
    conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.reason.as_str())
}

/// Numbers as ranges: "0, 3, 4–9".
pub fn ranges(numbers: impl IntoIterator<Item = i32>) -> String {
    let mut spans: Vec<(i32, i32)> = Vec::new();
    for number in numbers {
        match spans.last_mut() {
            Some((_, last)) if i64::from(*last) + 1 == i64::from(number) => *last = number,
            _ => spans.push((number, number)),
        }
    }
    let text = |(first, last): &(i32, i32)| {
        if first == last { first.to_string() } else { format!("{first}–{last}") }
    };
    spans.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Numbered things of a kind: "broker 3", "brokers 0, 4–9".
pub fn named(kind: &str, numbers: impl IntoIterator<Item = i32>) -> String {
    let numbers: Vec<i32> = numbers.into_iter().collect();
    let plural = if numbers.len() == 1 { "" } else { "s" };
    format!("{kind}{plural} {}", ranges(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_singular() {
        assert_eq!(named("broker", [3]), "broker 3");
        assert_eq!(named("broker", [0, 1, 4]), "brokers 0–1, 4");
    }

    #[test]
    fn many_numbers_are_shown_as_ranges() {
        for (numbers, expected) in [(vec![], ""), (vec![3], "3"), (vec![0, 1, 2, 5, 7, 8], "0–2, 5, 7–8")] {
            assert_eq!(ranges(numbers), expected);
        }
    }

    #[test]
    fn the_time_of_a_condition_moves_only_with_its_status() {
        let at = |second: i64| Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap());
        let first = conditions(&[], &[Verdict::new("Ready", false, "NoBrokers", "")], Some(1), &at(1));
        let second = conditions(&first, &[Verdict::new("Ready", false, "PartitionsOffline", "x")], Some(2), &at(2));
        assert_eq!(second[0].last_transition_time, at(1));
        assert_eq!((second[0].reason.as_str(), second[0].observed_generation), ("PartitionsOffline", Some(2)));
        let third = conditions(&second, &[Verdict::new("Ready", true, "Ready", "")], Some(2), &at(3));
        assert_eq!(third[0].last_transition_time, at(3));
    }
}

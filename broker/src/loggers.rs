//! The levels of this process's loggers, as BROKER_LOGGER resources show and change them (KIP-412).
//!
//! A logger is a target of `tracing`, which is a module's path: `ottla_broker::coord` and everything below it. What is
//! changed holds until the process ends, as in Kafka, and for all brokers of the process, of which a laptop has
//! several. The program that prints the log says at its start what is printed, and how to change that ([`install`]).
//!
//! Always: a logger that has no level of its own has that of the nearest one above it. The audit log is no logger of
//! theirs: clients that may change levels can not silence what is written about them.

#[cfg(test)]
pub(crate) mod captured;

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;

/// The target of what auditors read: denials, refused clients, changes. A change of levels can make it say more than it
/// did at the start, never less.
pub const AUDIT: &str = "ottla::audit";

/// Kafka's name for the logger above all others.
pub const ROOT: &str = "ROOT";

/// The loggers that can be named, besides those that have a level at the start: the programs' crates and the broker's
/// rooms.
const LOGGERS: [&str; 34] = [
    "kube",
    "ottla",
    "ottla_broker",
    "ottla_broker::broker",
    "ottla_broker::coord",
    "ottla_broker::coordinator",
    "ottla_broker::data_dir",
    "ottla_broker::dialer",
    "ottla_broker::drain",
    "ottla_broker::fetch_sessions",
    "ottla_broker::groups",
    "ottla_broker::handle",
    "ottla_broker::health",
    "ottla_broker::http",
    "ottla_broker::log_ends",
    "ottla_broker::node",
    "ottla_broker::producer_ids",
    "ottla_broker::quotas",
    "ottla_broker::replica",
    "ottla_broker::replica::fetching",
    "ottla_broker::replica::in_sync",
    "ottla_broker::replica::partition",
    "ottla_broker::server",
    "ottla_broker::share",
    "ottla_broker::share_state",
    "ottla_broker::tls",
    "ottla_broker::topics",
    "ottla_broker::transactions",
    "ottla_crds",
    "ottla_group",
    "ottla_kube",
    "ottla_local_api",
    "ottla_log",
    "ottla_operator",
];

/// Kafka's levels, and those of `tracing` that they are. Nothing here is logged at FATAL: it silences a logger.
const LEVELS: [(&str, &str); 6] =
    [("DEBUG", "debug"), ("ERROR", "error"), ("FATAL", "off"), ("INFO", "info"), ("TRACE", "trace"), ("WARN", "warn")];

/// Makes directives such as `info,ottla_broker::coord=debug` what is printed.
pub type Apply = Box<dyn Fn(&str) -> Result<(), String> + Send>;

/// Why levels are not changed. The words are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// No such logger.
    #[error("Logger {0} does not exist!")]
    Unknown(String),
    /// No such level.
    #[error(
        "Cannot set the log level of {logger} to {level} as it is not a supported log level. Valid log levels are DEBUG, ERROR, \
FATAL, INFO, TRACE, WARN"
    )]
    Level {
        /// The logger.
        logger: String,
        /// The level asked for.
        level: String,
    },
    /// The root logger has no other to take a level from.
    #[error("Removing the log level of the ROOT logger is not allowed")]
    Root,
    /// The program can't change what is printed.
    #[error("failed to change what is logged: {0}")]
    NotApplied(String),
}

static LOGGERS_OF_PROCESS: Mutex<Loggers> = Mutex::new(Loggers::new());

/// Says what is printed at the start, as `tracing`'s directives, and how to change it.
pub fn install(directives: &str, apply: Apply) {
    let mut loggers = LOGGERS_OF_PROCESS.lock();
    loggers.start = directives.to_owned();
    loggers.apply = Some(apply);
}

/// Every logger with the level that it has, itself or from one above.
pub fn levels() -> Vec<(String, &'static str)> {
    LOGGERS_OF_PROCESS.lock().levels()
}

/// Gives loggers levels, or (`None`) takes back the level that a logger was given: all of them, or none and the reason.
///
/// # Errors
/// See [`Wrong`].
pub fn set(changes: &BTreeMap<&str, Option<&str>>, validate_only: bool) -> Result<(), Wrong> {
    LOGGERS_OF_PROCESS.lock().set(changes, validate_only)
}

struct Loggers {
    start: String,
    changed: BTreeMap<String, &'static str>,
    apply: Option<Apply>,
}

impl Loggers {
    const fn new() -> Loggers {
        Loggers { start: String::new(), changed: BTreeMap::new(), apply: None }
    }

    fn levels(&self) -> Vec<(String, &'static str)> {
        let own = self.own_levels();
        let names = self.names().into_iter();
        names.map(|name| (name.clone(), level_of(&name, &own))).collect()
    }

    fn set(&mut self, changes: &BTreeMap<&str, Option<&str>>, validate_only: bool) -> Result<(), Wrong> {
        let names = self.names();
        let mut changed = self.changed.clone();
        for (&logger, &level) in changes {
            if !names.iter().any(|name| name == logger) {
                return Err(Wrong::Unknown(logger.to_owned()));
            }
            match level {
                Some(level) => {
                    let known = LEVELS.iter().find(|(name, _)| *name == level);
                    let wrong = || Wrong::Level { logger: logger.to_owned(), level: level.to_owned() };
                    changed.insert(logger.to_owned(), known.ok_or_else(wrong)?.0);
                }
                None if logger == ROOT => return Err(Wrong::Root),
                None => drop(changed.remove(logger)),
            }
        }
        if validate_only {
            return Ok(());
        }
        if let Some(apply) = &self.apply {
            apply(&directives(&self.start, &changed)).map_err(Wrong::NotApplied)?;
        }
        self.changed = changed;
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = LOGGERS.iter().map(|name| (*name).to_owned()).collect();
        names.extend(self.own_levels().into_keys());
        names.push(ROOT.to_owned());
        names.retain(|name| name != AUDIT);
        names.sort();
        names.dedup();
        names
    }

    /// The loggers that have a level of their own.
    fn own_levels(&self) -> BTreeMap<String, &'static str> {
        let mut own = levels_at_start(&self.start);
        own.extend(self.changed.clone());
        own
    }
}

/// The loggers to which these directives give a level.
fn levels_at_start(start: &str) -> BTreeMap<String, &'static str> {
    let mut own = BTreeMap::new();
    for directive in start.split(',').map(str::trim).filter(|directive| !directive.contains(['[', '{'])) {
        let (logger, level) = match directive.split_once('=') {
            Some((logger, level)) => (logger, level),
            None if level_named(directive).is_some() => (ROOT, directive),
            // A target alone means: everything that it says.
            None => (directive, "trace"),
        };
        if let Some(level) = level_named(level).filter(|_| !logger.is_empty()) {
            own.insert(logger.to_owned(), level);
        }
    }
    own
}

/// Kafka's name for one of `tracing`'s levels.
fn level_named(text: &str) -> Option<&'static str> {
    LEVELS.iter().find(|(_, ours)| ours.eq_ignore_ascii_case(text)).map(|(kafkas, _)| *kafkas)
}

/// A logger's level: its own, or that of the nearest above it. With none `tracing` prints errors.
fn level_of(logger: &str, own: &BTreeMap<String, &'static str>) -> &'static str {
    let above = own.iter().filter(|(name, _)| logger == *name || logger.starts_with(&format!("{name}::")));
    let nearest = above.max_by_key(|(name, _)| name.len()).map(|(_, level)| *level);
    nearest.or_else(|| own.get(ROOT).copied()).unwrap_or("ERROR")
}

/// `tracing`'s name for one of Kafka's levels.
fn ours(kafkas: &str) -> &'static str {
    LEVELS.iter().find(|(name, _)| *name == kafkas).map_or("error", |(_, ours)| *ours)
}

/// The directives for `tracing`: the later of two directives about one target holds.
fn directives(start: &str, changed: &BTreeMap<String, &'static str>) -> String {
    let mut all: Vec<String> = start.split(',').map(str::trim).filter(|d| !d.is_empty()).map(str::to_owned).collect();
    for (logger, kafkas) in changed {
        let level = ours(kafkas);
        all.push(if logger == ROOT { level.to_owned() } else { format!("{logger}={level}") });
    }
    let mut own = levels_at_start(start);
    let at_start = filter(level_of(AUDIT, &own));
    own.extend(changed.clone());
    all.push(format!("{AUDIT}={}", at_start.max(filter(level_of(AUDIT, &own)))));
    all.join(",")
}

/// What a level of Kafka's lets through.
fn filter(kafkas: &str) -> LevelFilter {
    ours(kafkas).parse().unwrap_or(LevelFilter::ERROR)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::captured::Captured;
    use super::*;

    fn loggers(start: &str) -> (Loggers, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let to = told.clone();
        let apply: Apply = Box::new(move |directives| {
            to.lock().push(directives.to_owned());
            Ok(())
        });
        (Loggers { start: start.to_owned(), apply: Some(apply), ..Loggers::new() }, told)
    }

    fn find(loggers: &Loggers, name: &str) -> &'static str {
        loggers.levels().into_iter().find(|(known, _)| known == name).map_or("none", |(_, level)| level)
    }

    #[test]
    fn a_logger_has_its_own_level_or_that_of_the_nearest_above() {
        for (start, logger, level) in [
            ("", ROOT, "none"),
            ("", "ottla_broker", "ERROR"),
            ("info,kube_client=off", ROOT, "INFO"),
            ("info,kube_client=off", "kube_client", "FATAL"),
            ("info,kube_client=off", "ottla_broker::coord", "INFO"),
            ("warn,ottla_broker=DEBUG", "ottla_broker::replica::fetching", "DEBUG"),
            ("warn,ottla_broker::replica=trace,ottla_broker=debug", "ottla_broker::replica::fetching", "TRACE"),
            ("warn,ottla_broker=debug", "ottla_crds", "WARN"),
            ("warn,ottla_log", "ottla_log", "TRACE"),
            ("warn,[request{id=4}]=trace", ROOT, "WARN"),
        ] {
            let found = find(&loggers(start).0, logger);
            let found = if start.is_empty() && logger == ROOT { "none" } else { found };
            assert_eq!(found, level, "{logger} of {start:?}");
        }
    }

    #[test]
    fn levels_are_changed_together_or_not_at_all() {
        let (mut loggers, told) = loggers("info,kube_client=off");
        for (changes, expected) in [
            (
                &[("ottla_broker::coord", Some("DEBUG")), (ROOT, Some("WARN"))][..],
                "info,kube_client=off,warn,ottla_broker::coord=debug,ottla::audit=info",
            ),
            (&[("ottla_broker::coord", None)], "info,kube_client=off,warn,ottla::audit=info"),
            (&[("ottla_log", None)], "info,kube_client=off,warn,ottla::audit=info"),
            (&[("ottla_log", Some("TRACE")), ("nope", Some("INFO"))], "Logger nope does not exist!"),
            (
                &[("ottla_log", Some("LOUD"))],
                "Cannot set the log level of ottla_log to LOUD as it is not a supported log level. Valid log levels are DEBUG, \
                 ERROR, FATAL, INFO, TRACE, WARN",
            ),
            (&[(ROOT, None)], "Removing the log level of the ROOT logger is not allowed"),
        ] {
            let before = told.lock().len();
            let outcome = loggers.set(&changes.iter().copied().collect(), false).map_err(|wrong| wrong.to_string());
            let told = told.lock();
            match outcome {
                Ok(()) => assert_eq!(told.last().unwrap(), expected),
                Err(wrong) => assert_eq!((wrong.as_str(), told.len()), (expected, before)),
            }
        }
        assert_eq!((find(&loggers, ROOT), find(&loggers, "ottla_log")), ("WARN", "WARN"));
        loggers.set(&[(ROOT, Some("TRACE"))].into(), true).unwrap();
        assert_eq!(find(&loggers, ROOT), "WARN");
    }

    #[test]
    fn nobody_silences_the_audit_log() {
        for (start, changes, audit) in [
            ("info,kube_client=off", &[(ROOT, "FATAL")][..], "info"),
            ("info", &[("ottla", "FATAL")], "info"),
            ("info", &[("ottla", "TRACE")], "trace"),
            ("info,ottla::audit=debug", &[(ROOT, "ERROR"), ("ottla", "FATAL")], "debug"),
            // Who starts the broker says what auditors read.
            ("info,ottla::audit=off", &[(ROOT, "WARN")], "off"),
            ("warn", &[(ROOT, "FATAL")], "warn"),
        ] {
            let (mut loggers, told) = loggers(start);
            loggers.set(&changes.iter().map(|(logger, level)| (*logger, Some(*level))).collect(), false).unwrap();
            let told = told.lock().last().unwrap().clone();
            assert!(told.ends_with(&format!(",ottla::audit={audit}")), "{start} with {changes:?}: {told}");
            assert_eq!(find(&loggers, AUDIT), "none", "{start}");
            let refused = loggers.set(&[(AUDIT, Some("FATAL"))].into(), false);
            assert_eq!(refused, Err(Wrong::Unknown(AUDIT.to_owned())));
        }
    }

    #[test]
    fn a_denial_is_printed_when_the_root_logger_is_silenced() {
        let (mut loggers, told) = loggers("info");
        loggers.set(&[(ROOT, Some("FATAL")), ("ottla", Some("FATAL"))].into(), false).unwrap();
        let directives = told.lock().last().unwrap().clone();
        let log = Captured::default();
        tracing::subscriber::with_default(log.printing(&directives), || {
            tracing::error!("something else");
            tracing::info!(target: AUDIT, "denied");
        });
        assert!(log.text().contains("denied"), "{}", log.text());
        assert!(!log.text().contains("something else"), "{}", log.text());
    }

    #[test]
    fn every_room_that_logs_has_its_logger() {
        let root = include_str!("lib.rs");
        let rooms = root.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
        let silent =
            ["ask", "disk_space", "env", "image", "loads", "loggers", "metrics", "reply", "shared_map", "watermark"];
        for room in rooms.filter(|room| !silent.contains(room)) {
            assert!(LOGGERS.contains(&format!("ottla_broker::{room}").as_str()), "{room}");
        }
    }
}

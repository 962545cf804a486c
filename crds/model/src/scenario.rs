//! How much may happen: bounds small enough to look at everything that can come of them.

/// How often each thing may happen in one run. What is free is free: views catch up, fetches are served, writes land.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// What to call the scenario.
    pub name: &'static str,
    /// Operators that act without knowing of each other.
    pub operators: usize,
    /// The partition's replicas: brokers 0 and up. The other brokers can be moved to.
    pub replicas: usize,
    /// How many of them are in sync at first: brokers 0 and up.
    pub in_sync: usize,
    /// `min.insync.replicas` at first.
    pub min_in_sync: usize,
    /// The other value that it may change to, once; `None`: it stays.
    pub changed_min_in_sync: Option<usize>,
    /// Records that are produced.
    pub records: usize,
    /// Times that an operator believes a broker dead that may be alive.
    pub suspicions: usize,
    /// Times that a leader finds a follower slow.
    pub shrinks: usize,
    /// Processes that are killed and start again with all that they had on disk.
    pub restarts: usize,
    /// Machines that crash: a tail of the log is lost, or all of it.
    pub crashes: usize,
    /// Logs that their brokers find that they can't read.
    pub damages: usize,
    /// Brokers that drain.
    pub drains: usize,
    /// Reassignments, to brokers 1 and 2 and back to 0 and 1.
    pub reassignments: usize,
    /// Orders to recover that an administrator gives.
    pub orders: usize,
    /// Changes of the entry. Where what an operator believes is old, it and a leader could continue for ever: one takes
    /// a member out, the other takes it in.
    pub changes: i32,
    /// States to generate before the search is cut off.
    pub most_states: usize,
    /// What must be seen to happen.
    pub witnesses: &'static [&'static str],
}

/// How much has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Used {
    /// Records.
    pub records: usize,
    /// Suspicions.
    pub suspicions: usize,
    /// Shrinks.
    pub shrinks: usize,
    /// Restarts.
    pub restarts: usize,
    /// Crashes.
    pub crashes: usize,
    /// Logs that could not be read.
    pub damages: usize,
    /// Drains.
    pub drains: usize,
    /// Reassignments.
    pub reassignments: usize,
    /// Orders to recover.
    pub orders: usize,
    /// Changes of `min.insync.replicas`.
    pub changes: usize,
}

/// Three replicas, two of them in sync, `min.insync.replicas` 2, one operator, one record; nothing goes wrong.
pub const CALM: Bounds = Bounds {
    name: "calm",
    operators: 1,
    replicas: 3,
    in_sync: 2,
    min_in_sync: 2,
    changed_min_in_sync: None,
    records: 1,
    suspicions: 0,
    shrinks: 0,
    restarts: 0,
    crashes: 0,
    damages: 0,
    drains: 0,
    reassignments: 0,
    orders: 0,
    changes: 6,
    most_states: 4_000_000,
    witnesses: &["a record is acknowledged"],
};

/// What CI looks at.
pub fn all() -> Vec<Bounds> {
    vec![
        Bounds {
            name: "fail-over",
            suspicions: 1,
            shrinks: 1,
            crashes: 1,
            witnesses: &[
                "a record is acknowledged after a crash and an election",
                "a crashed broker joins the ISR again",
                "a crashed broker leads again with all that was acknowledged",
                "a record is acknowledged while a change of the ISR is in doubt",
                "two brokers believe that they lead",
            ],
            ..CALM
        },
        Bounds {
            name: "two records",
            records: 2,
            suspicions: 2,
            witnesses: &["a follower truncates what its leader does not have"],
            ..CALM
        },
        Bounds {
            name: "two operators",
            operators: 2,
            suspicions: 1,
            crashes: 1,
            witnesses: &["a record is acknowledged after a crash and an election"],
            ..CALM
        },
        Bounds {
            name: "restarts",
            records: 2,
            suspicions: 1,
            shrinks: 1,
            restarts: 1,
            witnesses: &["a record is acknowledged by a leader that was restarted in its epoch"],
            ..CALM
        },
        Bounds {
            name: "damaged log",
            suspicions: 1,
            damages: 1,
            witnesses: &[
                "a record is acknowledged after a leader has disowned its log",
                "a log that can not be read is copied again",
            ],
            ..CALM
        },
        Bounds {
            name: "damaged log, crash",
            crashes: 1,
            damages: 1,
            witnesses: &["a recovery elects a leader"],
            ..CALM
        },
        Bounds {
            name: "damaged log, restarts",
            damages: 1,
            restarts: 1,
            witnesses: &["a log that can not be read is copied again"],
            ..CALM
        },
        Bounds { name: "recovery", crashes: 2, witnesses: &["a recovery elects a leader"], ..CALM },
        Bounds {
            name: "recovery by order",
            crashes: 2,
            orders: 1,
            witnesses: &["an order loses an acknowledged record", "a record is acknowledged after an order"],
            ..CALM
        },
        Bounds {
            name: "three in sync",
            in_sync: 3,
            suspicions: 1,
            crashes: 1,
            witnesses: &["a record is acknowledged after a crash and an election"],
            ..CALM
        },
        Bounds {
            name: "three in sync crash",
            in_sync: 3,
            crashes: 3,
            witnesses: &["a recovery elects a leader"],
            ..CALM
        },
        Bounds {
            name: "reassignment",
            replicas: 2,
            suspicions: 1,
            crashes: 1,
            reassignments: 1,
            witnesses: &["a reassignment is done", "a reassignment is cancelled"],
            ..CALM
        },
        Bounds {
            name: "moved away and back",
            replicas: 2,
            suspicions: 1,
            reassignments: 2,
            witnesses: &[
                "a replica that leaves loses its log",
                "a replica that left comes back and is in sync",
                "a reassignment is cancelled",
            ],
            ..CALM
        },
        Bounds {
            name: "moved away and back, restart",
            replicas: 2,
            restarts: 1,
            reassignments: 2,
            witnesses: &["a replica that left comes back and is in sync"],
            ..CALM
        },
        Bounds {
            name: "moved away and back, crash",
            replicas: 2,
            crashes: 1,
            reassignments: 2,
            witnesses: &["a replica that left comes back and is in sync"],
            ..CALM
        },
        Bounds { name: "draining", crashes: 1, drains: 1, witnesses: &["a draining leader has handed over"], ..CALM },
        Bounds {
            name: "min.insync raised",
            min_in_sync: 1,
            changed_min_in_sync: Some(2),
            suspicions: 1,
            crashes: 1,
            changes: 4,
            most_states: 16_000_000,
            witnesses: &["a record is acknowledged under the changed min.insync"],
            ..CALM
        },
        Bounds {
            name: "min.insync lowered",
            changed_min_in_sync: Some(1),
            suspicions: 1,
            crashes: 1,
            changes: 4,
            most_states: 16_000_000,
            witnesses: &["a record is acknowledged under the changed min.insync"],
            ..CALM
        },
        Bounds {
            name: "lowered, three in sync",
            in_sync: 3,
            changed_min_in_sync: Some(1),
            shrinks: 1,
            crashes: 1,
            witnesses: &["a record is acknowledged under the changed min.insync"],
            ..CALM
        },
        Bounds {
            name: "raised while it moves",
            replicas: 2,
            min_in_sync: 1,
            changed_min_in_sync: Some(2),
            crashes: 1,
            reassignments: 1,
            changes: 4,
            most_states: 8_000_000,
            witnesses: &["a record is acknowledged under the changed min.insync", "a reassignment is done"],
            ..CALM
        },
        Bounds {
            name: "lowered, restarts",
            changed_min_in_sync: Some(1),
            shrinks: 1,
            restarts: 1,
            witnesses: &["a record is acknowledged by a leader that was restarted in its epoch"],
            ..CALM
        },
    ]
}

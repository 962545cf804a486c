//! How much may happen: bounds small enough to look at everything that can come of them.

use ottla_txn::TransactionVersion;

/// How often each thing may happen in one run. What is free is free: requests are repeated until they are answered,
/// markers until they are written, and everything waits for as long as it wants.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// What to call the scenario.
    pub name: &'static str,
    /// The cluster's level of `transaction.version`.
    pub cluster: TransactionVersion,
    /// By which protocol each producer speaks: V0, or V2.
    pub protocols: [TransactionVersion; 2],
    /// Transactions that each producer begins.
    pub transactions: [usize; 2],
    /// The epoch of the first producer.
    pub first_epoch: i16,
    /// Requests and markers that arrive although nobody waits for the answer: delayed, or once more.
    pub repeats: usize,
    /// Times that another broker coordinates.
    pub successions: usize,
    /// Whether the coordinator that was replaced continues without knowing it.
    pub has_zombie: bool,
    /// Appends of the coordinator that fail for want of replicas.
    pub refusals: usize,
    /// Appends of the coordinator that take longer than clients wait.
    pub delays: usize,
    /// Transactions that the coordinator finds open for too long.
    pub time_outs: usize,
    /// Times that a partition gets another leader.
    pub elections: usize,
    /// States to generate before the search is cut off, which no scenario may be.
    pub most_states: usize,
    /// What must be seen to happen.
    pub witnesses: &'static [&'static str],
}

/// How much has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Used {
    /// Repeats.
    pub repeats: usize,
    /// Successions.
    pub successions: usize,
    /// Refusals.
    pub refusals: usize,
    /// Delays.
    pub delays: usize,
    /// Time-outs.
    pub time_outs: usize,
    /// Elections.
    pub elections: usize,
}

/// A producer of V2 and its successor, one transaction each; nothing goes wrong.
pub const CALM: Bounds = Bounds {
    name: "calm",
    cluster: TransactionVersion::V2,
    protocols: [TransactionVersion::V2; 2],
    transactions: [1, 1],
    first_epoch: 0,
    repeats: 0,
    successions: 0,
    has_zombie: false,
    refusals: 0,
    delays: 0,
    time_outs: 0,
    elections: 0,
    most_states: 5_000_000,
    witnesses: &[
        "both producers commit",
        "a transaction is aborted by its producer",
        "a transaction is aborted with its record in one partition",
        "a producer is fenced",
    ],
};

/// The same before V2.
pub const CALM_BEFORE_V2: Bounds =
    Bounds { name: "V1: calm", cluster: TransactionVersion::V1, protocols: [TransactionVersion::V0; 2], ..CALM };

/// What CI looks at.
pub fn all() -> Vec<Bounds> {
    let v2 = Bounds { transactions: [1, 0], ..CALM };
    let v1 = Bounds { transactions: [1, 0], ..CALM_BEFORE_V2 };
    let trouble = |name, bounds: &Bounds| Bounds {
        name,
        repeats: 1,
        refusals: 1,
        delays: 1,
        time_outs: 1,
        witnesses: &["a transaction is aborted for its time-out", "a batch is not verified"],
        ..bounds.clone()
    };
    let zombie = |name, bounds: &Bounds| Bounds {
        name,
        transactions: [2, 0],
        successions: 1,
        has_zombie: true,
        witnesses: &[
            "a producer commits twice",
            "a marker of a replaced coordinator is refused",
            "a coordinator ends what its predecessor has decided",
            "a coordinator finds a record of unknown fate committed",
        ],
        ..bounds.clone()
    };
    let delayed = |name, bounds: &Bounds| Bounds {
        name,
        repeats: 1,
        successions: 1,
        has_zombie: true,
        time_outs: 1,
        witnesses: &["a marker of a replaced coordinator is refused", "a transaction is aborted for its time-out"],
        ..bounds.clone()
    };
    let successions = |name, bounds: &Bounds| Bounds {
        name,
        successions: 2,
        has_zombie: true,
        time_outs: 1,
        witnesses: &["a coordinator finds a record of unknown fate committed"],
        ..bounds.clone()
    };
    let elections = |name, bounds: &Bounds| Bounds {
        name,
        repeats: 1,
        time_outs: 1,
        elections: 1,
        witnesses: &["a new leader lacks what its predecessor had", "a batch comes again and is known"],
        ..bounds.clone()
    };
    let repeated: &[&str] = &[
        "a batch comes again and is known",
        "a batch is refused whose verification is void",
        "a producer gets another epoch because its record was not acknowledged",
    ];
    vec![
        CALM,
        CALM_BEFORE_V2,
        Bounds {
            name: "repeated",
            transactions: [2, 0],
            repeats: 2,
            witnesses: &["a producer commits twice", "a marker of an older epoch is refused"],
            ..CALM
        },
        Bounds { name: "V1: repeated", transactions: [2, 0], repeats: 1, witnesses: repeated, ..v1.clone() },
        Bounds { name: "two producers, repeated", repeats: 1, ..CALM },
        Bounds { name: "V1: two producers, repeated", repeats: 1, ..CALM_BEFORE_V2 },
        zombie("zombie coordinator", &v2),
        zombie("V1: zombie coordinator", &v1),
        Bounds { name: "zombies of both kinds", successions: 1, has_zombie: true, ..CALM },
        delayed("zombie coordinator, delayed", &v2),
        delayed("V1: zombie coordinator, delayed", &v1),
        successions("two successions", &v2),
        successions("V1: two successions", &v1),
        trouble("trouble", &v2),
        trouble("V1: trouble", &v1),
        elections("elections", &v2),
        elections("V1: elections", &v1),
        Bounds { name: "elections, two producers", elections: 1, ..CALM },
        Bounds {
            name: "the last epochs",
            transactions: [2, 0],
            first_epoch: i16::MAX - 1,
            repeats: 1,
            witnesses: &["a producer gets another producer id, and commits"],
            ..CALM
        },
        Bounds {
            name: "an old client, then a new one",
            protocols: [TransactionVersion::V0, TransactionVersion::V2],
            repeats: 1,
            witnesses: &["a transaction of each protocol is committed"],
            ..CALM
        },
        Bounds {
            name: "a new client, then an old one",
            protocols: [TransactionVersion::V2, TransactionVersion::V0],
            repeats: 1,
            witnesses: &["a transaction of each protocol is committed"],
            ..CALM
        },
    ]
}

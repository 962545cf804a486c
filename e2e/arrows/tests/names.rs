//! A type's name says what the value is: no name may stand for many things.

use std::path::Path;

use ottla_arrows::names;

/// The folders of the product's crates.
const PRODUCT: [&str; 4] = ["broker", "crds", "operator", "ottla"];

/// A reader who meets a name and searches for it looks at three definitions at most. Names that three types have today
/// are those of sister crates, such as the machines of groups, share state and transactions.
const MOST: usize = 3;

/// The nouns of Kafka, Kubernetes and codecs. Each means one thing in its crate, and a reader knows what.
const STANDARD: [&str; 16] = [
    "Broker",
    "Config",
    "Decoder",
    "Effects",
    "Encoder",
    "Endpoint",
    "Identity",
    "Key",
    "Listener",
    "Member",
    "Partition",
    "Producer",
    "Record",
    "Request",
    "Role",
    "Session",
];

/// Words that fit almost any value, so that two types at most may have one as their name.
const VAGUE: [&str; 31] = [
    "Append",
    "AppendError",
    "AppendId",
    "Asked",
    "Bounds",
    "Change",
    "Decision",
    "Entry",
    "Failed",
    "Found",
    "Held",
    "Kind",
    "Known",
    "Limits",
    "Look",
    "News",
    "Outcome",
    "Place",
    "Refused",
    "Reply",
    "Seen",
    "Shared",
    "Shown",
    "Standing",
    "State",
    "Step",
    "Turn",
    "Waiting",
    "Wanted",
    "Write",
    "Written",
];
/// See [`VAGUE`].
const MOST_VAGUE: usize = 2;

#[test]
fn no_name_stands_for_many_types() {
    let types = names::types(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), &PRODUCT);
    let most = |name: &str| if VAGUE.contains(&name) { MOST_VAGUE } else { MOST };
    let many = types.iter().filter(|(name, _)| !STANDARD.contains(&name.as_str()));
    let many = many.filter(|(name, places)| places.len() > most(name));
    let wrong: Vec<_> = many.map(|(name, places)| format!("{name}: {}", places.join(", "))).collect();
    assert!(types.len() > 1_000, "only {} names were found", types.len());
    assert!(wrong.is_empty(), "too many types have these names; say what each is:\n{}", wrong.join("\n"));
}

#[test]
fn every_noun_that_may_stand_for_more_does() {
    let types = names::types(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), &PRODUCT);
    let rare: Vec<_> = STANDARD.iter().filter(|name| types.get(**name).is_none_or(|all| all.len() <= MOST)).collect();
    assert!(rare.is_empty(), "these need no exception: {rare:?}");
}

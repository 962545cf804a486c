//! Seeds that are always played, and that a seed plays twice in the same way. `.ci/run sim` plays new ones.

use expect_test::expect_file;
use ottla_sim::{Half, Tally, fault};

/// Seeds of the replicas in which everything that can goes wrong: when they were chosen among the first eighty, each
/// of it did in two of them, and every kind of clients is played. If something is never played any more because stories
/// have changed, choose others.
const REPLICAS: [u64; 13] = [18, 37, 47, 55, 57, 59, 63, 68, 72, 73, 75, 76, 77];
/// Such seeds of the control plane.
const CONTROL_PLANE: [u64; 7] = [7, 8, 23, 30, 31, 33, 36];

#[test]
fn a_seed_plays_twice_in_the_same_way() {
    for (half, seed) in [(Half::Replicas, 10), (Half::Replicas, 20), (Half::Replicas, 25), (Half::ControlPlane, 31)] {
        let once = half.play(seed).expect("a temporary folder");
        let again = half.play(seed).expect("a temporary folder");
        let parted = once.trace.lines().zip(again.trace.lines()).find(|(one, other)| one != other);
        assert_eq!(parted, None, "{half:?}, seed {seed}");
        assert_eq!(once.trace.len(), again.trace.len());
        assert_eq!(once.verdict(), again.verdict());
    }
}

#[test]
fn nothing_is_lost_whatever_goes_wrong_and_everything_that_can_goes_wrong() {
    play(Half::Replicas, &REPLICAS);
}

#[test]
fn the_control_plane_heals_whatever_goes_wrong_and_everything_that_can_goes_wrong() {
    play(Half::ControlPlane, &CONTROL_PLANE);
}

/// A commit hung in a broker's disk; its client gave it up, and another one overtook it.
#[test]
fn a_commit_that_was_given_up_may_be_obeyed_behind_a_later_one() {
    let outcome = Half::Replicas.play(31_977_473_221_159).expect("a temporary folder");
    assert!(outcome.is_good(), "{}", outcome.verdict());
}

/// A broker saw an assignment, was killed at once, and started with a list that lacked it.
#[test]
fn what_a_broker_saw_just_before_it_was_killed_it_may_not_have_written_down() {
    let outcome = Half::ControlPlane.play(180_500_768_232_049).expect("a temporary folder");
    assert!(outcome.is_good(), "{}", outcome.verdict());
}

fn play(half: Half, seeds: &[u64]) {
    let mut tally = Tally::of(half);
    for seed in seeds {
        tally.play(*seed).expect("a temporary folder");
    }
    println!("{tally}");
    assert!(tally.is_good());
    assert_eq!(tally.missing(), [], "never played");
}

#[test]
fn the_readme_says_where_each_fault_is_played() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let text = std::fs::read_to_string(path).expect("there is a README");
    let (begin, end) = ("<!-- faults:begin -->\n", "<!-- faults:end -->");
    let (before, rest) = text.split_once(begin).expect("the table begins");
    let (_, after) = rest.split_once(end).expect("the table ends");
    expect_file![path].assert_eq(&format!("{before}{begin}{}{end}{after}", fault::table()));
}

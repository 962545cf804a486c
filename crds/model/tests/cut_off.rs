//! A search that is cut off proves nothing about the states that it has not reached.

use ottla_model::check::check;
use ottla_model::scenario::{Bounds, CALM};

#[test]
fn a_scenario_that_is_cut_off_is_good_only_if_it_says_so() {
    let cut_off = Bounds { most_states: 100, witnesses: &[], ..CALM };
    let claims_the_whole = check(cut_off.clone());
    assert!(claims_the_whole.is_cut_off && !claims_the_whole.is_good(), "{claims_the_whole:?}");
    assert!(check(Bounds { may_be_cut_off: true, ..cut_off }).is_good());
    assert!(check(CALM).is_good(), "its search ends by itself");
}

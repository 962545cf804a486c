//! A search that is cut off proves nothing about the states that it has not reached.

use ottla_model::check::check;
use ottla_model::scenario::{Bounds, CALM};

#[test]
fn a_scenario_that_is_cut_off_is_not_good() {
    let cut_off = check(Bounds { most_states: 100, witnesses: &[], ..CALM });
    assert!(cut_off.is_cut_off && !cut_off.is_good(), "{cut_off:?}");
    assert!(check(CALM).is_good(), "its search ends by itself");
}

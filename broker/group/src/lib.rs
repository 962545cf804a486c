//! Consumer groups as pure state machines

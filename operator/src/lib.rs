//! Spec and who is alive, turned into objects: read, plan, apply

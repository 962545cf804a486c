//! Turns the attributes of a message's fields into its codec

//! Settings of topics, brokers, groups and loggers.

pub(super) mod alter_configs;
pub(super) mod describe_configs;
pub(super) mod incremental_alter_configs;
pub(super) mod list_config_resources;
mod resources;

//! The requests: each API with a topic, a group and a transactional id of the principal's own, and with a topic that
//! does not exist. Rows change what later rows see, for each principal its own resources alone.

mod clients;
mod cluster;
mod groups;
mod malformed;
mod tokens;
mod topics;
mod transactions;

use ottla_wire::m10_find_coordinator::FindCoordinatorRequest;
use ottla_wire::m30_create_acls::{AclCreation, CreateAclsRequest};
use ottla_wire::m32_describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use ottla_wire::{Str, Uuid};

use crate::bed::Me;
use crate::row::Row;
use clients::clients;
use cluster::{of_brokers, of_the_cluster};
use groups::groups;
use malformed::malformed;
use tokens::of_tokens;
use topics::of_topics;
use transactions::transactions;

/// `ConfigResource.Type`.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;
const GROUP: i8 = 32;

fn names(me: &Me) -> [Str; 2] {
    [me.topic(), me.missing()]
}

fn ids(me: &Me) -> [Uuid; 2] {
    [me.topic_id, me.missing_id()]
}

fn by_name(me: &Me) -> Vec<(Str, Uuid)> {
    names(me).map(|name| (name, Uuid::nil())).into()
}

fn by_id(me: &Me) -> Vec<(Str, Uuid)> {
    ids(me).map(|id| (Str::default(), id)).into()
}

fn named(me: &Me) -> Vec<(Option<Str>, Uuid)> {
    names(me).map(|name| (Some(name), Uuid::nil())).into()
}

fn find(key_type: i8, key: Str) -> FindCoordinatorRequest {
    FindCoordinatorRequest { key_type, coordinator_keys: vec![key], ..Default::default() }
}

/// To create an ACL of this operation for oneself.
fn create_acl(me: &Me, operation: i8) -> CreateAclsRequest {
    let creation = AclCreation {
        resource_type: TOPIC,
        resource_name: "of.acls".into(),
        resource_pattern_type: 3,
        principal: format!("User:{}", me.name).into(),
        host: "*".into(),
        operation,
        permission_type: 3,
    };
    CreateAclsRequest { creations: vec![creation] }
}

fn describe_configs(resource_type: i8, names: Vec<Str>, key: &str) -> DescribeConfigsRequest {
    let resource = |resource_name| DescribeConfigsResource {
        resource_type,
        resource_name,
        configuration_keys: Some(vec![key.into()]),
    };
    DescribeConfigsRequest { resources: names.into_iter().map(resource).collect(), ..Default::default() }
}

/// All rows.
pub fn table() -> Vec<Row> {
    let parts =
        [clients(), transactions(), groups(), of_the_cluster(), of_brokers(), malformed(), of_tokens(), of_topics()];
    parts.into_iter().flatten().collect()
}

//! ListGroups: the groups that this broker coordinates. To see all groups, one asks all brokers.

use crate::codec::Str;
use crate::error_code::ErrorCode;
use ottla_wire_derive::Message;

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(request = ListGroups, versions = "0-5", flexible = "3+")]
pub struct ListGroupsRequest {
    /// Empty for all; upper and lower case don’t matter.
    #[wire(versions = "4+")]
    pub states_filter: Vec<Str>,
    /// Empty for all; upper and lower case don’t matter.
    #[wire(versions = "5+")]
    pub types_filter: Vec<Str>,
}

#[derive(Clone, Debug, PartialEq, Message)]
#[wire(response = ListGroups)]
pub struct ListGroupsResponse {
    #[wire(versions = "1+")]
    pub throttle_time_ms: i32,
    pub error_code: ErrorCode,
    pub groups: Vec<ListedGroup>,
}

#[derive(Clone, Debug, PartialEq, Message)]
pub struct ListedGroup {
    pub group_id: Str,
    pub protocol_type: Str,
    #[wire(versions = "4+")]
    pub group_state: Str,
    /// `classic`, `consumer`, …
    #[wire(versions = "5+")]
    pub group_type: Str,
}

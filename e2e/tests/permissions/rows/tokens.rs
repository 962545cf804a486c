//! Delegation tokens, which are off here and there.

use ottla_wire::Str;
use ottla_wire::m38_create_delegation_token::{CreatableRenewers, CreateDelegationTokenRequest};
use ottla_wire::m39_renew_delegation_token::RenewDelegationTokenRequest;
use ottla_wire::m40_expire_delegation_token::ExpireDelegationTokenRequest;
use ottla_wire::m41_describe_delegation_token::{DescribeDelegationTokenOwner, DescribeDelegationTokenRequest};

use crate::row::{Row, at, latest};

pub fn of_tokens() -> Vec<Row> {
    let of = |kind: Option<&'static str>, name: Str, renewer: &'static str| CreateDelegationTokenRequest {
        owner_principal_type: kind.map(Str::from_static),
        owner_principal_name: Some(name),
        renewers: vec![CreatableRenewers { principal_type: renewer.into(), principal_name: "x".into() }],
        max_lifetime_ms: -1,
    };
    vec![
        at(2, "before owners had names", |_| CreateDelegationTokenRequest::default()).without_own_name(),
        latest("its own", |_| CreateDelegationTokenRequest { max_lifetime_ms: -1, ..Default::default() })
            .without_own_name(),
        latest("its own, by name", move |me| of(Some("User"), me.name.into(), "User")).without_own_name(),
        latest("its own, renewed by a group", move |me| of(Some("User"), me.name.into(), "Group")).without_own_name(),
        latest("another's", move |_| of(Some("User"), "x".into(), "User")).without_own_name(),
        latest("another's, renewed by a group", move |_| of(Some("User"), "x".into(), "Group")).without_own_name(),
        latest("a group's", move |_| of(Some("Group"), "x".into(), "User")).without_own_name(),
        latest("of no type", move |_| of(None, "x".into(), "User")).only_whether(),
        latest("one that there is not", |_| RenewDelegationTokenRequest::default()),
        latest("one that there is not", |_| ExpireDelegationTokenRequest::default()),
        latest("all", |_| DescribeDelegationTokenRequest { owners: None }),
        latest("of nobody", |_| DescribeDelegationTokenRequest { owners: Some(Vec::new()) }),
        latest("of one", |me| DescribeDelegationTokenRequest {
            owners: Some(vec![DescribeDelegationTokenOwner {
                principal_type: "User".into(),
                principal_name: me.name.into(),
            }]),
        }),
    ]
}

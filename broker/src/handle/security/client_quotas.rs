//! DescribeClientQuotas, AlterClientQuotas (KIP-546): the quotas of KafkaUsers and of the KafkaCluster.

use std::collections::BTreeMap;

use ottla_access::Operation;
use ottla_access::quotas::subject::{CLIENT_ID, IP, USER};
use ottla_access::quotas::{QuotaChange, QuotaRules, Subject};
use ottla_wire::m48_describe_client_quotas::{
    DescribeClientQuotasRequest, DescribeClientQuotasResponse, QuotaComponent, QuotaEntity, QuotaEntry, QuotaValue,
};
use ottla_wire::m49_alter_client_quotas::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, QuotaAlteration, QuotaAlterationResult,
};
use ottla_wire::{ErrorCode, Str};

use crate::ask::{Ask, AskRefusal};
use crate::handle::context::{Context, Deadline};
use crate::reply::Reply;

/// What a component of a filter matches.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

/// The components that an entity must have, by kind, and which name: `None` for every name.
type Filter = BTreeMap<Str, Option<Option<Str>>>;

/// The components of an entity in order, each a kind and a name; no name for the default.
type Components = Vec<(Str, Option<Str>)>;

/// Answers from the image.
pub(crate) fn describe(context: &Context, request: DescribeClientQuotasRequest) -> Reply {
    let entries = match filter(&request.components) {
        _ if !context.may_cluster(Operation::DescribeConfigs) => Err(unauthorized()),
        Ok(filter) => Ok(entries(&context.image.access.quotas, &filter, request.strict)),
        Err(refused) => Err(refused),
    };
    let (entries, refused) = match entries {
        Ok(entries) => (Some(entries), None),
        Err(refused) => (None, Some(refused)),
    };
    let (error_code, error_message) = AskRefusal::to_wire(refused);
    context.reply(&DescribeClientQuotasResponse { error_code, error_message, entries, ..Default::default() })
}

/// Changes KafkaUsers and the KafkaCluster; each entity whose quotas can't be changed is refused by itself.
pub(crate) fn alter(context: &Context, request: AlterClientQuotasRequest) -> Reply {
    let may = context.may_cluster(Operation::AlterConfigs);
    let mut outcomes: BTreeMap<Components, Result<QuotaChange, AskRefusal>> = BTreeMap::new();
    for alteration in request.entries {
        let components = components(&alteration.entity);
        let key = components.clone().into_iter().collect();
        let outcome = match (may, outcomes.contains_key(&key)) {
            (false, _) => Err(unauthorized()),
            (true, true) => Err(invalid(format!("Ignoring duplicate entity {}", name(&components)))),
            (true, false) => change(&components, &alteration),
        };
        outcomes.insert(key, outcome);
    }
    let changes: Vec<QuotaChange> = outcomes.values().flatten().cloned().collect();
    let later = context.clone();
    context.later(async move {
        let done = later.change_quotas(changes, request.validate_only).await;
        let entry = |(components, outcome): (Components, Result<QuotaChange, AskRefusal>)| {
            let (error_code, error_message) = AskRefusal::to_wire(outcome.and_then(|_| done.clone()).err());
            QuotaAlterationResult { error_code, error_message, entity: entity(components) }
        };
        AlterClientQuotasResponse { entries: outcomes.into_iter().map(entry).collect(), ..Default::default() }
    })
}

impl Context {
    /// Changes quotas, or only says whether they may be changed.
    async fn change_quotas(&self, changes: Vec<QuotaChange>, validate_only: bool) -> Result<(), AskRefusal> {
        if changes.is_empty() {
            return Ok(());
        }
        let change = |answer| Ask::ChangeQuotas { changes, answer };
        self.ask_or_validate(validate_only, Deadline::default(), change).await?;
        Ok(())
    }
}

/// What an alteration asks for.
fn change(components: &BTreeMap<Str, Option<Str>>, alteration: &QuotaAlteration) -> Result<QuotaChange, AskRefusal> {
    let mut quotas = BTreeMap::new();
    for op in &alteration.ops {
        if quotas.insert(op.key.clone(), (!op.remove).then_some(op.value)).is_some() {
            let (key, entity) = (&op.key, name(components));
            return Err(invalid(format!("Duplicate quota key {key} not updating quota for this entity {entity}")));
        }
    }
    let change = QuotaChange { subject: Subject::new(components).map_err(invalid)?, quotas };
    change.check().map_err(invalid)?;
    Ok(change)
}

/// What a request asks to be described, with the rules of Kafka's `ClientQuotasImage`.
fn filter(components: &[QuotaComponent]) -> Result<Filter, AskRefusal> {
    let mut filter = Filter::new();
    for QuotaComponent { entity_type, match_type, match_name } in components {
        if entity_type.is_empty() {
            return Err(invalid("Invalid empty entity type."));
        }
        if filter.contains_key(entity_type) {
            return Err(invalid(format!("Entity type {entity_type} cannot appear more than once in the filter.")));
        }
        if ![USER, CLIENT_ID, IP].contains(&&**entity_type) {
            let message = format!("Unsupported entity type {entity_type}");
            return Err(AskRefusal::new(ErrorCode::UNSUPPORTED_VERSION, message));
        }
        let wanted = match (*match_type, match_name) {
            (EXACT, Some(name)) => Some(Some(name.clone())),
            (EXACT, None) => {
                return Err(invalid("Request specified MATCH_TYPE_EXACT, but set match string to null."));
            }
            (DEFAULT, None) => Some(None),
            (SPECIFIED, None) => None,
            (DEFAULT | SPECIFIED, Some(_)) => {
                let name = if *match_type == DEFAULT { "DEFAULT" } else { "SPECIFIED" };
                return Err(invalid(format!(
                    "Request specified MATCH_TYPE_{name}, but also specified a match string."
                )));
            }
            (unknown, _) => return Err(invalid(format!("Unknown match type {unknown}"))),
        };
        filter.insert(entity_type.clone(), wanted);
    }
    if filter.contains_key(IP) && filter.len() > 1 {
        return Err(invalid(
            "Invalid entity filter component combination. IP filter component should not be used with user or clientId \
             filter component.",
        ));
    }
    Ok(filter)
}

fn entries(rules: &QuotaRules, filter: &Filter, strict: bool) -> Vec<QuotaEntry> {
    let matches = |components: &BTreeMap<Str, Option<Str>>| {
        let has = |(kind, wanted): (&Str, &Option<Option<Str>>)| match (components.get(kind), wanted) {
            (Some(_), None) => true,
            (Some(name), Some(wanted)) => name == wanted,
            (None, _) => false,
        };
        (!strict || components.len() == filter.len()) && filter.iter().all(has)
    };
    let found = rules.subjects().into_iter().map(|subject| (subject.components(), rules.quotas_of(&subject)));
    let found = found.filter(|(components, _)| matches(components));
    let value = |(key, value)| QuotaValue { key: Str::from_static(key), value };
    let entry = |(components, quotas): (_, BTreeMap<_, _>)| QuotaEntry {
        entity: entity(components),
        values: quotas.into_iter().map(value).collect(),
    };
    found.map(entry).collect()
}

/// The components on the wire, by kind. As in Kafka the last of a kind counts.
fn components(entity: &[QuotaEntity]) -> BTreeMap<Str, Option<Str>> {
    entity.iter().map(|component| (component.entity_type.clone(), component.entity_name.clone())).collect()
}

fn entity(components: impl IntoIterator<Item = (Str, Option<Str>)>) -> Vec<QuotaEntity> {
    components.into_iter().map(|(entity_type, entity_name)| QuotaEntity { entity_type, entity_name }).collect()
}

/// An entity as Kafka's messages name it.
fn name(components: &BTreeMap<Str, Option<Str>>) -> String {
    let entries: Vec<String> =
        components.iter().map(|(kind, name)| format!("{kind}={}", name.as_deref().unwrap_or("null"))).collect();
    format!("ClientQuotaEntity(entries={{{}}})", entries.join(", "))
}

fn invalid(message: impl Into<String>) -> AskRefusal {
    AskRefusal::new(ErrorCode::INVALID_REQUEST, message)
}

fn unauthorized() -> AskRefusal {
    AskRefusal::new(ErrorCode::CLUSTER_AUTHORIZATION_FAILED, "Cluster authorization failed.")
}
